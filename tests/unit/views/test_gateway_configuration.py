"""The gateway's file: what the gateway reads is what the stack file says."""

import re

import pytest
import yaml
from llmaas_gateway.api.services import OWN_ROUTES
from llmaas_gateway.proxy.settings import GatewaySettings

from llmaas.settings import load_platform
from llmaas.settings.service import LONGEST_ANSWER_SECONDS
from llmaas.views import litellm, vllm
from llmaas.views.gateway import configuration
from llmaas.views.haproxy import USAGE_PATHS, edge_configuration, gateway_configuration, serving_configuration
from llmaas.views.litellm import TokenPrices
from llmaas.views.topology import served_models

# Of one artefact in each environment.
TOKENIZERS = {"tiny-llama": "a" * 64, "llama-3.2-3b-instruct": "b" * 64}


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_the_gateway_knows_every_served_model_and_every_tier(environment: str) -> None:
    platform = load_platform(environment)
    settings = GatewaySettings.model_validate(yaml.safe_load(configuration(platform, TOKENIZERS)))
    assert {name: model.context_tokens for name, model in settings.models_by_name.items()} == {
        model.name: model.context_tokens for model in served_models(platform)
    }
    assert [(tier.name, tier.output_tokens_per_hour, tier.monthly_cap_eur) for tier in settings.tiers] == [
        (tier.name, tier.output_tokens_per_hour, tier.monthly_cap_eur) for tier in platform.tiers
    ]
    assert settings.replicas == platform.gateway.replicas


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_the_gateway_bounds_the_output_of_calls_as_the_stack_file_says(environment: str) -> None:
    platform = load_platform(environment)
    settings = GatewaySettings.model_validate(yaml.safe_load(configuration(platform, TOKENIZERS)))
    assert {model.name: model.most_output_tokens for model in settings.models} == {
        model.name: 4096 if environment == "production" else None for model in served_models(platform)
    }


@pytest.mark.parametrize(
    ("environment", "counted"),
    [("lab", {"granite3.3:8b", "llama3.2:3b", "llama3.1:70b"}), ("production", {"llama3.2:3b"})],
)
def test_models_are_counted_with_the_tokenizer_of_their_artefact_where_it_has_one(
    environment: str, counted: set[str]
) -> None:
    platform = load_platform(environment)
    settings = GatewaySettings.model_validate(yaml.safe_load(configuration(platform, TOKENIZERS)))
    assert {model.name for model in settings.models if model.tokenizer} == counted
    for model in settings.models:
        artefact = next(each.artefact for each in platform.models if each.name == model.name)
        if model.tokenizer is not None:
            assert str(model.tokenizer) == f"/var/lib/llmaas/volumes/tokenizers/{artefact}/tokenizer.json"
        assert model.tokenizer_sha256 == TOKENIZERS.get(artefact)


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_calls_take_a_priority_along_just_where_vllm_goes_by_it(environment: str) -> None:
    declared = load_platform(environment)
    first = declared.models[0].model_copy(update={"capabilities": ("embeddings",)})
    platform = declared.model_copy(update={"models": (first, *declared.models[1:])})
    settings = GatewaySettings.model_validate(yaml.safe_load(configuration(platform, TOKENIZERS)))
    host = next(host.name for host in platform.hosts if host.gpus is not None)
    scheduled = {
        model.name
        for model in served_models(platform)
        if "--scheduling-policy=priority" in vllm.arguments(platform, model, host)
    }
    assert {model.name for model in settings.models if model.takes_priority} == scheduled
    assert scheduled == {model.name for model in served_models(platform)} - {first.name}


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_who_pays_by_the_month_comes_first_in_every_model_s_queue(environment: str) -> None:
    settings = GatewaySettings.model_validate(yaml.safe_load(configuration(load_platform(environment), TOKENIZERS)))
    assert {(tier.billing.value, tier.priority) for tier in settings.tiers} == {
        ("prepaid", "normal"),
        ("monthly", "high"),
    }


def test_another_tokenizer_is_another_configuration() -> None:
    platform = load_platform("lab")
    assert configuration(platform, {"tiny-llama": "a" * 64}) != configuration(platform, {"tiny-llama": "b" * 64})


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_the_gateway_keeps_everything_as_long_as_the_stack_file_declares(environment: str) -> None:
    platform = load_platform(environment)
    declared = platform.retention
    assert declared is not None
    accounts = declared.accounts.model_copy(update={"days": 4000, "financial_year_ends": 6})
    changed = platform.model_copy(update={"retention": declared.model_copy(update={"accounts": accounts})})
    settings = GatewaySettings.model_validate(yaml.safe_load(configuration(changed, TOKENIZERS)))
    assert (settings.accounts.days, settings.accounts.financial_year_ends) == (4000, 6)
    assert settings.audit.acts_days == declared.audit.days
    assert settings.audit.requests_days == declared.request_metadata.days


def test_shadow_mode_is_off_unless_the_stack_file_turns_it_on() -> None:
    platform = load_platform("lab")
    gateway = platform.gateway.model_copy(update={"shadow": True})
    for declared, wanted in ((platform, False), (platform.model_copy(update={"gateway": gateway}), True)):
        assert GatewaySettings.model_validate(yaml.safe_load(configuration(declared, TOKENIZERS))).shadow is wanted


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_the_gateway_ends_a_silent_call_before_any_proxy_on_the_way_or_litellm_does(environment: str) -> None:
    platform = load_platform(environment)
    settings = GatewaySettings.model_validate(yaml.safe_load(configuration(platform, TOKENIZERS)))
    declared = platform.gateway
    assert (settings.answer_seconds, settings.silence_seconds) == (declared.answer_seconds, declared.silence_seconds)
    proxies = [edge_configuration(platform), gateway_configuration(platform), serving_configuration("vllm")]
    limits = [int(seconds) for text in proxies for seconds in re.findall(r"timeout (?:server|client) (\d+)s", text)]
    prices = dict.fromkeys((model.name for model in served_models(platform)), TokenPrices(1, 1, 1))
    router = yaml.safe_load(litellm.configuration(platform, "/ca.crt", prices))["router_settings"]
    assert len(limits) == 6
    # Neither can be declared longer than this, and LiteLLM needs a while to end what it has open.
    assert min(*limits, router["timeout"]) >= LONGEST_ANSWER_SECONDS + 20


def test_the_edge_lets_tenants_reach_their_own_usage() -> None:
    assert set(USAGE_PATHS) == set(OWN_ROUTES)
