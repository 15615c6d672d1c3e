"""What the platform records of itself, fetched as an auditor fetches it and verified offline."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api.environment import PLATFORM
from llmaas_gateway.audit.signing import Signer, Verifier
from llmaas_gateway.audit.verify import Report, verify_files

from llmaas.admin.audit import fetch_export
from llmaas.admin.connection import open_http
from llmaas.materials import AUDIT_KEY
from llmaas.secrets import SecretStore


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Everything that was recorded since yesterday."""
    today = datetime.now(UTC).date()
    folder = tmp_path_factory.mktemp("audit") / "export"
    with open_http(PLATFORM.environment) as http:
        return fetch_export(http, folder, since=today - timedelta(days=1), until=today + timedelta(days=1), tenant=None)


def _verified(files: tuple[Path, ...], secret: str) -> Report:
    return verify_files(list(files), Verifier.from_pems([Signer.from_secret(secret).public_pem()]))


def test_the_audit_verifies_with_the_platform_s_key(export: tuple[Path, ...]) -> None:
    report = _verified(export, SecretStore.open(PLATFORM.environment).text(AUDIT_KEY))
    assert not report.problems
    assert report.records > 0


def test_the_audit_verifies_with_no_other_key(export: tuple[Path, ...]) -> None:
    assert _verified(export, "A" * 43).problems
