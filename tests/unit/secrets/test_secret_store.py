import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmaas.secrets import SecretError, SecretStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SecretStore:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path))
    return SecretStore.open("unit")


def test_a_secret_is_made_once_and_then_stays_the_same(store: SecretStore) -> None:
    first = store.text("postgres-superuser")
    assert len(first) >= 32
    assert SecretStore.open("unit").text("postgres-superuser") == first


def test_two_secrets_differ(store: SecretStore) -> None:
    assert store.text("one") != store.text("two")


def test_a_prefix_stands_before_the_random_part(store: SecretStore) -> None:
    assert store.text("litellm-master-key", prefix="sk-").startswith("sk-")


def test_a_secret_is_readable_by_its_owner_alone(store: SecretStore) -> None:
    store.text("one")
    assert (store.folder / "one").stat().st_mode & 0o777 == 0o600
    assert store.folder.stat().st_mode & 0o077 == 0


def test_writers_at_the_same_time_get_the_same_secret(store: SecretStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: store.text("shared"), range(32)))) == 1


def test_names_lists_what_was_made_and_nothing_else(store: SecretStore) -> None:
    store.text("b")
    store.text("a")
    assert store.names() == ("a", "b")


@pytest.mark.parametrize("name", ["", "../escape", "Upper", "a_b", "a/b", ".lock", "a--b"])
def test_a_name_that_could_leave_the_store_is_refused(store: SecretStore, name: str) -> None:
    with pytest.raises(SecretError, match="a name is"):
        store.text(name)


def test_an_empty_secret_is_refused_and_the_error_names_its_file(store: SecretStore) -> None:
    (store.folder / "broken").write_text("\n")
    with pytest.raises(SecretError, match=r"broken.*is empty"):
        store.text("broken")


def test_a_key_is_the_random_bytes_of_a_secret(store: SecretStore) -> None:
    key = store.key("one")
    assert len(key) == 32
    assert store.text("one") == base64.urlsafe_b64encode(key).decode().rstrip("=")


@pytest.mark.parametrize("written", ["too-short", "no base64 at all!", "A" * 50])
def test_a_secret_that_is_no_key_is_refused_as_one(store: SecretStore, written: str) -> None:
    (store.folder / "one").write_text(written)
    with pytest.raises(SecretError, match="does not hold 32 bytes"):
        store.key("one")
