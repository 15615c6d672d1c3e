"""What the gateway inside LiteLLM is told of an environment: its models, its tiers, where the price book lies."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from llmaas.settings import Model, Platform
from llmaas.views import lifecycle, vllm
from llmaas.views import topology as t

# Names of environment variables that hold the gateway's secrets and the name of its file.
CONFIGURATION_VARIABLE: Final = "LLMAAS_GATEWAY_CONFIG"
REDIS_URL_VARIABLE: Final = "LLMAAS_REDIS_URL"
CACHE_SALT_VARIABLE: Final = "LLMAAS_CACHE_SALT_SECRET"
AUDIT_KEY_VARIABLE: Final = "LLMAAS_AUDIT_KEY"
# Beside each other in one folder.
CONFIGURATION_FILE: Final = "gateway.yaml"
PRICE_BOOK_FILE: Final = "prices.yaml"


def configuration(platform: Platform, tokenizers: Mapping[str, str]) -> str:
    """gateway.yaml: what ``llmaas_gateway.proxy.settings.GatewaySettings`` reads.

    ``tokenizers`` holds the SHA-256 of ``tokenizer.json`` by artefact; models of other artefacts are counted by bytes.
    """
    content: dict[str, Any] = {
        "prices": PRICE_BOOK_FILE,
        "lifecycle": lifecycle.FILE_NAME,
        "replicas": platform.gateway.replicas,
        "answer_seconds": platform.gateway.answer_seconds,
        "silence_seconds": platform.gateway.silence_seconds,
        "shadow": platform.gateway.shadow,
        "models": [_model(model, tokenizers.get(model.artefact)) for model in t.served_models(platform)],
        "tiers": [tier.model_dump(mode="json", exclude_none=True) for tier in platform.tiers],
    }
    if platform.retention is not None:
        content["audit"] = {
            "acts_days": platform.retention.audit.days,
            "requests_days": platform.retention.request_metadata.days,
        }
        content["accounts"] = {
            "days": platform.retention.accounts.days,
            "financial_year_ends": platform.retention.accounts.financial_year_ends,
        }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _model(model: Model, tokenizer_sha256: str | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": model.name,
        "context_tokens": model.context_tokens,
        "capability": "embedding" if model.only_embeds else "chat",
        "takes_priority": vllm.takes_priority(model),
    }
    if model.most_output_tokens is not None:
        content["most_output_tokens"] = model.most_output_tokens
    if tokenizer_sha256 is not None:
        content["tokenizer"] = f"{t.TOKENIZERS_ROOT}/{model.artefact}/{t.TOKENIZER_FILE}"
        # Another file is another configuration, so the pods are rolled; and one that differs is not counted with.
        content["tokenizer_sha256"] = tokenizer_sha256
    return content
