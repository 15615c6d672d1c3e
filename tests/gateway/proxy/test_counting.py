"""What is reserved for a prompt is never below what it has."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from llmaas_gateway.proxy.counting import InputCounter
from llmaas_gateway.proxy.settings import ServedModel

BYTES = ServedModel(name="bytes", context_tokens=1_000, template_tokens=5, message_tokens=3)
WORDS = ServedModel.model_validate({**BYTES.model_dump(), "name": "words", "tokenizer": "/tokenizer.json"})
COUNTER = InputCounter([BYTES, WORDS], lambda _: lambda text: len(text.split()))


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


def test_media_may_fill_the_context() -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    body = {"messages": [{"role": "user", "content": image}]}
    assert COUNTER.count(WORDS, body).most == COUNTER.count(BYTES, body).most == 1_000


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
