import pytest
from host.probing import Attempt, Machine

from llmaas.settings import Host

# Program and port of everything that may accept connections from outside its host.
EVERYWHERE = {("sshd", 22), ("kubelet", 10250)}
ON_CONTROL = {("kube-apiserver", 6443), ("etcd", 2379), ("etcd", 2380)}
TLS_PORTS_EVERYWHERE = (10250,)
TLS_PORTS_ON_CONTROL = (6443, 2379, 2380)


def test_nothing_listens_that_was_not_declared(machine: Machine, declared: Host) -> None:
    allowed = EVERYWHERE | (ON_CONTROL if "control" in declared.roles else set())
    assert machine.listeners() - allowed == set()


def test_everything_declared_listens(machine: Machine, declared: Host) -> None:
    expected = EVERYWHERE | (ON_CONTROL if "control" in declared.roles else set())
    assert expected - machine.listeners() == set()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls_listeners_of_the_host_speak_1_3_only(machine: Machine, declared: Host, version: str) -> None:
    ports = (*TLS_PORTS_EVERYWHERE, *(TLS_PORTS_ON_CONTROL if "control" in declared.roles else ()))
    found = machine.attempt([Attempt(str(declared.address), port, tls=version) for port in ports])
    if version == "1.3":
        assert found == ["TLSv1.3"] * len(ports)
    else:
        assert all(text.startswith("rejected") for text in found), dict(zip(ports, found, strict=True))
