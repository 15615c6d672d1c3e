"""A usage is found however the pieces of a stream are cut."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st
from llmaas_gateway.proxy.usage import (
    DONE,
    StreamReader,
    is_error,
    summed,
    usage_of_body,
    usage_of_event,
    with_system_tokens,
)

USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
EVENTS = [b'{"choices":[{"delta":{"content":"\\"usage\\""}}]}', json.dumps({"usage": USAGE}).encode(), DONE]
STREAM = b": ping\n\n" + b"".join(b"data: " + event + b"\n\n" for event in EVENTS)


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_are_whole_however_they_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    reader = StreamReader()
    seen = [event for a, b in itertools.pairwise(places) for event in reader.events(STREAM[a:b])]
    assert seen == EVENTS
    assert [usage_of_event(event) for event in seen] == [None, USAGE, None]


def test_what_is_no_usage_is_none() -> None:
    for body in (b"", b"[]", b'{"usage": null}', b'{"usage": 3}', b"not json", b'{"usage": {}}'):
        assert usage_of_body(body) is None


def test_a_prompt_is_summed_once_with_its_cached_part_and_each_choice_with_its_reasoning() -> None:
    def told(prompt: int, cached: int, completion: int, reasoning: int) -> dict[str, object]:
        details = {"prompt_tokens_details": {"cached_tokens": cached}}
        details |= {"completion_tokens_details": {"reasoning_tokens": reasoning}}
        return {"prompt_tokens": prompt, "completion_tokens": completion, **details}

    # Two choices a prompt; of the second prompt one has not begun.
    by_choice = {0: told(30, 20, 4, 1), 1: told(30, 20, 6, 2), 3: told(9, 0, 5, 0)}
    assert summed(by_choice, 2) == told(39, 20, 15, 3)
    assert summed({1: USAGE}, 2) == USAGE
    assert summed({}, 1) is None


def test_an_error_is_known() -> None:
    assert is_error(b'{"error":{"message":"x"}}')
    assert not is_error(EVENTS[0])


def test_system_tokens_are_told_as_they_are_charged() -> None:
    cached = {**USAGE, "prompt_tokens_details": {"cached_tokens": 2}}
    for usage, told in ((USAGE, {"system_tokens": 3}), (cached, {"cached_tokens": 2, "system_tokens": 1})):
        body = json.dumps({"id": "é\ud800", "usage": usage}).encode()
        answer = json.loads(with_system_tokens(body, usage_of_body(body), 5).decode("utf-8", "surrogatepass"))
        assert answer == {"id": "é\ud800", "usage": {**usage, "prompt_tokens_details": told}}


def test_an_answer_without_system_tokens_or_a_usage_is_left_as_it_is() -> None:
    wrong = json.dumps({"usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 9}}}).encode()
    for body, system_tokens in ((EVENTS[1], 0), (EVENTS[0], 5), (b"no JSON", 5), (wrong, 5)):
        assert with_system_tokens(body, usage_of_body(body), system_tokens) == body
