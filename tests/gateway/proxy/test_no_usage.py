"""An answer for which the model tells no usage is charged by what is surely known of it."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from llmaas_gateway.asgi import Message
from llmaas_gateway.price_file import load_price_book
from llmaas_gateway.proxy.call import Call
from llmaas_gateway.proxy.costs import Costs
from llmaas_gateway.proxy.counting import Count, InputCounter
from llmaas_gateway.proxy.reply import Reply
from llmaas_gateway.proxy.settings import GatewaySettings

from .stack import PRICES, TIERS

MESSAGES = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "one two three"}]
SAID = {"choices": [{"message": {"content": "a b c", "reasoning_content": "d e"}}]}
CALLED = {"choices": [{"message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{} x"}}]}}]}


def words(_path: Path, _sha256: str | None) -> Count:
    return lambda text: len(text.split())


def costs(folder: Path, **model: Any) -> Costs:
    (folder / "prices.yaml").write_text(PRICES)
    models = [{"name": "chat-model", "context_tokens": 4096, **model}]
    settings = GatewaySettings.model_validate({"prices": folder / "prices.yaml", "models": models, "tiers": TIERS})
    return Costs(settings, load_price_book(settings.prices), InputCounter(settings.models, words))


def answered(made: Costs, body: dict[str, Any], status: int = 200) -> dict[str, int]:
    """What a call is charged for when this is its whole answer."""
    at = load_price_book(made._settings.prices).prices[0].valid_from  # noqa: SLF001
    call = Call("/v1/chat/completions", "chat", made._settings.models[0], {"messages": MESSAGES})  # noqa: SLF001
    made.bound_output(call, made._settings.models[0])  # noqa: SLF001
    reply = Reply(call, AsyncMock(), AsyncMock(), [])

    async def told() -> None:
        start: Message = {"type": "http.response.start", "status": status, "headers": []}
        await reply.send(start)
        await reply.send({"type": "http.response.body", "body": json.dumps(body).encode()})

    asyncio.run(told())
    usage, _ = made.charge(call, "chat-model", at, None)
    return {unit.value: count for unit, count in usage.counts.items()}


@pytest.mark.parametrize(("body", "output"), [(SAID, 5), (CALLED, 3), ({"choices": []}, 0), ({"choices": "?"}, 0)])
def test_a_whole_answer_pays_the_counted_input_and_what_it_says(
    tmp_path: Path, body: dict[str, Any], output: int
) -> None:
    counts = answered(costs(tmp_path, tokenizer="t"), body)
    assert counts == {"input": 3, "system": 2, **({"output": output} if output else {})}


def test_without_a_tokenizer_it_pays_a_token_for_the_input_and_one_for_each_text(tmp_path: Path) -> None:
    assert answered(costs(tmp_path), SAID) == {"input": 1, "output": 2}


def test_it_pays_no_more_output_than_was_reserved(tmp_path: Path) -> None:
    made = costs(tmp_path, tokenizer="t")
    call = Call("/v1/chat/completions", "chat", None, {}, said=["a b c"], least_input_tokens=4)
    call.admitted = SimpleNamespace(output_tokens=2)  # type: ignore[assignment]
    usage, _ = made.charge(call, "chat-model", load_price_book(tmp_path / "prices.yaml").prices[0].valid_from, None)
    assert {unit.value: count for unit, count in usage.counts.items()} == {"input": 4, "output": 2}


def test_an_answer_that_failed_pays_nothing(tmp_path: Path) -> None:
    assert answered(costs(tmp_path, tokenizer="t"), {"error": {}}, 500) == {}
