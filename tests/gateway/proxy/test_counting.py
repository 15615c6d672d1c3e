"""What is reserved for a prompt is never below what it has."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmaas_gateway.proxy.counting import Count, InputCounter
from llmaas_gateway.proxy.settings import ServedModel
from llmaas_gateway.proxy.written import written_bytes

BYTES = ServedModel(name="bytes", context_tokens=1_000, template_tokens=5, message_tokens=3)
WORDS = ServedModel.model_validate({**BYTES.model_dump(), "name": "words", "tokenizer": "/tokenizer.json"})
LETTERS = WORDS.model_copy(update={"name": "letters", "tokenizer": Path("/letters.json"), "tokenizer_sha256": "a" * 64})


def made(path: Path, _: str | None) -> Count:
    return len if path == LETTERS.tokenizer else lambda text: len(text.split())


COUNTER = InputCounter([BYTES, WORDS, LETTERS], made)


def chat(*texts: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text} for text in texts], **fields}


@given(st.lists(st.text(max_size=50), min_size=1, max_size=4))
def test_without_a_tokenizer_no_prompt_has_more_tokens_than_are_reserved(texts: list[str]) -> None:
    counted = COUNTER.count(BYTES, chat(*texts))
    most_possible = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) + 5 + 3 * len(texts)
    assert min(1_000, most_possible) <= counted.most <= 1_000
    assert counted.least_a_prompt == 1


def test_with_a_tokenizer_both_bounds_are_close() -> None:
    counted = COUNTER.count(WORDS, chat("one two three", "four"))
    # Names of fields and roles are counted as well: they stand in the template's place.
    assert counted.least_a_prompt == 4
    assert 4 + 5 + 2 * 3 <= counted.most <= 4 + 5 + 2 * 3 + 6


def test_tools_and_options_of_the_template_are_part_of_the_prompt() -> None:
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    without = COUNTER.count(WORDS, chat("one")).most
    extra = {"documents": ["a long text"]}
    counted = COUNTER.count(WORDS, chat("one", tools=tools, chat_template_kwargs=extra)).most
    assert counted >= without + len(json.dumps(tools)) + len(json.dumps(extra))


def test_arguments_of_calls_may_be_written_with_more_blanks_than_were_sent() -> None:
    arguments = json.dumps({"numbers": list(range(50))}, separators=(",", ":"))
    body = calls_with(arguments)
    for model in (BYTES, WORDS):
        assert COUNTER.count(model, body).most >= len(json.dumps(json.loads(arguments), indent=4))


@pytest.mark.parametrize("calls", [None, "x", [1], [{"function": 1}], [{"function": {"arguments": "[" * 100_000}}]])
def test_calls_that_are_none_are_counted_as_what_they_say(calls: Any) -> None:
    body = {"messages": [{"role": "assistant", "content": "one", "tool_calls": calls}]}
    assert COUNTER.count(WORDS, body).most >= 1


@pytest.mark.parametrize("role", ["tool", "ipython"])
@pytest.mark.parametrize("content", ["\n" * 50, '"' * 50, [{"type": "text", "text": '"\n' * 50}], "plain"])
def test_results_of_tools_may_be_written_as_json(role: str, content: Any) -> None:
    for model in (BYTES, LETTERS):
        counted = COUNTER.count(model, {"messages": [{"role": role, "content": content}]})
        assert counted.most >= len(json.dumps(content, ensure_ascii=False))
    # Whether a template writes it at all is the template's business.
    assert counted.least_a_prompt == 1


def test_blanks_that_are_counted_are_not_written() -> None:
    value: Any = [1] * 20_000
    for _ in range(200):
        value = [value]
    tracemalloc.start()
    try:
        for body in ({"messages": [value]}, {"messages": [], "tools": value}, calls_with(json.dumps(value))):
            assert COUNTER.count(BYTES, body).most == 1_000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def calls_with(arguments: str) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": arguments}}
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANY_JSON)
def test_the_length_of_what_is_not_written_is_right(value: Any) -> None:
    text = json.dumps(value, indent=4, ensure_ascii=False)
    exact = len(text.encode("utf-8", "surrogatepass"))
    assert written_bytes(value, 10**9) == exact
    for most in (0, exact // 2, exact):
        assert written_bytes(value, most) >= most
    assert written_bytes(value, exact + 1) == exact


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "type", "tool_calls", "function"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=4))
def test_messages_that_are_none_are_counted_all_the_same(messages: list[Any]) -> None:
    for model in (BYTES, WORDS):
        assert 0 < COUNTER.count(model, {"messages": messages}).most <= 1_000


def test_blanks_that_a_template_may_trim_are_not_counted_on() -> None:
    assert COUNTER.count(LETTERS, chat(" " * 500 + "one" + "\n" * 400)).least_a_prompt == 3


def test_a_text_that_no_context_holds_is_not_counted() -> None:
    asked: list[str] = []

    def load(*_: object) -> Count:
        return lambda text: asked.append(text) or len(text)

    counter = InputCounter([LETTERS], load)
    for body in (chat("x" * 9_000), {"prompt": ["x" * 9_000, "y" * 9_000]}):
        counted = counter.count(LETTERS, body)
        assert (counted.most, counted.least_a_prompt) == (1_000 * len(body.get("prompt", "1")), 1)
    assert asked == []
    assert counter.count(LETTERS, chat("x" * 7_000)).most == 1_000
    assert asked


def test_one_tokenizer_of_several_models_is_loaded_once() -> None:
    loaded: list[tuple[Path, str | None]] = []

    def load(path: Path, sha256: str | None) -> Count:
        loaded.append((path, sha256))
        return len

    InputCounter([WORDS, WORDS.model_copy(update={"name": "others"}), LETTERS], load)
    assert loaded == [(Path("/tokenizer.json"), None), (Path("/letters.json"), "a" * 64)]


def test_media_may_fill_the_context() -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    body = {"messages": [{"role": "user", "content": image}]}
    assert COUNTER.count(WORDS, body).most == COUNTER.count(BYTES, body).most == 1_000


def test_what_the_system_says_is_counted_beside_media_of_any_length() -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}]
    body = {"messages": [{"role": "system", "content": "one two"}, {"role": "user", "content": image}]}
    assert COUNTER.count(WORDS, body).system == 2


def test_several_prompts_are_counted_together_and_bounded_one_by_one() -> None:
    counted = COUNTER.count(WORDS, {"prompt": ["one two", "three"]})
    assert counted.most >= 3
    assert counted.least_a_prompt == 1
    assert COUNTER.count(BYTES, {"prompt": ["x" * 5_000, "y" * 5_000]}).most == 2_000


def test_tokens_that_are_sent_as_numbers_are_counted_as_such() -> None:
    assert COUNTER.count(WORDS, {"prompt": [1, 2, 3, 4]}).most >= 4
    assert COUNTER.count(WORDS, {"input": [[1, 2], [3]]}).most >= 3


def test_what_system_messages_say_is_counted_apart_where_there_is_a_tokenizer() -> None:
    parts = [{"type": "text", "text": "four five"}, {"type": "text", "text": "six"}]
    messages = [
        {"role": "system", "content": "one two three"},
        {"role": "developer", "content": parts},
        {"role": "user", "content": "seven eight"},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    assert COUNTER.count(WORDS, {"messages": messages}).system == 6
    assert COUNTER.count(BYTES, {"messages": messages}).system == 0
    assert COUNTER.count(WORDS, {"prompt": "system"}).system == 0
