"""A model's shape from its own files: ``config.json`` and, when the weights are there, the safetensors headers."""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, Final

from llmaas.settings import Architecture

# how safetensors names its types
_TYPES: Final = {"F32": "fp32", "BF16": "bf16", "F16": "fp16", "F8_E4M3": "fp8", "F8_E5M2": "fp8", "I8": "int8"}
_NEEDED: Final = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")
_OPTIONAL: Final = ("num_key_value_heads", "head_dim", "intermediate_size", "max_position_embeddings",
                    "num_local_experts", "num_experts")  # fmt: skip
# latent attention and state-space layers keep something else than keys and values of every head
_OTHER_CACHES: Final = ("kv_lora_rank", "mamba_n_heads", "mamba_num_heads", "ssm_cfg")
_CONFIG_TYPES: Final = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


class ShapeError(ValueError):
    """The files do not say what a plan needs to know."""


def architecture_of(config: Mapping[str, Any], tensors: Iterable[tuple[str, tuple[int, ...]]] = ()) -> Architecture:
    """The shape that ``config.json`` gives; ``tensors`` are (type, shape) of every weight, for the exact count."""
    listed = list(tensors)
    config = _text_part(config, weights_are_there=bool(listed))
    _check(config)
    heads = int(config["num_attention_heads"])
    sizes: dict[str, int] = {}
    for kind, shape in listed:
        sizes[kind] = sizes.get(kind, 0) + prod(shape)
    quantisation = config.get("quantization_config")
    if quantisation is not None and not listed:
        raise ShapeError("config.json says that the weights are quantised; give the safetensors files as well")
    largest = max(sizes, key=lambda kind: sizes[kind]) if sizes else None
    if largest is not None and largest not in _TYPES:
        raise ShapeError(f"weights of type {largest} are not known; known are {', '.join(_TYPES)}")
    stated = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    return Architecture.model_validate(
        {
            "parameters": sum(sizes.values()) or parameters_of(config),
            "layers": config["num_hidden_layers"],
            "hidden_size": config["hidden_size"],
            "attention_heads": heads,
            "kv_heads": config.get("num_key_value_heads") or heads,
            "head_size": config.get("head_dim") or config["hidden_size"] // heads,
            "vocabulary": config["vocab_size"],
            "tied_embeddings": bool(config.get("tie_word_embeddings", False)),
            "max_context_tokens": config.get("max_position_embeddings", 2048),
            "experts": config.get("num_local_experts") or config.get("num_experts") or 1,
            "weight_type": _TYPES[largest] if largest is not None else _CONFIG_TYPES.get(stated, "bf16"),
        }
    )


def _text_part(config: Mapping[str, Any], *, weights_are_there: bool) -> Mapping[str, Any]:
    """The language model of a model that also sees or hears; its other weights are in the safetensors files only."""
    if not isinstance(config, Mapping):
        raise ShapeError("config.json is no mapping; give the one that lies beside the weights")
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        return config
    if not weights_are_there:
        raise ShapeError("config.json has more parts than text_config; give the safetensors files as well")
    return {**config, **inner}


def _check(config: Mapping[str, Any]) -> None:
    missing = [key for key in _NEEDED if key not in config]
    if missing:
        raise ShapeError(f"config.json has no {', '.join(missing)}; only decoder-only transformers can be planned")
    wrong = [
        f"{key} is {config[key]!r}"
        for key in (*_NEEDED, *_OPTIONAL)
        if config.get(key) is not None and (type(config[key]) is not int or config[key] < 1)
    ]
    if wrong:
        raise ShapeError(f"config.json: {', '.join(wrong)}; each is a whole number of 1 or more")
    strange = [key for key in _OTHER_CACHES if config.get(key) is not None]
    if strange:
        raise ShapeError(
            f"config.json has {', '.join(strange)}: its cache is no plain KV cache, whose size these formulas give;"
            " measure the KV tokens of one replica before you plan it"
        )


def parameters_of(config: Mapping[str, Any]) -> int:
    """Parameters of a Llama, Mistral, Mixtral, Granite, Qwen2 or Qwen3, counted tensor by tensor."""
    hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
    if "intermediate_size" not in config:
        raise ShapeError("config.json has no intermediate_size; give the safetensors files as well")
    inner, heads = int(config["intermediate_size"]), int(config["num_attention_heads"])
    head = int(config.get("head_dim") or hidden // heads)
    query, keys = heads * head, int(config.get("num_key_value_heads") or heads) * head
    family = str(config.get("model_type", "llama"))
    attention = hidden * query + 2 * hidden * keys + query * hidden
    if family == "qwen2":
        attention += query + 2 * keys
    if family == "qwen3":
        attention += 2 * head
    experts = int(config.get("num_local_experts") or 1)
    forward = 3 * hidden * inner * experts + (hidden * experts if experts > 1 else 0)
    table = int(config["vocab_size"]) * hidden
    tables = table if config.get("tie_word_embeddings", False) else 2 * table
    return tables + layers * (attention + forward + 2 * hidden) + hidden
