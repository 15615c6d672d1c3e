import datetime as dt
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from llmaas.pki import Authority, PkiError, open_authority
from llmaas.pki import authority as module


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path))
    return open_authority("unit")


def later(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    monkeypatch.setattr(module, "_now", lambda: moment)


def test_opening_twice_changes_nothing(authority: Authority) -> None:
    before = {path: path.read_bytes() for path in authority.folder.rglob("*") if path.is_file()}
    open_authority("unit")
    assert {path: path.read_bytes() for path in authority.folder.rglob("*") if path.is_file()} == before


def test_openssl_accepts_the_chain_of_a_leaf_for_its_name_and_purpose(authority: Authority) -> None:
    leaf = authority.ensure_leaf("web", dns=["web.lab.internal"], addresses=["10.77.0.1"], usage="server")
    command = ["openssl", "verify", "-x509_strict", "-CAfile", leaf.ca, "-untrusted", leaf.certificate]
    good = subprocess.run(
        [*command, "-purpose", "sslserver", "-verify_hostname", "web.lab.internal", leaf.certificate],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert good.returncode == 0, good.stderr
    for wrong in (["-purpose", "sslclient"], ["-verify_hostname", "other.internal"]):
        assert subprocess.run([*command, *wrong, leaf.certificate], check=False, capture_output=True).returncode != 0


@pytest.mark.parametrize(
    ("usage", "purposes"),
    [
        ("server", {ExtendedKeyUsageOID.SERVER_AUTH}),
        ("client", {ExtendedKeyUsageOID.CLIENT_AUTH}),
        ("both", {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}),
    ],
)
def test_the_usage_is_the_only_purpose_of_a_leaf(authority: Authority, usage: str, purposes: set[object]) -> None:
    leaf = authority.ensure_leaf("web", dns=["web"], usage=usage)  # type: ignore[arg-type]
    assert set(leaf.parsed().extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == purposes


def test_the_issuing_authority_cannot_make_another_authority(authority: Authority) -> None:
    issuing = x509.load_pem_x509_certificate((authority.folder / "issuing.crt").read_bytes())
    limits = issuing.extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical
    assert limits.value.path_length == 0


def test_keys_are_readable_by_their_owner_alone(authority: Authority) -> None:
    authority.ensure_leaf("web", dns=["web"])
    keys = list(authority.folder.rglob("*.key"))
    assert len(keys) == 3
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}


def test_certificate_and_key_load_as_a_pair(authority: Authority) -> None:
    leaf = authority.ensure_leaf("web", dns=["web"])
    ssl.create_default_context().load_cert_chain(leaf.certificate, leaf.key)


def test_asking_again_keeps_the_leaf_whatever_the_order_of_names(authority: Authority) -> None:
    first = authority.ensure_leaf("web", dns=["a", "b"], addresses=["10.0.0.1"]).certificate.read_bytes()
    assert authority.ensure_leaf("web", dns=["b", "a"], addresses=["10.0.0.1"]).certificate.read_bytes() == first


@pytest.mark.parametrize("change", [{"dns": ["a", "c"]}, {"dns": ["a"], "usage": "both"}, {"addresses": ["10.0.0.9"]}])
def test_a_leaf_for_something_else_is_issued_anew(authority: Authority, change: dict[str, object]) -> None:
    first = authority.ensure_leaf("web", dns=["a"]).certificate.read_bytes()
    assert authority.ensure_leaf("web", **change).certificate.read_bytes() != first  # type: ignore[arg-type]


def test_a_leaf_is_renewed_in_its_last_month_and_not_before(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = authority.ensure_leaf("web", dns=["a"]).certificate.read_bytes()
    later(monkeypatch, days=55)
    assert authority.ensure_leaf("web", dns=["a"]).certificate.read_bytes() == first
    later(monkeypatch, days=65)
    assert authority.ensure_leaf("web", dns=["a"]).certificate.read_bytes() != first


def test_a_leaf_whose_key_does_not_fit_is_issued_anew(authority: Authority) -> None:
    leaf, other = authority.ensure_leaf("web", dns=["a"]), authority.ensure_leaf("other", dns=["a"])
    leaf.key.write_bytes(other.key.read_bytes())
    healed = authority.ensure_leaf("web", dns=["a"])
    ssl.create_default_context().load_cert_chain(healed.certificate, healed.key)


def test_the_issuing_authority_is_renewed_before_a_leaf_could_outlive_it(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = authority.ensure_leaf("web", dns=["a"]).certificate.read_bytes()
    later(monkeypatch, days=731 - 110)
    renewed = open_authority("unit").ensure_leaf("web", dns=["a"])
    assert renewed.certificate.read_bytes() != first
    issuing = x509.load_pem_x509_certificate((authority.folder / "issuing.crt").read_bytes())
    assert renewed.parsed().not_valid_after_utc <= issuing.not_valid_after_utc


def test_a_root_whose_key_is_kept_away_still_issues_whole_leaves_but_no_authority(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    (authority.folder / "offline" / "root.key").unlink()
    issuing = (authority.folder / "issuing.crt").read_bytes()
    # 120 days before its end it would be renewed, if the key were here
    for days in (0, 612, 640):
        later(monkeypatch, days)
        life = open_authority("unit").ensure_leaf(f"web-{days}", dns=["a"]).parsed()
        assert life.not_valid_after_utc - life.not_valid_before_utc > dt.timedelta(days=90)
    assert (authority.folder / "issuing.crt").read_bytes() == issuing
    # from here on a new one would end before its time; those in force go on
    later(monkeypatch, days=642)
    late = open_authority("unit")
    assert late.ensure_leaf("web-640", dns=["a"]).certificate == late.leaf("web-640").certificate
    with pytest.raises(PkiError, match=r"leaf 'new' is not issued: .* put the root's key at .*root\.key"):
        late.ensure_leaf("new", dns=["b"])
    later(monkeypatch, days=731)
    with pytest.raises(PkiError, match="root's key"):
        open_authority("unit")


def test_an_end_that_only_the_roots_key_puts_off_is_told_in_time(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = authority.folder / "offline" / "root.key"
    kept = key.read_bytes()
    key.unlink()
    later(monkeypatch, days=610)
    assert open_authority("unit").notice == ""
    later(monkeypatch, days=612)
    told = open_authority("unit")
    until = told.issues_until
    assert told.notice.startswith("the issuing authority of unit ends on ")
    assert f"put the root's key at {key} and run: llmaas pki ensure -e unit" in told.notice
    key.write_bytes(kept)
    renewed = open_authority("unit")
    assert renewed.notice == ""
    assert renewed.issues_until - until > dt.timedelta(days=600)


def test_writers_at_the_same_time_leave_one_whole_pair(authority: Authority) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: open_authority("unit").ensure_leaf("web", dns=["a"]), range(16)))
    leaf = authority.leaf("web")
    ssl.create_default_context().load_cert_chain(leaf.certificate, leaf.key)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"name": "../up", "dns": ["a"]}, "a name is"),
        ({"name": "web"}, "no dns name and no address"),
        ({"name": "web", "addresses": ["10.0.0.300"]}, "10.0.0.300"),
        ({"name": "web", "dns": ["a"], "usage": "sign"}, "usage 'sign'"),
        ({"name": "w" * 65, "dns": ["a"]}, "common name"),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason(
    authority: Authority, arguments: dict[str, object], text: str
) -> None:
    with pytest.raises(PkiError, match=text):
        authority.ensure_leaf(**arguments)  # type: ignore[arg-type]


def test_a_leaf_that_was_never_issued_is_refused_with_the_command_that_issues_it(authority: Authority) -> None:
    with pytest.raises(PkiError, match="llmaas pki ensure -e unit"):
        authority.leaf("nobody")
