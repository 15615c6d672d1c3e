"""How many requests a second a replica carries: from published figures, cautiously, or from our own measurement."""

from dataclasses import dataclass
from typing import Final

from llmaas.planning.memory import ReplicaMemory, weight_bytes
from llmaas.settings import Architecture, Demand, Measurement, ServiceLevels


@dataclass(frozen=True)
class Figure:
    """One published operating point of a whole unit of GPUs; rates per second, times in seconds."""

    gpu: str
    gpus: int
    weight_bytes: float
    output_tokens_per_second: float
    input_tokens: float
    output_tokens: float
    time_to_first_token: float
    stream_tokens_per_second: float
    # whether the times are bounds that the benchmark allowed (a stricter promise then costs throughput), or measured
    bound: bool
    source: str


_MLPERF: Final = "MLPerf Inference v5.1, Llama-3.1-8B FP8, vLLM 0.10.0, server: TTFT 2 s, 100 ms a token, CNN/DailyMail"
_OCI: Final = (
    "Oracle Cloud benchmark, meta-llama-3-3-70b-instruct, 480 in, 300 out; GPUs of the unit not said: counted as 8"
)
FIGURES: Final = (
    Figure("h100-80g", 1, 8.0e9, 5103, 778, 73, 2.0, 10, bound=True, source=_MLPERF),
    Figure("l40s-48g", 1, 8.0e9, 1207, 778, 73, 2.0, 10, bound=True, source=_MLPERF),
    Figure("h100-80g", 8, 141.1e9, 16 * 50.9, 480, 300, 0.09, 50.9, bound=False, source=f"{_OCI}, 16 at once"),
    Figure("h100-80g", 8, 141.1e9, 64 * 35.7, 480, 300, 0.40, 35.7, bound=False, source=f"{_OCI}, 64 at once"),
    Figure("h100-80g", 8, 141.1e9, 8.49 * 300, 480, 300, 1.29, 25.6, bound=False, source=f"{_OCI}, 128 at once"),
    Figure("h100-80g", 8, 141.1e9, 256 * 15.3, 480, 300, 4.09, 15.3, bound=False, source=f"{_OCI}, 256 at once"),
)
# what one input token costs, in output tokens; published figures give no single value, so the worse end counts
INPUT_COST: Final = (0.02, 0.25)
# a benchmark's bound says nothing about a promise that is much stricter
STRICTEST: Final = 0.5


@dataclass(frozen=True)
class Rate:
    """What one replica carries of a declared profile, and where that is known from."""

    requests_per_second: float
    time_to_first_token: float
    stream_tokens_per_second: float
    limit: str
    source: str


@dataclass(frozen=True)
class NoRate:
    """Why no rate can be given."""

    reason: str


@dataclass(frozen=True)
class Replica:
    """A model over some GPUs of one kind."""

    shape: Architecture
    gpus: int
    gpu: str
    memory: ReplicaMemory


def replica_rate(
    replica: Replica, demand: Demand, levels: ServiceLevels, measured: Measurement | None
) -> Rate | NoRate:
    """Requests per second of one replica within the service levels, limited by throughput or by the KV cache."""
    found = _measured(measured, demand, levels) if measured is not None else _published(replica, demand, levels)
    if isinstance(found, NoRate):
        return found
    # Little's law: requests a second = requests at once / seconds that each stays
    seconds = found.time_to_first_token + demand.output_tokens / found.stream_tokens_per_second
    by_memory = replica.memory.requests_at(demand.input_tokens + demand.output_tokens) / seconds
    if by_memory < found.requests_per_second:
        return Rate(by_memory, found.time_to_first_token, found.stream_tokens_per_second, "KV cache", found.source)
    return found


def _measured(measured: Measurement, demand: Demand, levels: ServiceLevels) -> Rate | NoRate:
    stream = measured.output_tokens_per_second / measured.concurrency
    if measured.time_to_first_token_seconds > levels.time_to_first_token_seconds:
        return NoRate(
            f"the measurement of {measured.measured_on} has a time to first token of"
            f" {measured.time_to_first_token_seconds} s, promised are {levels.time_to_first_token_seconds} s;"
            " measure at a lower concurrency"
        )
    if stream < levels.output_tokens_per_second:
        return NoRate(
            f"the measurement of {measured.measured_on} streams {stream:.1f} tokens/s, promised are"
            f" {levels.output_tokens_per_second:g}; measure at a lower concurrency"
        )
    rate = measured.output_tokens_per_second / demand.output_tokens
    source = f"measured {measured.measured_on}: {measured.source}"
    return Rate(rate, measured.time_to_first_token_seconds, stream, "throughput", source)


def _published(replica: Replica, demand: Demand, levels: ServiceLevels) -> Rate | NoRate:
    known = [figure for figure in FIGURES if figure.gpu == replica.gpu]
    if not known:
        names = ", ".join(sorted({figure.gpu for figure in FIGURES}))
        return NoRate(
            f"no throughput is published for {replica.gpu} (known: {names});"
            " measure one replica and add it to llmaas:measurements"
        )
    own = float(weight_bytes(replica.shape))
    # the class is the largest published model that is no larger than ours, else the smallest one published
    smaller = [figure.weight_bytes for figure in known if figure.weight_bytes <= own]
    size = max(smaller) if smaller else min(figure.weight_bytes for figure in known)
    alike = [figure for figure in known if figure.weight_bytes == size]
    rates = [rate for figure in alike if (rate := _at(figure, replica, demand, levels)) is not None]
    if not rates:
        return NoRate(
            f"no figure for {replica.gpu} shows {levels.time_to_first_token_seconds:g} s to the first token and"
            f" {levels.output_tokens_per_second:g} tokens/s with {demand.input_tokens} tokens in;"
            " relax llmaas:service_levels, or measure one replica and add it to llmaas:measurements"
        )
    return max(rates, key=lambda rate: rate.requests_per_second)


def _at(figure: Figure, replica: Replica, demand: Demand, levels: ServiceLevels) -> Rate | None:
    """The figure applied to another model, profile and number of GPUs; None when it breaks the service levels."""
    own = float(weight_bytes(replica.shape))
    # a larger model is slower in proportion to its bytes; a smaller one is not credited with more speed
    size = min(1.0, figure.weight_bytes / own)
    # a longer prompt takes longer to its first token in proportion; a shorter one is not credited
    longer = max(1.0, demand.input_tokens / figure.input_tokens)
    first, stream = figure.time_to_first_token, figure.stream_tokens_per_second
    strictness = 1.0
    if figure.bound:
        strictness = min(
            1.0, levels.time_to_first_token_seconds / (first * longer), stream / levels.output_tokens_per_second
        )
        if strictness < STRICTEST:
            return None
        first = min(first, levels.time_to_first_token_seconds)
        stream = max(stream, levels.output_tokens_per_second)
    elif first * longer / size > levels.time_to_first_token_seconds or stream * size < levels.output_tokens_per_second:
        return None
    else:
        first, stream = first * longer / size, stream * size
    unit = figure.output_tokens_per_second * size * strictness * replica.gpus / figure.gpus
    rate = min(
        unit / figure.output_tokens * (figure.output_tokens + cost * figure.input_tokens)
        / (demand.output_tokens + cost * demand.input_tokens)
        for cost in INPUT_COST
    )  # fmt: skip
    return Rate(rate, first, stream, "throughput", figure.source)


def measurement_for(measurements: tuple[Measurement, ...], artefact: str, gpu: str, gpus: int) -> Measurement | None:
    """The newest measurement of that replica; where two are of one day the faster one within its levels stands."""
    fitting = [m for m in measurements if (m.artefact, m.gpu, m.gpus) == (artefact, gpu, gpus)]
    return max(fitting, key=lambda m: (m.measured_on, m.output_tokens_per_second), default=None)
