"""Runs OpenSCAP on a host; what it needed there is gone afterwards."""

import gzip
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from llmaas.hardening.content import PROFILE, data_stream, tailoring
from llmaas.hardening.results import Score, read_results
from llmaas.settings.hardening import HardeningWaiver

SECONDS: Final = 900
# Packages that were not there before are removed again, so that the judge leaves the host as it found it.
_SCRIPT: Final = r"""
set -eu
folder=$(mktemp -d /run/llmaas-scap.XXXXXX)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
gzip --decompress > given
head --lines 1 given > size
head --bytes "$(($(cat size) + $(wc --bytes < size)))" given | tail --bytes "$(cat size)" > content.xml
tail --bytes "+$(($(cat size) + $(wc --bytes < size) + 1))" given > tailoring.xml
before=$(dpkg-query --show --showformat '${Package}\n' | sort)
if ! command -v oscap > /dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -q -o DPkg::Lock::Timeout=300 update
    apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install openscap-scanner
  } > log 2>&1 || { tail -n 15 log >&2; exit 70; }
fi
code=0
oscap xccdf eval --profile @PROFILE@ --tailoring-file tailoring.xml --results results.xml content.xml > log 2>&1 \
  || code=$?
after=$(dpkg-query --show --showformat '${Package}\n' | sort)
new=$(printf '%s\n%s\n' "$before" "$after" | sort | uniq --unique)
if [ -n "$new" ]; then apt-get -q -y purge $new > removal 2>&1 || { tail -n 15 removal >&2; exit 71; }; fi
# 0: every rule holds; 2: some do not; all else means that the judge broke
case $code in 0|2) gzip --stdout results.xml ;; *) tail -n 15 log >&2; exit 72 ;; esac
"""


class JudgeError(Exception):
    """A host could not be judged; that is no result."""


class Remote(Protocol):
    """A way to run a program on a host."""

    def __call__(self, command: str, given: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        """Run ``command`` with ``given`` as its input."""


@dataclass(frozen=True)
class SshRemote:
    """By SSH, with the configuration that checks use."""

    host: str
    configuration: Path

    def __call__(self, command: str, given: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        """Run ``command`` on the host."""
        arguments = ["ssh", "-F", str(self.configuration), self.host, command]
        return subprocess.run(arguments, input=given, capture_output=True, check=False, timeout=seconds)


def judge_host(host: str, remote: Remote, waivers: Mapping[str, HardeningWaiver]) -> Score:
    """What OpenSCAP says of a host.

    Args:
        host: its name, for the result and for texts.
        remote: runs a shell command on it as root.
        waivers: deviation -> exception, of that host.

    Raises:
        ContentError: this machine has not Debian's SCAP content.
        JudgeError: the judge could not be installed on the host, or did not come to its end.
    """
    content = data_stream().encode()
    given = gzip.compress(f"{len(content)}\n".encode() + content + tailoring().encode(), 6)
    script = _SCRIPT.replace("@PROFILE@", PROFILE)
    try:
        done = remote(f"sh -c {shlex.quote(script)}", given, SECONDS)
    except subprocess.TimeoutExpired as error:
        raise JudgeError(f"{host}: no end within {SECONDS} s") from error
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip()
        raise JudgeError(f"{host}: OpenSCAP could not judge (exit code {done.returncode}): {text}")
    try:
        return read_results(host, gzip.decompress(done.stdout), waivers)
    except (ValueError, OSError, EOFError) as error:
        raise JudgeError(f"{host}: {error}") from error
