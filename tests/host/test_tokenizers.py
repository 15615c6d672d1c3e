"""What the gateway counts with lies on each of its hosts, as the manifests of the weights say, and no more."""

from host.probing import Machine

from llmaas.materials import read_tokenizers
from llmaas.settings import Host, Platform

# Written out here on purpose: a wrong setting must not weaken its own check.
FOLDER = "/var/lib/llmaas/volumes/tokenizers"
FILE = "tokenizer.json"


def found_by(machine: Machine, action: str) -> list[str]:
    """Lines of ``find`` for all that lies there; the module's own note of what it checked is no tokenizer."""
    command = f"test ! -e {FOLDER} || find {FOLDER} -mindepth 1 ! -name .checked {action}"
    return machine.output("sh", "-c", command).splitlines()


def test_a_host_holds_exactly_the_tokenizers_that_a_gateway_there_counts_with(
    machine: Machine, declared: Host, platform: Platform
) -> None:
    wanted = read_tokenizers(platform) if "service" in declared.roles else {}
    lines = found_by(machine, "! -type d -exec sha256sum {} +")
    digests = {path.removeprefix(f"{FOLDER}/"): digest for digest, _, path in (line.partition("  ") for line in lines)}
    assert digests == {f"{artefact}/{FILE}": digest for artefact, digest in wanted.items()}


def test_tokenizers_can_be_read_by_everybody_and_changed_by_root_alone(machine: Machine) -> None:
    for line in found_by(machine, "-printf '%y %m %U:%G %p\\n'"):
        kind, mode, owner, path = line.split(" ", 3)
        assert (kind, mode) in {("d", "755"), ("f", "444")}, path
        assert owner == "0:0", path
