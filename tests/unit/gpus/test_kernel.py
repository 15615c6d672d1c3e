"""What a run does so that NVIDIA's driver can be loaded: no nouveau, and a key where modules must be signed."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.llmaas.host.plugins.module_utils import gpu_facts
from ansible_collections.llmaas.host.plugins.modules import gpu_kernel

from llmaas.paths import PROJECT_ROOT

TASKS = PROJECT_ROOT / "ansible/roles/gpu_runtime/tasks/nvidia.yml"


class Host:
    """What the module asked of a host, and what it tells of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.asked: list[str] = []
        self.modules = "ext4 nvme"
        self.secure_boot = "off"
        self.in_use = False
        self.key, self.certificate = folder / "mok.key", folder / "mok.pub"
        monkeypatch.setattr(gpu_kernel, "modules", lambda: self.modules)
        monkeypatch.setattr(gpu_kernel, "secure_boot", lambda: self.secure_boot)
        monkeypatch.setattr(gpu_kernel, "PRIVATE_KEY", str(self.key))
        monkeypatch.setattr(gpu_kernel, "SIGNING_KEY", str(self.certificate))
        monkeypatch.setattr(gpu_kernel.shutil, "which", lambda name: f"/usr/sbin/{name}")
        monkeypatch.setattr(gpu_kernel, "output", self.output)

    def output(self, *words: str) -> str:
        self.asked.append(" ".join(words[:3]))
        if words[0] == "modprobe" and self.in_use:
            raise ValueError("modprobe: FATAL: Module nouveau is in use.")
        return ""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    return Host(monkeypatch, tmp_path)


def test_a_host_without_nouveau_is_left_as_it_is(host: Host) -> None:
    assert gpu_kernel.without_nouveau(check=False) == []
    assert host.asked == []


@pytest.mark.parametrize("in_use", [False, True])
def test_nouveau_is_forgotten_for_the_next_start_before_it_is_unloaded(host: Host, *, in_use: bool) -> None:
    """In use it stays, and is no error: the judgement that follows asks for a restart."""
    host.modules, host.in_use = "ext4 nouveau nvme", in_use
    assert gpu_kernel.without_nouveau(check=False) == ["unload nouveau"]
    assert host.asked == ["update-initramfs -u -k", "modprobe -r nouveau"]


def test_a_check_run_tells_what_it_would_do_and_does_nothing(host: Host) -> None:
    host.modules, host.secure_boot = "nouveau", "on"
    assert gpu_kernel.without_nouveau(check=True) == ["unload nouveau"]
    assert gpu_kernel.with_key(check=True) == ["make the key that signs the driver"]
    assert host.asked == []


@pytest.mark.parametrize("state", ["off", "none"])
def test_no_key_is_made_where_modules_need_not_be_signed(host: Host, state: str) -> None:
    host.secure_boot = state
    assert gpu_kernel.with_key(check=False) == []
    assert host.asked == []


def test_a_key_that_is_there_stays_since_it_may_be_enrolled(host: Host) -> None:
    host.secure_boot = "on"
    host.key.touch()
    host.certificate.touch()
    assert gpu_kernel.with_key(check=False) == []
    assert host.asked == []


def test_the_key_is_a_pair_that_the_firmware_s_tools_read(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert shutil.which("openssl"), "openssl is not installed; run: make packages"
    monkeypatch.setattr(gpu_kernel, "output", lambda *words: subprocess.run(words, check=True, capture_output=True))
    host.secure_boot = "on"
    assert gpu_kernel.with_key(check=False) == ["make the key that signs the driver"]
    assert gpu_kernel.with_key(check=False) == []
    assert host.key.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(gpu_facts, "SIGNING_KEY", str(tmp_path / "mok.pub"))
    monkeypatch.setattr(gpu_facts.shutil, "which", lambda _: None)
    assert gpu_facts.collect()["signing_key"] == "unknown"
    read = ["openssl", "x509", "-inform", "DER", "-in", host.certificate, "-noout", "-pubkey"]
    public = ["openssl", "pkey", "-in", host.key, "-pubout"]
    of_certificate, of_key = (subprocess.run(words, check=True, capture_output=True).stdout for words in (read, public))
    assert of_certificate == of_key


def test_the_role_mends_before_it_judges_once_more_and_judges_before_the_driver() -> None:
    tasks = yaml.safe_load(TASKS.read_text())
    at = {name: number for number, task in enumerate(tasks) for name in task}
    (forbidden,) = (number for number, task in enumerate(tasks) if "modprobe.conf.j2" in str(task))
    tools, driver = (number for number, task in enumerate(tasks) if "llmaas.host.debian_packages" in task)
    judged = at["ansible.builtin.import_tasks"]
    assert forbidden < tools < at["llmaas.host.gpu_kernel"] < judged < driver
    assert set(tasks[tools]["llmaas.host.debian_packages"]["names"]) == {"dkms", "mokutil", "openssl"}
    # a check run has mended nothing
    assert tasks[judged]["vars"] == {"__gpu_runtime_prepared": "{{ not ansible_check_mode }}"}
