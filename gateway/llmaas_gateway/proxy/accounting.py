"""LiteLLM's own accounting of an answer: when it is done, and what of it is left out because nobody looks at it.

LiteLLM has no hooks and no settings for these; what each of them gains stands in the README of the proxy's image.
"""

from typing import Any, Final

from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.proxy.db import db_spend_update_writer
from litellm.proxy.spend_tracking.savings import SavingsSpend
from litellm.router import Router

from llmaas_gateway.proxy.call import CURRENT
from llmaas_gateway.proxy.precedence import Precedence

_NO_SAVINGS: Final = SavingsSpend(compression=0.0, prompt_caching=0.0)
# Of a deployment, in the tokens and requests of a minute; the last two of tokens in and out.
_LIMITS: Final = ("tpm", "rpm", "itpm", "otpm")


def account_after_calls(precedence: Precedence) -> None:
    """Let LiteLLM account for answers that were given when no call is on its way."""
    original = Logging.async_success_handler

    async def async_success_handler(self: Any, *given: Any, **named: Any) -> None:
        call = CURRENT.get()
        if _hung_up(self) or (call is not None and call.limits_at_litellm):
            await original(self, *given, **named)
        else:
            await precedence.after_calls(lambda: original(self, *given, **named))

    Logging.async_success_handler = async_success_handler


def _hung_up(accounted: Any) -> bool:
    """Whether the client of a stream went away: the request ends only when LiteLLM has accounted for it."""
    return bool((accounted.model_call_details.get("metadata") or {}).get("client_disconnected"))


def estimate_no_savings() -> None:
    """Leave out what LiteLLM thinks that caches and its choice of models saved, in dollars of public price lists."""
    db_spend_update_writer.compute_savings_spend = lambda **_: _NO_SAVINGS


def count_limited_deployments_alone() -> None:
    """Count a deployment's calls of a minute only where it has limits; LiteLLM looks twice a call whether it has."""
    original = Router._increment_deployment_usage  # noqa: SLF001 - there is no other way to it

    async def increment(self: Any, *, deployment_id: str, **named: Any) -> Any:
        if _limited(self.model_list, deployment_id):
            return await original(self, deployment_id=deployment_id, **named)
        return None

    Router._increment_deployment_usage = increment  # noqa: SLF001 - as above


def _limited(deployments: Any, deployment_id: str) -> bool:
    """Whether a deployment has limits of its own, or is not among those that the configuration names."""
    for deployment in deployments:
        model = deployment.get("model_info") or {}
        if model.get("id") == deployment_id:
            places = (deployment, deployment.get("litellm_params") or {}, model)
            return any(place.get(limit) is not None for place in places for limit in _LIMITS)
    return True
