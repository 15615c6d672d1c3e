"""What is reserved for a prompt is no less than what the model's own template and tokenizer make of it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from lab.models import tiny_llama

from .packages import told_by_script
from .stack import ROOT

Bounds = Callable[[str, list[dict[str, Any]]], list[list[int]]]
FILES: Final = tiny_llama.files()
TEMPLATES: Final = {
    "tiny": json.loads(FILES["tokenizer_config.json"])["chat_template"],
    **{
        path.stem: path.read_text(encoding="utf-8")
        for path in sorted(Path(__file__).with_name("chat_templates").glob("*.jinja"))
    },
}
TEXT: Final = (ROOT / "lab/models/corpus.txt").read_text(encoding="utf-8")
ODD: Final = ("", " ", "\n\n", "a", "é€😀", "0123456789" * 20, "<|im_end|><s></s>", "  blanks around \n\n", "\t" * 60)
RESULTS: Final = ("\n" * 20_000, '"' * 500, "\\\t" * 500, "\x00\x1f" * 50, json.dumps(TEXT), TEXT, "é€😀", "")
TOOL: Final = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {"type": "object", "properties": {"words": {"type": "array", "items": {"type": "string"}}}},
    },
}
CALL: Final = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look_up", "arguments": json.dumps({"n": list(range(99))}, separators=(",", ":"))},
}
OPTIONS: Final[list[dict[str, Any]]] = [
    {},
    {"tools": [TOOL]},
    {"chat_template_kwargs": {"thinking": True}},
    {"chat_template_kwargs": {"documents": [{"doc_id": "1", "text": TEXT[:300]}]}},
]


@pytest.fixture(scope="module")
def bounds(tmp_path_factory: pytest.TempPathFactory) -> Bounds:
    """Least, most, real and system tokens of requests to a model with this template and the lab's tokenizer."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(json.dumps(_with_marks(json.loads(FILES["tokenizer.json"]))))

    def ask(template: str, bodies: list[dict[str, Any]]) -> list[list[int]]:
        given = json.dumps({"tokenizer": str(path), "template": template, "bodies": bodies})
        found: list[list[int]] = told_by_script("count_script.py", given)
        assert len(found) == len(bodies)
        return found

    return ask


def _with_marks(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Marks such as ``<|im_start|>`` are one token each, as they are in the models whose templates write them."""
    marks = sorted({mark for template in TEMPLATES.values() for mark in re.findall(r"<\|\w+\|>", template)})
    known = tokenizer["added_tokens"]
    added = [{**known[0], "id": tiny_llama.VOCABULARY + n, "content": mark} for n, mark in enumerate(marks)]
    return {**tokenizer, "added_tokens": [*known, *added]}


def said(*texts: str, system: str = "") -> list[dict[str, Any]]:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *({"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts))]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_no_prompt_has_more_tokens_than_are_reserved_or_fewer_than_are_counted_on(
    template: str, bounds: Bounds
) -> None:
    talks = [
        *(said(text) for text in (TEXT, TEXT[:50], *ODD)),
        said(*ODD[3:], TEXT[:200], system=TEXT[:400]),
        said(*(["Bonjour"] * 101)),
        [*said("Bonjour"), {"role": "assistant", "content": "", "tool_calls": [CALL] * 3}, *said("one", system="two")],
        [*said("Bonjour"), {"role": "assistant", "content": TEXT, "tool_calls": [CALL]}],
        [*said("Bonjour", f"<think>{TEXT}</think>", "Encore"), {"role": "critic", "content": TEXT}],
        *([*said("Bonjour"), {"role": "tool", "tool_call_id": "call_1", "content": text}] for text in RESULTS),
    ]
    bodies = [{"messages": talk, **options} for talk in talks for options in OPTIONS]
    for body, (least, most, real, _) in zip(bodies, bounds(template, bodies), strict=True):
        assert least <= real <= most, str(body)[:300]


def test_system_tokens_are_those_that_a_system_message_adds(bounds: Bounds) -> None:
    once, twice = TEXT[:60].strip(), " ".join([TEXT[:60].strip()] * 2)
    first, second = bounds(TEMPLATES["tiny"], [{"messages": said("Bonjour", system=each)} for each in (once, twice)])
    assert second[3] - first[3] == second[2] - first[2] > 0
