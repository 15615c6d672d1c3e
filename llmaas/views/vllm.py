"""What a model server is started with."""

from typing import Final

from llmaas.settings import Model, Platform
from llmaas.views import topology as t
from llmaas.views.haproxy import DRAIN_SECONDS

WEIGHTS_ROOT: Final = "/models"

# The lab's weights are tiny and its servers share two cores: no compilation, one process, a small cache.
_SIMULATED: Final = (
    "--enforce-eager",
    "--kv-cache-memory-bytes=33554432",
    "--max-num-seqs=32",
    "--distributed-executor-backend=uni",
)


def takes_priority(model: Model) -> bool:
    """Whether its servers go by the priority that the gateway sends with a call; it sends none with embeddings.

    Of the calls that wait for a place, the one with the lowest number begins first. Where the KV cache is full, a call
    that runs with a higher number makes room and is computed anew later.
    """
    return not model.only_embeds


def arguments(platform: Platform, model: Model, host: str) -> tuple[str, ...]:
    """Arguments of vLLM for ``model`` on the host called ``host``."""
    gpus = platform.host(host).gpus
    if gpus is None:
        raise ValueError(f"llmaas:models: {model.name} is placed on {host}, which has no GPUs")
    by_device = (
        _SIMULATED
        if gpus.kind == "simulated"
        else (f"--tensor-parallel-size={model.gpus_per_replica}", f"--gpu-memory-utilization={gpus.memory_share}")
    )
    return (
        f"--model={WEIGHTS_ROOT}/{model.artefact}",
        f"--served-model-name={model.name}",
        "--host=127.0.0.1",
        f"--port={t.VLLM_LOOPBACK_PORT}",
        f"--max-model-len={model.context_tokens}",
        "--enable-prefix-caching",
        "--enable-force-include-usage",
        # Tokens found in the cache have a price of their own.
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
        # Without it vLLM gives up what it is answering when it is told to stop, and the callers wait for ever.
        f"--shutdown-timeout={DRAIN_SECONDS}",
        *(("--scheduling-policy=priority",) if takes_priority(model) else ()),
        *_parsers(model),
        *by_device,
    )


def _parsers(model: Model) -> tuple[str, ...]:
    """Without a parser vLLM refuses tool calls and mixes reasoning into the answer."""
    tools = ("--enable-auto-tool-choice", f"--tool-call-parser={model.tool_parser}") if model.tool_parser else ()
    reasoning = (f"--reasoning-parser={model.reasoning_parser}",) if model.reasoning_parser else ()
    return (*tools, *reasoning)
