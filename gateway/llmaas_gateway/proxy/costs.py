"""What a call can cost at most, and what it did cost: the price book applied to requests and usages."""

from dataclasses import dataclass
from datetime import datetime

from llmaas_gateway.charging import Charge, Usage, charge, most, usage_of
from llmaas_gateway.isolation.requests import Bounds, most_output_tokens, prompts
from llmaas_gateway.prices import PriceBook, Unit
from llmaas_gateway.proxy.call import Call
from llmaas_gateway.proxy.counting import InputCounter, InputTokens
from llmaas_gateway.proxy.settings import GatewaySettings, ServedModel


@dataclass(frozen=True, slots=True)
class Most:
    """The most that a call can take."""

    nano_eur: int
    output_tokens: int


class Costs:
    """Costs of calls by one price book."""

    def __init__(self, settings: GatewaySettings, book: PriceBook, counter: InputCounter) -> None:
        """Takes the models, their prices, and what counts their input."""
        self._settings = settings
        self._book = book
        self._counter = counter

    def bound_output(self, call: Call, model: ServedModel) -> InputTokens:
        """Count the input, and give a request that names no ``max_tokens`` the model's own, where that surely fits."""
        tokens = self._counter.count(model, call.body)
        call.system_tokens = tokens.system
        call.least_input_tokens = tokens.least_a_prompt * prompts(call.body)
        own = model.most_output_tokens
        asked = call.body.get("max_tokens") or call.body.get("max_completion_tokens")
        if call.kind != "embedding" and own and not asked and tokens.most + own <= model.context_tokens:
            call.body["max_tokens"] = own
        return tokens

    def most(self, call: Call, model: ServedModel, at: datetime, factor: str | None) -> Most:
        """The most that a call can cost, by the dearest of the models that may answer it."""
        tokens = self.bound_output(call, model)
        if call.kind == "embedding":
            quote = self._book.quote(model.name, Unit.EMBEDDING, at)
            exact = tokens.most * quote.nano_eur * self._book.factor(factor)
            return Most(-(-exact.numerator // exact.denominator), 0)
        nano_eur, output = 0, 0
        for name in (model.name, *model.fallbacks):
            answering = self._settings.models_by_name[name]
            bounds = Bounds(answering.context_tokens)
            its_output = most_output_tokens(call.body, bounds, tokens.least_a_prompt)
            output = max(output, its_output)
            nano_eur = max(nano_eur, most(self._book, name, at, tokens.most, its_output, factor))
        return Most(nano_eur, output)

    def charge(self, call: Call, model: str, at: datetime, factor: str | None) -> tuple[Usage, Charge]:
        """What a call did cost by the usage that is known of it.

        Raises:
            UsageError: the usage contradicts itself.
        """
        usage = usage_of(call.usage or self._surely(call, model), system_tokens=call.system_tokens)
        if call.kind == "embedding":
            usage = Usage({Unit.EMBEDDING: sum(usage.counts.values())} if usage.counts else {})
        return usage, charge(self._book, model, usage, at, factor)

    def _surely(self, call: Call, model: str) -> dict[str, int]:
        """Of an answer without usage, what it took at least; nothing where no answer came."""
        if call.said is None and not call.pieces:
            return {}
        output = call.pieces + self._counter.at_least(model, call.said or ())
        if call.admitted is not None:
            output = min(output, call.admitted.output_tokens)
        return {"prompt_tokens": call.least_input_tokens, "completion_tokens": output}
