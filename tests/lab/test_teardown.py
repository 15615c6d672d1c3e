"""A second lab with hosts of its own, in a network namespace of its own: killed in many ways, then taken down."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.machine import mount_points_below
from llmaas.paths import PROJECT_ROOT, cache_dir

HOSTS = ("gpu-host-05", "gpu-host-06")
KERNEL = ("fs/inotify/max_user_instances", "vm/overcommit_memory", "kernel/panic", "net/ipv4/ip_forward")


@dataclass(frozen=True)
class SecondLab:
    folder: Path
    namespace: int

    def environment(self) -> dict[str, str]:
        return {
            "LLMAAS_STATE": str(self.folder / "state"),
            "LLMAAS_CACHE": str(self.folder / "cache"),
            "PYTHONPATH": str(PROJECT_ROOT),
        }

    def within(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command where the second lab's network is."""
        environment = {**os.environ, **self.environment()}
        entered = ["nsenter", f"--net=/proc/{self.namespace}/ns/net", "--", *command]
        return subprocess.run(entered, check=False, capture_output=True, text=True, env=environment, timeout=240)

    def lab(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.within(sys.executable, str(Path(__file__).with_name("second_lab.py")), *arguments)

    def up(self) -> None:
        done = self.lab("hosts", "up", *HOSTS)
        assert done.returncode == 0, done.stderr

    def record(self, name: str) -> Path:
        return self.folder / "state" / "lab" / "run" / f"{name}.json"

    def processes(self) -> set[int]:
        found: set[int] = set()
        for path in Path("/sys/fs/cgroup").rglob("llmaas-lab-test/**/cgroup.procs"):
            found.update(int(line) for line in path.read_text().split())
        return found - {0}

    def leftovers(self) -> list[str]:
        links = self.within("ip", "-brief", "link").stdout.splitlines()
        return [
            *(f"process {pid}" for pid in self.processes()),
            *(f"mount {point}" for point in mount_points_below(self.folder)),
            *(f"link {link.split()[0]}" for link in links if not link.startswith("lo ")),
            *(f"group {path}" for path in Path("/sys/fs/cgroup").rglob("llmaas-lab-test")),
            *(f"table {line}" for line in self.within("nft", "list", "tables").stdout.splitlines()),
            *(f"file {path}" for path in (self.folder / "state").glob("lab/*")),
        ]

    def down(self) -> None:
        done = self.lab("down")
        assert done.returncode == 0, done.stderr
        assert self.leftovers() == []


def _share_what_is_made(cache: Path) -> None:
    """Base disk and packages of this machine's lab, for a lab with a cache of its own."""
    cache.mkdir(parents=True)
    for made in (*cache_dir().glob("base-*"), *cache_dir().glob("packages-*")):
        (cache / made.name).symlink_to(made)


@pytest.fixture(scope="module")
def second_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondLab]:
    # not below /tmp's tmpfs where there is one: overlays need a real file system
    folder = cache_dir() / "tmp" / tmp_path_factory.mktemp("second").name
    _share_what_is_made(folder / "cache")
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep 3600"])
    time.sleep(0.5)
    lab = SecondLab(folder, holder.pid)
    yield lab
    lab.lab("down")
    holder.kill()
    holder.wait()
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


@pytest.fixture
def kernel() -> Iterator[None]:
    before = {name: Path("/proc/sys", name).read_text() for name in KERNEL}
    yield
    assert {name: Path("/proc/sys", name).read_text() for name in KERNEL} == before


pytestmark = pytest.mark.usefixtures("kernel")


def test_down_leaves_nothing_of_a_running_lab(second_lab: SecondLab) -> None:
    second_lab.up()
    second_lab.down()


def test_hosts_that_run_are_left_alone(second_lab: SecondLab) -> None:
    second_lab.up()
    before = second_lab.record("host-gpu-host-05").read_text()
    second_lab.up()
    assert second_lab.record("host-gpu-host-05").read_text() == before


def test_a_killed_host_comes_back_with_its_disk(second_lab: SecondLab) -> None:
    second_lab.up()
    assert second_lab.lab("ssh", HOSTS[0], "touch /root/mark; sync").returncode == 0
    os.kill(json.loads(second_lab.record(f"host-{HOSTS[0]}").read_text())["pid"], signal.SIGKILL)
    second_lab.up()
    assert second_lab.lab("ssh", HOSTS[0], "test -e /root/mark").returncode == 0


def test_a_lab_whose_every_process_was_killed_starts_again_and_goes(second_lab: SecondLab) -> None:
    second_lab.up()
    for pid in second_lab.processes():
        os.kill(pid, signal.SIGKILL)
    second_lab.up()
    second_lab.down()


def test_down_ends_hosts_whose_records_are_lost(second_lab: SecondLab) -> None:
    second_lab.up()
    for path in (second_lab.folder / "state" / "lab" / "run").iterdir():
        path.unlink()
    second_lab.down()


def test_down_never_ends_a_process_that_took_over_a_recorded_number(second_lab: SecondLab) -> None:
    second_lab.up()
    innocent = subprocess.Popen(["sleep", "600"])
    record = second_lab.record(f"host-{HOSTS[1]}")
    record.write_text(json.dumps({**json.loads(record.read_text()), "pid": innocent.pid}))
    second_lab.down()
    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()


def test_down_takes_nested_mounts_below_the_state_away(second_lab: SecondLab) -> None:
    second_lab.up()
    folder = second_lab.folder / "state" / "lab" / "hosts" / "left" / "root"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "left", str(folder)], check=True)
    (folder / "nested").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "left", str(folder / "nested")], check=True)
    second_lab.down()


def test_half_written_state_does_not_disturb_the_next_start(second_lab: SecondLab) -> None:
    second_lab.up()
    assert second_lab.lab("hosts", "down").returncode == 0
    state = second_lab.folder / "state" / "lab"
    second_lab.record(f"host-{HOSTS[0]}").write_text("")
    (state / "hosts" / HOSTS[0] / "base").write_text("")
    (state / "ssh" / "hosts" / HOSTS[1]).write_text("")
    (state / "run" / "kernel-before.json").write_text("{")
    second_lab.up()
    second_lab.down()


def test_a_lab_with_another_state_is_refused_and_named(second_lab: SecondLab) -> None:
    second_lab.up()
    other = SecondLab(second_lab.folder / "other", second_lab.namespace)
    (other.folder / "cache").mkdir(parents=True)
    for command in (("hosts", "up", HOSTS[0]), ("down",)):
        done = other.lab(*command)
        assert done.returncode == 1
        assert str(second_lab.folder / "state") in done.stderr.replace("\n", "")
    assert len(second_lab.processes()) > 0
    second_lab.down()


def test_a_dead_lab_with_another_state_gives_way_and_keeps_its_state(second_lab: SecondLab) -> None:
    second_lab.up()
    for pid in second_lab.processes():
        os.kill(pid, signal.SIGKILL)
    other = SecondLab(second_lab.folder / "dead", second_lab.namespace)
    _share_what_is_made(other.folder / "cache")
    other.up()
    assert mount_points_below(second_lab.folder / "state") == ()
    assert other.lab("ssh", HOSTS[0], "true").returncode == 0
    other.down()
    second_lab.up()
    second_lab.down()


def test_hosts_reach_neither_the_machine_nor_the_world(second_lab: SecondLab) -> None:
    second_lab.up()
    knock = "timeout 2 bash -c '</dev/tcp/{}/{}' 2>/dev/null && echo open || echo closed"
    listener = subprocess.Popen(
        ["nsenter", f"--net=/proc/{second_lab.namespace}/ns/net", sys.executable, "-m", "http.server", "8080"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(1)
        assert second_lab.lab("ssh", HOSTS[0], knock.format("10.77.0.1", 8080)).stdout.strip() == "closed"
        assert second_lab.lab("ssh", HOSTS[0], knock.format("192.0.2.1", 80)).stdout.strip() == "closed"
        assert second_lab.lab("ssh", HOSTS[0], knock.format("10.77.0.26", 22)).stdout.strip() == "open"
        assert second_lab.lab("ssh", HOSTS[0], "ip route show default").stdout.strip() == ""
    finally:
        listener.kill()
        listener.wait()
    second_lab.down()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_start_that_is_interrupted_leaves_nothing_that_down_does_not_remove(
    second_lab: SecondLab, number: signal.Signals
) -> None:
    driver = [sys.executable, str(Path(__file__).with_name("second_lab.py")), "hosts", "up"]
    # whoever runs the tests in the background may have them ignore Ctrl-C, and all that they start
    default = ["env", "--default-signal=INT"]
    command = [*default, "nsenter", f"--net=/proc/{second_lab.namespace}/ns/net", "--", *driver]
    environment = {**os.environ, **second_lab.environment()}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 60
        while not second_lab.record("host-gpu-host-02").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(number)
        assert run.wait(30) != 0
    second_lab.down()


def test_what_a_killed_run_left_at_work_is_ended(second_lab: SecondLab) -> None:
    second_lab.up()
    join = Path(__file__).with_name("join_up_group.py")
    command = ["nsenter", f"--net=/proc/{second_lab.namespace}/ns/net", "--", sys.executable, str(join)]
    with subprocess.Popen(command, env={**os.environ, **second_lab.environment()}, stdout=subprocess.PIPE) as orphan:
        assert orphan.stdout is not None
        assert orphan.stdout.readline() == b"at work\n"
        second_lab.down()
        assert orphan.wait(5) == -signal.SIGKILL
