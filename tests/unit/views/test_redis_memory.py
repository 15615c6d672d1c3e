"""Redis has the memory that the declared demand needs, and somebody is told long before it is full."""

import re
from pathlib import Path

import pytest
import yaml
from alert_rules import firing
from llmaas_gateway.ledger.memory import RECORD_BYTES, TRACE_BYTES

from llmaas.settings import Platform, load_platform
from llmaas.views import data, prometheus, redis_alerts

MIB = 2**20


def allowed_mib(platform: Platform) -> int:
    """As Redis itself will read it."""
    found = re.search(r"^maxmemory (\d+)mb$", data.redis_configuration(platform, "/certificate"), re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_the_declared_peak_fits_with_postgresql_away_for_an_hour(environment: str) -> None:
    platform = load_platform(environment)
    peak = sum(demand.tenants * demand.requests_per_minute * demand.peak_factor for demand in platform.demand)
    traces, records = peak * 120 * TRACE_BYTES, peak * 60 * RECORD_BYTES
    assert traces + records <= 0.8 * allowed_mib(platform) * MIB


def test_a_small_environment_has_a_small_redis_and_production_one_for_its_demand() -> None:
    lab, production = load_platform("lab"), load_platform("production")
    assert (allowed_mib(lab), data.redis_needed_mib(lab) < 64) == (256, True)
    assert 1024 < data.redis_needed_mib(production) < allowed_mib(production) < 4096
    assert allowed_mib(production.model_copy(update={"demand": ()})) == 256


def series(used: str, limit: str = "100x60", replica: str = "a") -> dict[str, str]:
    labels = f'{{job="gateway", instance="{replica}"}}'
    return {f"llmaas_gateway_redis_used_bytes{labels}": used, f"llmaas_gateway_redis_limit_bytes{labels}": limit}


@pytest.mark.parametrize(
    ("told", "name", "fires"),
    [
        (series("49x60"), "RedisFilling", False),
        (series("51x60"), "RedisFilling", True),
        (series("51x60") | series("49x60", replica="b"), "RedisFilling", True),
        (series("79x60"), "RedisNearlyFull", False),
        (series("81x60"), "RedisNearlyFull", True),
        (series("10x60"), "RedisUnwatched", False),
        (series("10x60") | {'up{job="gateway", instance="b"}': "1x60"}, "RedisUnwatched", False),
        ({'up{job="gateway", instance="a"}': "1x60"}, "RedisUnwatched", True),
    ],
)
def test_a_redis_that_fills_or_that_nobody_reads_is_told(
    tmp_path: Path, *, told: dict[str, str], name: str, fires: bool
) -> None:
    assert bool(firing(tmp_path, redis_alerts.group(), told, name)) == fires


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_every_environment_has_these_alerts(environment: str) -> None:
    groups = yaml.safe_load(prometheus.rules(load_platform(environment), {}))["groups"]
    assert redis_alerts.group() in groups
