"""Whether key servers are themselves, asked over HTTP of small servers on this machine."""

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.llmaas.host.plugins.module_utils import key_servers
from ansible_collections.llmaas.host.plugins.modules import data_devices
from unit.disks.tang import OTHER, OWN, answering, silent_address

WHERE = "llmaas:disk_encryption.key_servers[0]"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with answering() as address:
        yield address


@pytest.fixture(scope="module")
def nobody() -> str:
    return silent_address()


def judged(url: str, thumbprint: str) -> tuple[list[str], list[str]]:
    found: tuple[list[str], list[str]] = data_devices.judge_key_servers(
        [{"where": WHERE, "name": "key-01", "url": url, "thumbprint": thumbprint}]
    )
    return found


def test_only_keys_that_sign_are_those_of_a_server(url: str) -> None:
    assert key_servers.advertised(url) == [OWN]


@pytest.mark.parametrize("thumbprint", [OWN, ""], ids=["its own", "not declared"])
def test_a_key_server_that_is_itself_is_taken(url: str, thumbprint: str) -> None:
    assert judged(url, thumbprint) == ([], [])


def test_a_key_server_with_another_s_key_is_named_with_both(url: str) -> None:
    said = f"key-01 answers at {url} with the key {OWN}, but its own is {OTHER}; is it another machine?"
    assert judged(url, OTHER) == ([f"{WHERE}.thumbprint: {said}"], [])


def test_a_silent_key_server_is_told_from_one_that_disagrees(nobody: str) -> None:
    (disagreeing, (said,)) = judged(nobody, OWN)
    assert disagreeing == []
    assert said.startswith(f"{WHERE}: key-01: {nobody} does not answer: ")


@pytest.mark.parametrize("folder", ["page", "missing"])
def test_what_answers_as_no_key_server_does_is_none(url: str, folder: str) -> None:
    (disagreeing, (said,)) = judged(f"{url}/{folder}", OWN)
    assert disagreeing == []
    assert said.startswith(f"{WHERE}: key-01: {url}/{folder} does not answer")


class Ended(Exception):  # noqa: N818
    """What a module ends with."""


class Module:
    """In the place of Ansible's: gives the parameters, takes the result."""

    check_mode = False

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def exit_json(self, **result: Any) -> None:
        raise Ended(result)

    fail_json = exit_json


@pytest.mark.parametrize(
    ("state", "must_answer", "stands_in_the_way"),
    [("new", True, True), ("ours", True, False), ("new", False, False), ("ours", False, False)],
)
def test_a_silent_key_server_stands_in_the_way_of_new_devices_alone_and_of_none_before_firewalls_know_the_host(
    monkeypatch: pytest.MonkeyPatch, url: str, nobody: str, *, state: str, must_answer: bool, stands_in_the_way: bool
) -> None:
    servers = [
        {"where": WHERE, "name": "key-01", "url": nobody, "thumbprint": OWN},
        {"where": f"{WHERE[:-3]}[1]", "name": "key-02", "url": url, "thumbprint": OTHER},
    ]
    params = {"devices": [{"path": "/dev/x"}], "erase": [], "key_servers": servers, "must_answer": must_answer}
    monkeypatch.setattr(data_devices, "AnsibleModule", lambda **_: Module(params))
    monkeypatch.setattr(data_devices, "probe", lambda _: None)
    monkeypatch.setattr(data_devices, "judge", lambda *_, **__: (state, []))
    with pytest.raises(Ended) as ended:
        data_devices.main()
    (result,) = ended.value.args
    # one that is another machine is refused, whatever the device is
    assert any("key-02 answers" in problem for problem in result["problems"])
    assert any("key-01" in problem for problem in result["problems"]) is stands_in_the_way
    assert bool(result["notes"]) is not stands_in_the_way
