"""What is promised and sold: gateway, images, tiers, demand and service levels."""

from typing import Annotated, Final, Literal

from pydantic import Field

from llmaas.settings.types import Address, Count, Day, DomainName, Identifier, ModelName, Name, RelativePath, Section

# Proxies on the way wait a little longer, so that it is the gateway that ends a call and says why.
LONGEST_ANSWER_SECONDS: Final = 570

Rate = Annotated[float, Field(gt=0, le=10_000_000)]


class Gateway(Section):
    """The OpenAI-compatible entrance."""

    replicas: Annotated[int, Field(ge=1, le=100)] = Field(description="gateway replicas, 1 to 100")
    public_host_names: tuple[DomainName, ...] = Field(min_length=1, description="DNS names of the public API")
    administration_host_names: tuple[DomainName, ...] = Field(
        min_length=1, description="DNS names of the administration listener"
    )
    public_addresses: tuple[Address, ...] = Field(
        default=(),
        description="the IPv4 addresses, besides hosts' own, that the site's network leads to a service host",
    )
    requests_per_minute: Count = Field(description="requests per minute that a tenant may send")
    answer_seconds: Annotated[int, Field(ge=1, le=LONGEST_ANSWER_SECONDS)] = Field(
        default=540,
        description=f"the longest that a call waits for its answer to begin, 1 to {LONGEST_ANSWER_SECONDS} seconds",
    )
    shadow: bool = Field(default=False, description="true counts what is over a limit and refuses none of it")
    silence_seconds: Annotated[int, Field(ge=1, le=LONGEST_ANSWER_SECONDS)] = Field(
        default=120, description=f"the longest that a stream may pause, 1 to {LONGEST_ANSWER_SECONDS} seconds"
    )


class Images(Section):
    """Which container images run."""

    lock: RelativePath = Field(description="the lock file of image digests, relative to the stack file")


class Tier(Section):
    """What a tenant bought; amounts in whole euros, tokens are output tokens."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,30}$")] = Field(
        description="the tier's name, such as T1"
    )
    billing: Literal["prepaid", "monthly"] = Field(description="prepaid or monthly")
    priority: Literal["normal", "high"] = Field(description="normal or high")
    requests_per_minute: Count = Field(description="requests per minute of one tenant")
    prepaid_eur: Annotated[int, Field(ge=0, le=10_000_000)] | None = Field(
        default=None, description="the amount paid in advance in whole euros"
    )
    monthly_cap_eur: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        default=None, description="the most a tenant can spend in a month in whole euros; absent means no cap"
    )
    output_tokens_per_hour: Annotated[int, Field(ge=1, le=10**12)] | None = Field(
        default=None, description="output tokens per hour; absent means no limit"
    )
    parallel_requests: Count | None = Field(
        default=None, description="requests of one tenant under way at once; absent means no limit"
    )
    price_factor: Identifier | None = Field(
        default=None, description="a factor of the price book for every call of the tier; absent means full price"
    )
    euros_while_ledger_is_away: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0,
        description="the whole euros that a tenant may spend while its counters cannot be read; 0 refuses its calls",
    )

    @property
    def output_tokens_per_day(self) -> int | None:
        """24 times the hourly allowance."""
        return None if self.output_tokens_per_hour is None else 24 * self.output_tokens_per_hour


class Demand(Section):
    """What tenants ask of one model; the plan must carry ``tenants`` x ``requests_per_minute`` x ``peak_factor``."""

    model: ModelName = Field(description="the name of an entry of llmaas:models")
    tenants: Count = Field(description="how many tenants call it at once")
    requests_per_minute: Rate = Field(description="mean requests per minute of one tenant, above 0")
    input_tokens: Count = Field(description="mean input tokens of a request")
    output_tokens: Count = Field(description="mean output tokens of a request")
    peak_factor: Annotated[float, Field(ge=1, le=100)] = Field(
        default=1.0, description="peak load divided by mean load, 1 to 100"
    )


class ServiceLevels(Section):
    """What a tenant may expect of every stable model."""

    time_to_first_token_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        description="the longest time to the first token in seconds, such as 1.5"
    )
    output_tokens_per_second: Annotated[float, Field(gt=0, le=100_000)] = Field(
        description="the slowest stream in tokens per second, such as 15"
    )
    answer_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        description="the longest mean answer of 8B models in seconds, such as 2.0"
    )
    availability_percent: Annotated[float, Field(ge=50, lt=100)] = Field(
        description="the monthly availability in percent, such as 99.9"
    )


class Measurement(Section):
    """Throughput of one replica measured on this fleet; it takes the place of published figures."""

    artefact: Name = Field(description="the name of an entry of llmaas:artefacts")
    gpu: Name = Field(description="the GPU model it was measured on, as in llmaas:hosts[].gpus.model")
    gpus: Annotated[int, Field(ge=1, le=64)] = Field(description="GPUs of the measured replica")
    concurrency: Count = Field(description="concurrent requests at which it was measured")
    output_tokens_per_second: Rate = Field(description="output tokens per second of the whole replica")
    time_to_first_token_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        description="the time to the first token there, in seconds"
    )
    measured_on: Day = Field(description="the day, as 2026-11-24")
    source: Annotated[str, Field(min_length=1, max_length=300)] = Field(description="how it was measured")
