"""A gateway that is configured wrongly does not start, and says everything that is wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from llmaas_gateway.proxy.settings import SettingsError, read_secrets, read_settings

TIER = {"name": "T1", "billing": "monthly", "priority": "normal", "requests_per_minute": 10}
GOOD: dict[str, Any] = {
    "prices": "prices.yaml",
    "models": [{"name": "m", "context_tokens": 100}],
    "tiers": [TIER],
}
ENVIRONMENT = {
    "LLMAAS_REDIS_URL": "redis://h/0",
    "DATABASE_URL": "postgresql://u:p@h:5432/d?sslmode=verify-full&connection_limit=5&sslrootcert=/ca.crt",
    "LLMAAS_CACHE_SALT_SECRET": "s" * 32,
    "LLMAAS_AUDIT_KEY": "A" * 43,
    "LITELLM_MASTER_KEY": "sk-1",
}


def read(folder: Path, content: Any) -> Any:
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(content))
    return read_settings({"LLMAAS_GATEWAY_CONFIG": str(path)})


def test_a_good_file_is_read_and_its_price_book_lies_beside_it(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).prices == tmp_path / "prices.yaml"


def test_a_tokenizer_is_relative_to_the_file_unless_it_is_absolute(tmp_path: Path) -> None:
    model = GOOD["models"][0]
    for given, wanted in (("t.json", tmp_path / "t.json"), ("/t.json", Path("/t.json"))):
        assert read(tmp_path, {**GOOD, "models": [{**model, "tokenizer": given}]}).models[0].tokenizer == wanted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": []}, "models"),
        ({"models": [{"name": "m", "context_tokens": 0}]}, r"models\.0\.context_tokens"),
        ({"models": GOOD["models"] * 2}, "m stands there twice"),
        ({"tiers": [TIER, TIER]}, "T1 stands there twice"),
        ({"models": [{"name": "m", "context_tokens": 1, "fallbacks": ["x"]}]}, "falls back to x, which is not served"),
        ({"tiers": [{**TIER, "billing": "gold"}]}, r"tiers\.0\.billing"),
        ({"ledger_seconds": 0}, "ledger_seconds"),
        ({"lease_seconds": 3_601}, "lease_seconds"),
        ({"vat_percent": "much"}, "vat_percent"),
        ({"models": [{**GOOD["models"][0], "tokenizer_sha256": "a" * 64}]}, "tokenizer_sha256 .* without tokenizer"),
        (
            {"models": [{**GOOD["models"][0], "tokenizer": "t", "tokenizer_sha256": "A"}]},
            r"models\.0\.tokenizer_sha256",
        ),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read(tmp_path, {**GOOD, **change})


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, {**GOOD, "ledger_seconds": 0, "replicas": 0, "prices": 3})
    assert all(name in str(caught.value) for name in ("ledger_seconds", "replicas", "prices"))


def test_no_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="LLMAAS_GATEWAY_CONFIG names no file"):
        read_settings({})
    with pytest.raises(SettingsError, match="No such file"):
        read_settings({"LLMAAS_GATEWAY_CONFIG": str(tmp_path / "missing.yaml")})


def test_missing_secrets_are_all_named_and_a_short_one_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        read_secrets({"LLMAAS_CACHE_SALT_SECRET": "short"})
    for words in (*(name for name in ENVIRONMENT if "SALT" not in name), "LLMAAS_CACHE_SALT_SECRET has 5 bytes"):
        assert words in str(caught.value)


def test_what_only_prisma_knows_of_the_databases_url_is_left_away_and_no_secret_is_printed() -> None:
    secrets = read_secrets(ENVIRONMENT)
    kept = secrets.database_url.partition("&keepalives_idle=")[0]
    assert kept == "postgresql://u:p@h:5432/d?sslmode=verify-full&sslrootcert=%2Fca.crt"
    assert "sss" not in repr(secrets)
    assert "u:p" not in repr(secrets)
