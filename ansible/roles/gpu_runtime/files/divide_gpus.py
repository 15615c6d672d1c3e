"""Divides every GPU of this host into parts of one MIG profile, as they were before the restart.

A GPU that is divided as wanted is left alone; one that is divided otherwise is refused: something may run on it.
"""

import argparse
import logging
import re
import subprocess
import sys

LOG = logging.getLogger("divide-gpus")
_GPU = re.compile(r"^GPU (\d+):")
_PART = re.compile(r"^\s+MIG (\S+)\s+Device")


class DivisionError(Exception):
    """A GPU cannot be divided; the text names it."""


def nvidia_smi(*arguments: str) -> str:
    """What nvidia-smi prints."""
    done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DivisionError(f"nvidia-smi {' '.join(arguments)}: {(done.stdout + done.stderr).strip()}")
    return done.stdout


def parts_of(listed: str) -> dict[str, list[str]]:
    """The profiles of each GPU's parts, from ``nvidia-smi -L``."""
    found: dict[str, list[str]] = {}
    gpu = ""
    for line in listed.splitlines():
        if match := _GPU.match(line):
            gpu = match[1]
            found[gpu] = []
        elif match := _PART.match(line):
            found[gpu].append(match[1])
    return found


def divide(profile: str, parts: int) -> None:
    """Bring every GPU to the wanted parts."""
    for gpu, found in parts_of(nvidia_smi("-L")).items():
        if found == [profile] * parts:
            continue
        if found:
            raise DivisionError(f"GPU {gpu} is divided into {', '.join(found)}, and {parts} x {profile} are wanted")
        nvidia_smi("-i", gpu, "-mig", "1")
        nvidia_smi("mig", "-i", gpu, "-cgi", ",".join([profile] * parts), "-C")
        LOG.info("GPU %s: %s x %s", gpu, parts, profile)


def main() -> None:
    """Divide; exit code 1 with the reason when a GPU refuses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--parts", required=True, type=int)
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        divide(arguments.profile, arguments.parts)
    except (DivisionError, OSError) as error:
        raise SystemExit(f"divide-gpus: {error}") from error


if __name__ == "__main__":
    main()
