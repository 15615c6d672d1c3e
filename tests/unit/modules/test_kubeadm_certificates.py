"""Certificates of the control plane: which of them end soon, and who has read them."""

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmaas.host.plugins.modules import kubeadm_certificates as certificates

_DAY = 86400


def _expirations(*found: dict[str, object]) -> str:
    """As kubeadm 1.36 prints them."""
    return json.dumps(
        {"kind": "CertificateExpirationInfo", "apiVersion": "output.kubeadm.k8s.io/v1alpha3", "certificates": found}
    )


def _certificate(name: str, days: int, **more: object) -> dict[str, object]:
    return {"name": name, "residualTime": days * _DAY, "externallyManaged": False, "missing": False, **more}


def test_what_has_fewer_days_left_is_renewed() -> None:
    said = _expirations(_certificate("apiserver", 89), _certificate("admin.conf", 90), _certificate("etcd-peer", -3))
    assert certificates.ending(said, 90) == ["apiserver", "etcd-peer"]


def test_what_is_not_there_or_signed_elsewhere_is_left_alone() -> None:
    said = _expirations(
        _certificate("super-admin.conf", 0, missing=True), _certificate("apiserver", 1, externallyManaged=True)
    )
    assert certificates.ending(said, 90) == []


def test_only_the_programs_of_the_control_plane_start_anew(tmp_path: Path) -> None:
    for process, program in {"7": "/usr/local/bin/etcd", "8": "/usr/bin/kube-proxy", "9": "/kube-scheduler"}.items():
        (tmp_path / process).mkdir()
        (tmp_path / process / "exe").symlink_to(program)
    # of the kernel, without a program; and what is no process
    (tmp_path / "2").mkdir()
    (tmp_path / "self").symlink_to(tmp_path / "7")
    assert certificates.readers(str(tmp_path)) == {7: "etcd", 9: "kube-scheduler"}


def test_programs_that_were_not_restarted_after_a_renewal_are_when_it_runs_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[Any] = []
    mark = tmp_path / "state" / "renewing"
    monkeypatch.setattr(certificates, "RENEWING", str(mark))
    monkeypatch.setattr(certificates, "output", lambda *command: done.append(command[:3]))

    def interrupted(_: str) -> None:
        raise ValueError("etcd not started anew")

    monkeypatch.setattr(certificates, "restart", interrupted)
    with pytest.raises(ValueError, match="etcd"):
        certificates.renew(["apiserver"], "--config=kubeadm.yaml", "https://here:6443")
    assert mark.read_text() == "apiserver\n"

    monkeypatch.setattr(certificates, "restart", done.append)
    certificates.renew([], "--config=kubeadm.yaml", "https://here:6443")
    assert done == [("kubeadm", "certs", "renew"), "https://here:6443"]
    assert not mark.exists()
