"""What the gateway inside LiteLLM is told of an environment: its models, its tiers, where the price book lies."""

from typing import Any, Final

import yaml

from llmaas.settings import Model, Platform
from llmaas.views import lifecycle
from llmaas.views import topology as t

# Names of environment variables that hold the gateway's secrets and the name of its file.
CONFIGURATION_VARIABLE: Final = "LLMAAS_GATEWAY_CONFIG"
REDIS_URL_VARIABLE: Final = "LLMAAS_REDIS_URL"
CACHE_SALT_VARIABLE: Final = "LLMAAS_CACHE_SALT_SECRET"
AUDIT_KEY_VARIABLE: Final = "LLMAAS_AUDIT_KEY"
# Beside each other in one folder.
CONFIGURATION_FILE: Final = "gateway.yaml"
PRICE_BOOK_FILE: Final = "prices.yaml"


def configuration(platform: Platform) -> str:
    """gateway.yaml: what ``llmaas_gateway.proxy.settings.GatewaySettings`` reads."""
    content: dict[str, Any] = {
        "prices": PRICE_BOOK_FILE,
        "lifecycle": lifecycle.FILE_NAME,
        "replicas": platform.gateway.replicas,
        "answer_seconds": platform.gateway.answer_seconds,
        "silence_seconds": platform.gateway.silence_seconds,
        "shadow": platform.gateway.shadow,
        "models": [_model(model) for model in t.served_models(platform)],
        "tiers": [tier.model_dump(mode="json", exclude_none=True) for tier in platform.tiers],
    }
    if platform.retention is not None:
        content["audit"] = {
            "acts_days": platform.retention.audit.days,
            "requests_days": platform.retention.request_metadata.days,
        }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _model(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "context_tokens": model.context_tokens,
        "capability": "embedding" if model.capabilities == ("embeddings",) else "chat",
    }
