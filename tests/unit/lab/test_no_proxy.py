"""A shell that was given the lab's addresses still knows what its own proxy must not be asked for."""

from pathlib import Path

import pytest

from lab.environment import tool_environment
from lab.layout import layout
from lab.spec import lab_spec

LAB = ",".join(["10.77.0.0/24", "10.77.0.1", *(host.address for host in lab_spec().hosts), "127.0.0.1", "localhost"])


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, LAB),
        ({"NO_PROXY": "", "no_proxy": ","}, LAB),
        ({"NO_PROXY": ".corp.example,10.0.0.0/8"}, f".corp.example,10.0.0.0/8,{LAB}"),
        ({"no_proxy": "one.example, two.example"}, f"one.example,two.example,{LAB}"),
        ({"NO_PROXY": "one.example", "no_proxy": "two.example,one.example"}, f"one.example,two.example,{LAB}"),
        ({"NO_PROXY": "localhost,one.example"}, f"localhost,one.example,{LAB.removesuffix(',localhost')}"),
        # everything: with more beside it, the star would be no more than a name
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_the_lab_is_added_to_what_is_reached_without_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], wanted: str
) -> None:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLMAAS_CACHE", str(tmp_path / "cache"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    here = layout()
    for _ in range(2):
        # the second time in the shell that took the first answer
        variables = tool_environment(here)
        assert (variables["NO_PROXY"], variables["no_proxy"]) == (wanted, wanted)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, variables[name])
