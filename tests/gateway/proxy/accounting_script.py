"""Run by the image's Python with LiteLLM's packages: what of LiteLLM's accounting is left out, as its own code sees it.

Prints the calls counted of a deployment with a limit and of one without, and the savings in a day's row of a key.
"""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from litellm.proxy.db.db_spend_update_writer import DBSpendUpdateWriter
from litellm.router import Router
from llmaas_gateway.proxy import accounting

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
# LiteLLM's public price list has this one, with a lower price for what its cache holds.
MODEL = "gpt-4o"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 900}}


class Client:
    """LiteLLM's of its database, as far as a row asks for it."""

    @staticmethod
    def get_request_status(_: Any) -> str:
        return "success"


def deployment(name: str, **limits: int) -> dict[str, Any]:
    params = {"model": "openai/none", "api_key": "none", **limits}
    return {"model_name": name, "litellm_params": params, "model_info": {"id": name}}


async def counted(router: Router, name: str) -> bool:
    key = await router._increment_deployment_usage(  # noqa: SLF001 - the one that is replaced
        deployment_id=name, deployment_name=name, model_group=name, total_tokens=5, rpm_increment=1,
        parent_otel_span=None,
    )  # fmt: skip
    return key is not None


async def savings() -> float:
    payload = {
        "startTime": AT, "endTime": AT, "api_key": "key", "user": "user", "model": MODEL, "model_group": MODEL,
        "custom_llm_provider": "openai", "model_id": None, "prompt_tokens": 1000, "completion_tokens": 10, "spend": 0.1,
        "metadata": json.dumps({"usage_object": USAGE}),
    }  # fmt: skip
    writer = DBSpendUpdateWriter()
    row = await writer._common_add_spend_log_transaction_to_daily_transaction(  # noqa: SLF001 - what estimates savings
        payload, Client(), "user"
    )
    return row["prompt_caching_savings_spend"]


async def main() -> None:
    router = Router(model_list=[deployment("free"), deployment("limited", rpm=10)])
    told = {"savings_before": await savings()}
    accounting.estimate_no_savings()
    accounting.count_limited_deployments_alone()
    told |= {"savings": await savings(), "free": await counted(router, "free")}
    told |= {"limited": await counted(router, "limited")}
    print(json.dumps(told))


asyncio.run(main())
