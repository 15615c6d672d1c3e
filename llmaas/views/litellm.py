"""LiteLLM's configuration file: the models of the catalogue behind the pod's own proxy, limits and budgets exact."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from llmaas.settings import Model, Platform
from llmaas.views import topology as t
from llmaas.views.haproxy import SILENT_SECONDS

# Names of environment variables that hold secrets; the file itself holds none.
MASTER_KEY_VARIABLE: Final = "LITELLM_MASTER_KEY"
DATABASE_URL_VARIABLE: Final = "DATABASE_URL"
REDIS_AUTH_VARIABLE: Final = "REDIS_PASSWORD"
SALT_KEY_VARIABLE: Final = "LITELLM_SALT_KEY"
CONFIGURATION_FILE: Final = "config.yaml"


_RETRIES: Final = 3
_NANO: Final = 1_000_000_000
_ANY_LENGTH: Final = 1_000_000_000


@dataclass(frozen=True)
class TokenPrices:
    """What a token of a model costs now, in nano-euros."""

    input_nano_eur: int
    output_nano_eur: int
    reasoning_nano_eur: int


def configuration(platform: Platform, ca_file: str, prices: Mapping[str, TokenPrices]) -> str:
    """config.yaml for LiteLLM.

    Args:
        platform: the environment.
        ca_file: the root that Redis' certificate is checked against.
        prices: by name of model.
    """
    redis = _redis(ca_file)
    content = {
        "model_list": [_model(platform, model, prices[model.name]) for model in t.served_models(platform)],
        "router_settings": {
            **{f"redis_{key}": redis[key] for key in ("host", "port", "password")},
            "cache_kwargs": {key: value for key, value in redis.items() if key.startswith("ssl")},
            # A call in flight on a server that dies fails; the proxy beside us sends the next try to another one.
            "num_retries": _RETRIES,
            "retry_after": 0,
            "retry_policy": {
                "BadRequestErrorRetries": 0,
                "AuthenticationErrorRetries": 0,
                "ContentPolicyViolationErrorRetries": 0,
                "RateLimitErrorRetries": 0,
                "TimeoutErrorRetries": 0,
                "InternalServerErrorRetries": _RETRIES,
            },
            # There is one way out for each model: shutting it for a while would shut the model.
            "disable_cooldowns": True,
            # The gateway's own limits come first, and tell the client so.
            "timeout": SILENT_SECONDS,
        },
        "litellm_settings": {
            "num_retries": 0,
            "telemetry": False,
            "turn_off_message_logging": True,
            # Else each call is counted twice more, by the name and the version of the client's program.
            "disable_add_user_agent_to_request_tags": True,
            "drop_params": False,
        },
        "general_settings": {
            "master_key": f"os.environ/{MASTER_KEY_VARIABLE}",
            "database_url": f"os.environ/{DATABASE_URL_VARIABLE}",
            "database_connection_pool_limit": 10,
            # What replicas must know of each other. A cache of answers could carry it as well, and is not there at all:
            # even one that keeps nothing is asked after each call, which costs a seventh of the call.
            "coordination_redis": redis,
            # Spend of calls made while the database is away is kept in Redis.
            "use_redis_transaction_buffer": True,
            # With it, a key that is not cached passes without a budget while the database is away.
            "allow_requests_on_db_unavailable": False,
            "always_include_stream_usage": True,
            "store_model_in_db": False,
            "store_prompts_in_spend_logs": False,
            # The ledger has a record of each call; LiteLLM's sums by team and key go on without its own.
            "disable_spend_logs": True,
            "disable_error_logs": True,
            "proxy_batch_write_at": 2,
            "proxy_budget_rescheduler_min_time": 60,
            "proxy_budget_rescheduler_max_time": 90,
        },
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _redis(ca_file: str) -> dict[str, Any]:
    return {
        "host": t.full_name(t.REDIS_SERVICE, t.DATA),
        "port": t.REDIS_PORT,
        "password": f"os.environ/{REDIS_AUTH_VARIABLE}",
        "ssl": True,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": ca_file,
    }


def _costs(prices: TokenPrices) -> dict[str, float]:
    """LiteLLM counts in a currency without a name; here it is the euro."""
    return {
        "input_cost_per_token": prices.input_nano_eur / _NANO,
        "output_cost_per_token": prices.output_nano_eur / _NANO,
        "output_cost_per_reasoning_token": prices.reasoning_nano_eur / _NANO,
    }


def _model(platform: Platform, model: Model, prices: TokenPrices) -> dict[str, Any]:
    return {
        "model_name": model.name,
        "litellm_params": {
            "model": f"hosted_vllm/{model.name}",
            "api_base": f"http://127.0.0.1:{t.loopback_port(platform, model)}/v1",
            # vLLM knows its caller by the proxy's certificate.
            "api_key": "none",
        },
        "model_info": {
            # Without an id of its own, each start of each replica makes up a new one.
            "id": model.slug,
            "mode": "embedding" if model.only_embeds else "chat",
            "max_input_tokens": model.context_tokens,
            # Without it, a call that names no max_tokens is reserved 16,384 and refused as over budget.
            "max_output_tokens": model.context_tokens,
            **_costs(prices),
            # Budgets are reserved at the price of reasoning tokens only if the price stands in a table.
            "tiered_pricing": [{"range": [0, _ANY_LENGTH], **_costs(prices)}],
        },
    }
