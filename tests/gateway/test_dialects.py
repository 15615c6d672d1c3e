"""Another API's request becomes the chat completion that it means, or is refused by the field's name."""

import json
from typing import Any

import pytest
from llmaas_gateway.dialects import DIALECTS
from llmaas_gateway.dialects.blocks import AnswerError, Tokens, answer_of
from llmaas_gateway.isolation.requests import Bounds, RequestRefusedError, sanitise

TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
PICTURE = "data:image/png;base64,AAAA"
CHAT = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [
        {"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": PICTURE}},
    ]},
    {"role": "assistant", "content": "I look", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"city": "Paris"}'}},
        {"id": "c2", "type": "function", "function": {"name": "look", "arguments": '{"city": "Lyon"}'}},
    ]},
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    {"role": "tool", "tool_call_id": "c2", "content": "sun"},
    {"role": "user", "content": "go on"},
]  # fmt: skip
RESPONSES: dict[str, Any] = {
    "model": "m",
    "instructions": "be brief",
    "input": [
        {"role": "user", "content": [
            {"type": "input_text", "text": "what is this"},
            {"type": "input_image", "image_url": PICTURE, "detail": "auto"},
        ]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look"}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"city": "Paris"}', "id": "fc_1"},
        {"type": "function_call", "call_id": "c2", "name": "look", "arguments": '{"city": "Lyon"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "sun"}]},
        {"role": "user", "content": "go on"},
    ],
    "tools": [{"type": "function", "name": "look", "parameters": TOOL, "strict": True}],
    "tool_choice": {"type": "function", "name": "look"},
    "text": {"format": {"type": "json_schema", "name": "answer", "schema": TOOL}},
    "reasoning": {"effort": "low"},
    "max_output_tokens": 7,
    "store": False,
}  # fmt: skip
MESSAGES: dict[str, Any] = {
    "model": "m",
    "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "what is this"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "I look"},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "c2", "name": "look", "input": {"city": "Lyon"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": "rain"},
            {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "sun"}]},
            {"type": "text", "text": "go on"},
        ]},
    ],
    "tools": [{"name": "look", "input_schema": TOOL, "strict": True}],
    "tool_choice": {"type": "tool", "name": "look"},
    "output_config": {"format": {"type": "json_schema", "schema": TOOL}, "effort": "low"},
    "max_tokens": 7,
}  # fmt: skip
BODIES = {"responses": RESPONSES, "messages": MESSAGES}


@pytest.mark.parametrize(("kind", "most"), [("responses", "max_completion_tokens"), ("messages", "max_tokens")])
def test_a_whole_conversation_with_tools_and_a_picture_becomes_the_same_chat(kind: str, most: str) -> None:
    chat = DIALECTS[kind](BODIES[kind]).chat()
    assert sanitise("chat", chat, Bounds(1000)) == chat
    assert chat["messages"] == CHAT
    assert chat["tools"] == [{"type": "function", "function": {"name": "look", "parameters": TOOL, "strict": True}}]
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert chat["response_format"]["json_schema"]["schema"] == TOOL
    assert (chat["reasoning_effort"], chat[most]) == ("low", 7)


REFUSED = [
    ("responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("responses", {"conversation": "conv_1"}, "conversation"),
    ("responses", {"store": True}, "store"),
    ("responses", {"background": True}, "background"),
    ("responses", {"prompt": {"id": "pmpt_1"}}, "prompt"),
    ("responses", {"tools": [{"type": "web_search"}]}, "tools[0]"),
    ("responses", {"tools": [{"type": "mcp", "server_url": "http://127.0.0.1:9"}]}, "tools[0]"),
    ("responses", {"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
    ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
    ("responses", {"input": [{"type": "web_search_call"}]}, "input[0].type"),
    ("responses", {"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y"}]}]},
     "input[0].content[0].image_url"),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
     "input[0].content[0].type"),
    ("responses", {"input": 5}, "input"),
    ("responses", {"input": [[]]}, "input[0]"),
    ("responses", {"include": ["file_search_call.results"]}, "include"),
    ("responses", {"include": 5}, "include"),
    ("responses", {"truncation": "auto"}, "truncation"),
    ("responses", {"truncation": ["auto"]}, "truncation"),
    ("responses", {"text": {"format": {"type": ["x"]}}}, "text.format.type"),
    ("responses", {"anything": 1}, "anything"),
    ("messages", {"max_tokens": None}, "max_tokens"),
    ("messages", {"mcp_servers": [{"type": "url", "url": "http://127.0.0.1:9"}]}, "mcp_servers"),
    ("messages", {"container": "c"}, "container"),
    ("messages", {"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management"),
    ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
    ("messages", {"messages": [{"role": "system", "content": "x"}]}, "messages[0].role"),
    ("messages", {"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0].type"),
    ("messages", {"messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "url", "url": "http://x/y"}}]}]}, "messages[0].content[0].source"),
    ("messages", {"messages": [{"role": "user", "content": [{"type": ["text"]}]}]}, "messages[0].content[0].type"),
    ("messages", {"messages": "x"}, "messages"),
    ("messages", {"system": 5}, "system"),
    ("messages", {"thinking": {"type": "enabled", "budget_tokens": "much"}}, "thinking.budget_tokens"),
    ("messages", {"stop_sequences": [5]}, "stop_sequences[0]"),
    ("messages", {"anything": 1}, "anything"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "parameter"), REFUSED)
def test_what_needs_a_memory_or_has_no_equal_is_refused_by_its_name(
    kind: str, fields: dict[str, Any], parameter: str
) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        DIALECTS[kind]({**BODIES[kind], **fields}).chat()
    assert refused.value.parameter == parameter


@pytest.mark.parametrize("kind", sorted(DIALECTS))
def test_fields_that_are_the_gateways_to_set_are_dropped(kind: str) -> None:
    forged = {"user": "another", "metadata": {"user_id": "x"}, "cache_salt": "x", "service_tier": "auto", "priority": 1}
    assert DIALECTS[kind]({**BODIES[kind], **forged}).chat() == DIALECTS[kind](BODIES[kind]).chat()


def _piece(**delta: Any) -> bytes:
    return json.dumps({"model": "m", "choices": [{"index": 0, "delta": delta}]}).encode()


@pytest.mark.parametrize("kind", sorted(DIALECTS))
def test_a_call_of_a_tool_that_goes_on_after_another_began_is_no_answer(kind: str) -> None:
    stream = DIALECTS[kind](BODIES[kind]).stream("1")
    for index in (0, 1):
        call = {"index": index, "id": f"c{index}", "function": {"name": "look", "arguments": "{"}}
        list(stream.feed(_piece(tool_calls=[call]), Tokens()))
    late = {"index": 0, "function": {"arguments": "}"}}
    with pytest.raises(AnswerError):
        list(stream.feed(_piece(tool_calls=[late]), Tokens()))


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"choices": []}', b'{"choices": [{"message": 5}]}'])
def test_what_is_no_chat_completion_is_no_answer(body: bytes) -> None:
    with pytest.raises(AnswerError):
        answer_of(body, "1", None)


def test_a_message_cannot_tell_a_call_whose_arguments_are_no_object() -> None:
    call = {"id": "c", "function": {"name": "look", "arguments": "[1"}}
    body = {"model": "m", "choices": [{"message": {"content": None, "tool_calls": [call]}}]}
    answer = answer_of(json.dumps(body).encode(), "1", None)
    with pytest.raises(AnswerError):
        DIALECTS["messages"](MESSAGES).whole(answer)
