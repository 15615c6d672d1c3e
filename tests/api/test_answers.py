import ssl
from collections.abc import Callable

import anthropic
import httpx
import openai
import pytest
from api.environment import PLATFORM, SERVED

from llmaas.materials import read_tokenizers

Client = Callable[..., openai.OpenAI]
QUESTION = [{"role": "user", "content": "Bonjour"}]
SYSTEM = "Answer in one sentence, in French, and say when you do not know."


def test_a_model_answers_with_its_usage(client_of: Client, key: str, entrance: str, model: str) -> None:
    answer = client_of(key, entrance).chat.completions.create(model=model, messages=QUESTION, max_tokens=8)
    assert answer.model == model
    assert answer.choices[0].message.content is not None
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert 0 < answer.usage.completion_tokens <= 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def _tokens_with_a_system_message(client: openai.OpenAI, model: str, system: str) -> tuple[int, int]:
    """Those of the system message and those of the whole prompt, as the usage tells them."""
    messages = [{"role": "system", "content": system}, *QUESTION]
    usage = client.chat.completions.create(model=model, messages=messages, max_tokens=1).usage
    assert usage is not None
    return getattr(usage.prompt_tokens_details, "system_tokens", 0), usage.prompt_tokens


def test_tokens_of_system_messages_are_told_apart(client_of: Client, key: str, entrance: str, model: str) -> None:
    client = client_of(key, entrance)
    once, thrice = (_tokens_with_a_system_message(client, model, " ".join([SYSTEM] * times)) for times in (1, 3))
    (artefact,) = {each.artefact for each in PLATFORM.models if each.name == model}
    if artefact not in read_tokenizers(PLATFORM):
        # Nothing counts them, so they are input.
        assert (once[0], thrice[0]) == (0, 0)
        return
    assert 0 < once[0] < once[1]
    # The gateway's tokenizer is the model's: what one counts more of the longer message, the other does too.
    assert thrice[0] - once[0] == thrice[1] - once[1] > 0


def test_a_call_without_a_token_limit_is_answered(client_of: Client, key: str) -> None:
    answer = client_of(key).chat.completions.create(model=SERVED[0], messages=QUESTION)
    assert answer.usage is not None


def test_a_stream_ends_with_its_usage(client_of: Client, key: str, model: str) -> None:
    stream = client_of(key).chat.completions.create(
        model=model, messages=QUESTION, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert sum(bool(chunk.choices) for chunk in chunks) > 1
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert len(usages) == 1
    assert usages[0].completion_tokens > 0


def test_a_plain_completion_is_answered(client_of: Client, key: str) -> None:
    answer = client_of(key).completions.create(model=SERVED[0], prompt="Bonjour", max_tokens=4)
    assert answer.usage is not None


def test_a_response_is_answered_and_streamed_with_its_usage(client_of: Client, key: str) -> None:
    client = client_of(key)
    answer = client.responses.create(model=SERVED[0], input="Bonjour", max_output_tokens=8)
    assert answer.usage is not None
    assert answer.usage.input_tokens > 0
    assert 0 < answer.usage.output_tokens <= 8
    events = list(client.responses.create(model=SERVED[0], input="Bonjour", max_output_tokens=8, stream=True))
    # the tiny models go on until the limit, so that the stream may end as incomplete
    assert events[-1].type in {"response.completed", "response.incomplete"}
    assert events[-1].response.usage is not None


def _message(trust: ssl.SSLContext, entrance: str, key: str, **fields: str) -> anthropic.types.Usage:
    """The usage of an answered message."""
    with (
        anthropic.DefaultHttpxClient(verify=trust, trust_env=False) as http,
        anthropic.Anthropic(base_url=f"https://{entrance}", api_key=key, http_client=http, max_retries=0) as client,
    ):
        question: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Bonjour"}]
        return client.messages.create(model=SERVED[0], max_tokens=8, messages=question, **fields).usage


def test_a_message_is_answered_with_its_usage(trust: ssl.SSLContext, entrance: str, key: str) -> None:
    usage = _message(trust, entrance, key)
    assert usage.input_tokens > 0
    assert 0 < usage.output_tokens <= 8


def test_responses_and_messages_tell_the_tokens_of_system_messages_as_chat_does(
    client_of: Client, trust: ssl.SSLContext, entrance: str, key: str
) -> None:
    client = client_of(key)
    told, _ = _tokens_with_a_system_message(client, SERVED[0], SYSTEM)
    response = client.responses.create(model=SERVED[0], instructions=SYSTEM, input="Bonjour", max_output_tokens=8)
    assert response.usage is not None
    assert getattr(response.usage.input_tokens_details, "system_tokens", 0) == told
    assert getattr(_message(trust, entrance, key, system=SYSTEM), "system_tokens", 0) == told


def test_the_list_of_models_is_the_catalogue(client_of: Client, key: str, entrance: str) -> None:
    assert {model.id for model in client_of(key, entrance).models.list()} == set(SERVED)


def test_an_unknown_model_is_404(client_of: Client, key: str) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        client_of(key).chat.completions.create(model="no-such-model", messages=QUESTION)
    assert error.value.status_code == 404
    _has_openai_s_shape(error.value.response)


def test_a_wrong_key_is_401(client_of: Client) -> None:
    with pytest.raises(openai.AuthenticationError) as error:
        client_of("sk-wrong").chat.completions.create(model=SERVED[0], messages=QUESTION)
    assert error.value.status_code == 401
    _has_openai_s_shape(error.value.response)


def test_a_call_without_a_key_is_401(web: httpx.Client) -> None:
    answer = web.post("/v1/chat/completions", json={"model": SERVED[0], "messages": QUESTION})
    assert answer.status_code == 401
    _has_openai_s_shape(answer)


def test_a_body_that_is_no_request_is_400(web: httpx.Client, key: str) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    answer = web.post("/v1/chat/completions", headers=headers, content=b'{"model": "')
    assert answer.status_code == 400
    _has_openai_s_shape(answer)


def _has_openai_s_shape(answer: httpx.Response) -> None:
    error = answer.json()["error"]
    assert error["message"]
    assert {"type", "code"} <= set(error)
