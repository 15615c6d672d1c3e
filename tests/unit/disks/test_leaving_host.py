"""What holds a device of a host that leaves is ended: real mounts and processes, in namespaces of the test's own."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmaas.host.plugins.module_utils.luks_volume import LuksVolume
from ansible_collections.llmaas.host.plugins.modules import ended_containers, erased_device

from llmaas.paths import PROJECT_ROOT

SERVICES = ["kubelet.service", "containerd.service", "absent.service"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

BEGIN = """
import json, os, subprocess, sys, time
sys.path.append(sys.argv[1])
from ansible_collections.llmaas.host.plugins.module_utils import containers, mounts

root = sys.argv[2]

def tmpfs(name):
    os.makedirs(f"{root}/{name}", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", f"{root}/{name}"], check=True)

def left():
    return sorted(os.path.relpath(mount.point, root) for mount in mounts.mounts() if mounts.is_below(mount.point, root))

def refusal(call):
    try:
        call()
    except ValueError as error:
        return str(error)
"""


def in_namespaces(folder: Path, script: str) -> Any:
    """What a script prints as JSON, where it sees no process but its own and mounts what nobody else sees."""
    alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    collections = str(PROJECT_ROOT / "ansible" / "collections")
    command = [*alone, sys.executable, "-c", BEGIN + textwrap.dedent(script), collections, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_root
def test_all_that_is_mounted_on_a_device_goes_with_it_and_nothing_else(tmp_path: Path) -> None:
    found = in_namespaces(
        tmp_path,
        """
        for name in ("volume", "volume/pods/one/a token", "volume/pods/one/a token/below", "volume-2"):
            tmpfs(name)
        os.makedirs(f"{root}/elsewhere")
        os.makedirs(f"{root}/volume/pods/two")
        subprocess.run(["mount", "--bind", f"{root}/volume/pods/two", f"{root}/elsewhere"], check=True)
        device = os.stat(f"{root}/volume").st_dev
        mounts.number_of = lambda _: f"{os.major(device)}:{os.minor(device)}"
        before = left()
        mounts.unmount(mounts.of_device("/dev/mapper/one", f"{root}/volume"))
        after = left()
        print(json.dumps([before, after, mounts.of_device("/dev/mapper/one", f"{root}/volume")]))
        """,
    )
    all_of_it = ["elsewhere", "volume", "volume-2", "volume/pods/one/a token", "volume/pods/one/a token/below"]
    assert found == [all_of_it, ["volume-2"], []]


@needs_root
def test_what_is_in_use_is_named_with_its_user_and_goes_in_the_next_run(tmp_path: Path) -> None:
    refused, between, after = in_namespaces(
        tmp_path,
        """
        tmpfs("volume")
        tmpfs("volume/token")
        user = subprocess.Popen(["sleep", "300"], cwd=f"{root}/volume")
        refused = refusal(lambda: mounts.unmount([*mounts.below(f"{root}/volume"), f"{root}/volume"]))
        between = left()
        user.kill()
        user.wait()
        mounts.unmount([f"{root}/volume"])
        print(json.dumps([refused.replace(str(user.pid), "PID"), between, left()]))
        """,
    )
    assert "volume: target is busy" in refused
    assert refused.endswith("it is used by sleep (PID); end that and run this again")
    assert (between, after) == (["volume"], [])


# a pod as its shim has it: the shim, which waits for good, and below it a process in a session of its own
POD = """
os.makedirs(f"{root}/bin")
shim = f"{root}/bin/containerd-shim-test"
subprocess.run(["cp", "/bin/sh", shim], check=True)
other = subprocess.Popen(["sleep", "301"])
tmpfs("volume")
os.mkfifo(f"{root}/never")
pod = f"cd {root}/volume; touch ready; exec setsid sleep 300"
subprocess.Popen([shim, "-c", f"sh -c '{pod}' & read nothing < {root}/never"])
while not os.path.exists(f"{root}/volume/ready"):
    time.sleep(0.05)
"""


@needs_root
def test_processes_of_containers_end_whatever_they_became_and_no_others(tmp_path: Path) -> None:
    script = """
    busy = refusal(lambda: mounts.unmount([f"{root}/volume"]))
    shims, inside = containers.containers()
    containers.end_containers()
    mounts.unmount([f"{root}/volume"])
    print(json.dumps([busy, len(shims), len(inside), containers.containers(), left(), other.poll()]))
    """
    busy, *found = in_namespaces(tmp_path, POD + textwrap.dedent(script))
    assert "target is busy" in busy
    assert found == [1, 1, [[], []], [], None]


@needs_root
def test_shims_end_last_so_that_a_run_that_was_interrupted_finds_all(tmp_path: Path) -> None:
    script = """
    killed = []
    real = os.kill
    os.kill = lambda process, number: (killed.append(process), real(process, number))
    shims, inside = containers.containers()
    containers.end_containers()
    print(json.dumps([killed[-1:] == shims, set(inside) <= set(killed[:-1])]))
    """
    assert in_namespaces(tmp_path, POD + textwrap.dedent(script)) == [True, True]


@pytest.mark.parametrize("check", [True, False])
def test_services_that_start_containers_are_stopped_for_good(monkeypatch: pytest.MonkeyPatch, *, check: bool) -> None:
    states = {
        "kubelet.service": {"UnitFileState": "enabled", "ActiveState": "activating"},
        "containerd.service": {"UnitFileState": "enabled", "ActiveState": "inactive"},
        "absent.service": {"UnitFileState": "", "ActiveState": "inactive"},
    }
    asked: list[str] = []
    monkeypatch.setattr(ended_containers, "states_of", lambda _: states)
    monkeypatch.setattr(ended_containers, "output", lambda *words: asked.append(" ".join(words)))
    done = ended_containers.stop(SERVICES, check=check)
    assert done == ["disable kubelet.service", "disable containerd.service", "stop kubelet.service"]
    expected = ["systemctl disable --quiet kubelet.service containerd.service", "systemctl stop kubelet.service"]
    assert asked == ([] if check else expected)


@pytest.mark.parametrize("opened", [True, False], ids=["open", "closed by an earlier run"])
def test_a_volume_is_closed_after_all_that_lies_on_it(monkeypatch: pytest.MonkeyPatch, *, opened: bool) -> None:
    volume = LuksVolume("/dev/disk/by-id/one", "llmaas-kubelet")
    asked: list[str] = []
    monkeypatch.setattr(erased_device, "output", lambda *words, **_: asked.append(" ".join(words)))
    monkeypatch.setattr(erased_device, "of_device", lambda device, folder: [f"{folder}/token", folder, device])
    monkeypatch.setattr(erased_device, "unmount", lambda points: asked.append(f"unmount {' '.join(points)}"))
    monkeypatch.setattr(erased_device, "without", lambda table, *_: asked.append(f"forget in {table}"))
    monkeypatch.setattr(volume, "is_open", lambda: opened)
    erased_device.take_out_of_use(volume, {"services": ["kubelet.service"], "mount": "/var/lib/kubelet"})
    tables = ["forget in /etc/fstab", "forget in /etc/crypttab"]
    unmounted = "unmount /var/lib/kubelet/token /var/lib/kubelet /dev/mapper/llmaas-kubelet"
    held = [unmounted, *tables, "cryptsetup close llmaas-kubelet"]
    assert asked == ["systemctl stop kubelet.service", *(held if opened else tables)]
