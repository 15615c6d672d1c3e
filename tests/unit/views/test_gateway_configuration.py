"""The gateway's file: what the gateway reads is what the stack file says."""

import pytest
import yaml
from llmaas_gateway.api.services import OWN_ROUTES
from llmaas_gateway.proxy.settings import GatewaySettings

from llmaas.settings import load_platform
from llmaas.views.gateway import configuration
from llmaas.views.haproxy import USAGE_PATHS
from llmaas.views.topology import served_models


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_the_gateway_knows_every_served_model_and_every_tier(environment: str) -> None:
    platform = load_platform(environment)
    settings = GatewaySettings.model_validate(yaml.safe_load(configuration(platform)))
    assert {name: model.context_tokens for name, model in settings.models_by_name.items()} == {
        model.name: model.context_tokens for model in served_models(platform)
    }
    assert [(tier.name, tier.output_tokens_per_hour, tier.monthly_cap_eur) for tier in settings.tiers] == [
        (tier.name, tier.output_tokens_per_hour, tier.monthly_cap_eur) for tier in platform.tiers
    ]
    assert settings.replicas == platform.gateway.replicas


def test_the_edge_lets_tenants_reach_their_own_usage() -> None:
    assert set(USAGE_PATHS) == set(OWN_ROUTES)
