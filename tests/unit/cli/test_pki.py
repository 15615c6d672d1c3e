"""The certificate of the site's own services: for whom it is, that it is kept, and what its reader is told."""

import datetime as dt
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llmaas.cli import pki
from llmaas.pki import Leaf, authority, open_authority
from llmaas.settings import Platform, load_platform

RUNNER = CliRunner()
ADDRESS = "10.20.0.1"
NAMES = ("mirror.llm.example.fr", "registry.llm.example.fr")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> Result:
    return RUNNER.invoke(pki.app, arguments)


def site(environment: str = "production") -> tuple[str, Leaf]:
    result = run("site", "-e", environment)
    assert result.exit_code == 0, result.output
    return result.stdout, open_authority(environment).leaf("site")


def production(**site: str) -> Platform:
    platform = load_platform("production")
    return platform.model_copy(update={"site": platform.site.model_copy(update=site)})


def test_the_certificate_is_for_every_name_and_the_address_of_the_site(state: Path) -> None:
    _, leaf = site()
    root = state / "production" / "pki" / "root.crt"
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", root]
    command += ["-untrusted", leaf.certificate]
    asked = [*(["-verify_hostname", name] for name in NAMES), ["-verify_ip", ADDRESS]]
    for who in asked:
        assert subprocess.run([*command, *who, leaf.certificate], check=False).returncode == 0, who
    assert leaf.subject().dns == set(NAMES)
    assert leaf.key.stat().st_mode & 0o777 == 0o600


def test_it_is_told_where_the_files_lie_and_what_to_do_with_them() -> None:
    told, leaf = site()
    first, certificate, key, *_, last = told.splitlines()
    assert first.startswith(f"issued now: for {', '.join(NAMES)}, {ADDRESS}, until 2")
    assert str(leaf.certificate) in certificate
    assert str(leaf.key) in key
    assert last.startswith(f"Next: copy both to {ADDRESS}; ")


def test_a_certificate_in_force_is_kept_also_when_the_roots_key_is_away(state: Path) -> None:
    _, leaf = site()
    before = leaf.certificate.read_bytes(), leaf.key.read_bytes()
    (state / "production" / "pki" / "offline" / "root.key").unlink()
    told, _ = site()
    assert told.startswith("kept: ")
    assert (leaf.certificate.read_bytes(), leaf.key.read_bytes()) == before


def test_it_is_issued_anew_in_its_last_month_and_for_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    site()
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=65)
    with monkeypatch.context() as patch:
        patch.setattr(authority, "_now", lambda: later)
        assert site()[0].startswith("issued now: ")
    monkeypatch.setattr(pki, "load_platform", lambda _: production(registry="images.llm.example.fr:5000"))
    told, leaf = site()
    assert told.startswith("issued now: ")
    assert leaf.subject().dns == {"images.llm.example.fr", "mirror.llm.example.fr"}


def test_a_site_without_names_gets_a_certificate_for_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    nameless = production(
        registry=f"{ADDRESS}:5000",
        packages_url=f"https://{ADDRESS}:8443/debian",
        artefacts_url=f"https://{ADDRESS}:8443/models",
    )
    monkeypatch.setattr(pki, "load_platform", lambda _: nameless)
    told, leaf = site()
    assert told.startswith(f"issued now: for {ADDRESS}, until ")
    assert leaf.subject().dns == frozenset()


@pytest.mark.parametrize("command", ["ensure", "site"])
def test_an_unknown_environment_is_told_and_gets_no_authority(command: str, state: Path) -> None:
    result = run(command, "-e", "moon")
    assert result.exit_code == 1
    assert "stacks/Pulumi.moon.yaml: no such file" in result.stderr
    assert not list(state.iterdir())


def test_an_authority_that_needs_the_roots_key_says_so(state: Path) -> None:
    site()
    folder = state / "production" / "pki"
    (folder / "offline" / "root.key").unlink()
    (folder / "issuing.crt").unlink()
    for command in ("ensure", "site", "list"):
        result = run(command, "-e", "production")
        assert result.exit_code == 1
        assert "takes the root's key: put it at" in result.stderr


def test_an_authority_near_its_end_is_told_and_stops_no_command(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site()
    (state / "production" / "pki" / "offline" / "root.key").unlink()
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=615)
    monkeypatch.setattr(authority, "_now", lambda: later)
    for command in ("ensure", "site", "list"):
        result = run(command, "-e", "production")
        assert result.exit_code == 0, result.output
        assert "note: the issuing authority of production ends on " in result.stderr
        assert "note: " not in result.stdout


def test_it_stands_in_the_list_beside_those_of_the_cluster() -> None:
    assert "llmaas pki site -e production" in run("ensure", "-e", "production").stdout
    site()
    (line,) = [line for line in run("list", "-e", "production").stdout.splitlines() if line.startswith("site ")]
    assert line.endswith(f"  {', '.join(NAMES)}, {ADDRESS}")


def test_the_receiver_of_alerts_gets_a_certificate_for_its_name_and_address(state: Path) -> None:
    result = run("alert-receiver", "-e", "production")
    assert result.exit_code == 0, result.output
    first, certificate, key, callers, last = result.stdout.splitlines()
    leaf = open_authority("production").leaf("alert-receiver")
    assert first.startswith("issued now: for alerts.llm.example.fr, 10.20.0.6, until 2")
    assert (str(leaf.certificate) in certificate, str(leaf.key) in key) == (True, True)
    assert str(state / "production" / "pki" / "root.crt") in callers
    assert last.startswith("Next: copy all three to 10.20.0.6; ")
    assert run("alert-receiver", "-e", "production").stdout.startswith("kept: ")


@pytest.mark.parametrize(
    ("authority_file", "says"),
    [(None, "llmaas:alerts is missing"), ("site-ca.crt", "site-ca.crt is another authority")],
)
def test_no_certificate_is_made_for_nobody_nor_where_another_authority_does(
    monkeypatch: pytest.MonkeyPatch, state: Path, authority_file: str | None, says: str
) -> None:
    alerts = load_platform("production").alerts
    assert alerts is not None
    receiver = alerts.receiver.model_copy(update={"authority": authority_file})
    changed = alerts.model_copy(update={"receiver": receiver}) if authority_file else None
    platform = load_platform("production").model_copy(update={"alerts": changed})
    monkeypatch.setattr(pki, "load_platform", lambda _: platform)
    result = run("alert-receiver", "-e", "production")
    assert result.exit_code == 1
    assert says in result.stderr
    assert not list(state.iterdir())
