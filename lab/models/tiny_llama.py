"""The tiny Llama behind every model of the lab: real architecture, random weights, 1.1 MB, always the same bytes."""

import json
import random
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lab.models.tokenizer import SPECIAL, tokenizer_document, train

VOCABULARY: Final = 1024
HIDDEN: Final = 128
INTERMEDIATE: Final = 256
LAYERS: Final = 2
HEADS: Final = 4
KEY_VALUE_HEADS: Final = 2
CONTEXT_TOKENS: Final = 2048
_HEAD_SIZE: Final = HIDDEN // HEADS
# Uniform values with a standard deviation of 0.02: made by multiplication alone, so no machine rounds them otherwise.
_SPREAD: Final = 0.0346
_SEED: Final = 20261124
_CORPUS: Final = Path(__file__).with_name("corpus.txt")
_CHAT_TEMPLATE: Final = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def files() -> dict[str, bytes]:
    """All files of the model, by name."""
    vocabulary, merges = train(_CORPUS.read_text(encoding="utf-8"), VOCABULARY)
    begin, end, pad = SPECIAL
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": begin,
        "eos_token": end,
        "pad_token": pad,
        "model_max_length": CONTEXT_TOKENS,
        "chat_template": _CHAT_TEMPLATE,
    }
    return {
        "config.json": _json(_configuration()),
        "generation_config.json": _json({"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}),
        "tokenizer.json": _json(tokenizer_document(vocabulary, merges)),
        "tokenizer_config.json": _json(tokenizer_config),
        "model.safetensors": _safetensors(shapes()),
    }


def shapes() -> dict[str, tuple[int, ...]]:
    """Shape of every weight, under the names of Llama."""
    key_value = KEY_VALUE_HEADS * _HEAD_SIZE
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        found |= {
            f"{prefix}input_layernorm.weight": (HIDDEN,),
            f"{prefix}self_attn.q_proj.weight": (HIDDEN, HIDDEN),
            f"{prefix}self_attn.k_proj.weight": (key_value, HIDDEN),
            f"{prefix}self_attn.v_proj.weight": (key_value, HIDDEN),
            f"{prefix}self_attn.o_proj.weight": (HIDDEN, HIDDEN),
            f"{prefix}post_attention_layernorm.weight": (HIDDEN,),
            f"{prefix}mlp.gate_proj.weight": (INTERMEDIATE, HIDDEN),
            f"{prefix}mlp.up_proj.weight": (INTERMEDIATE, HIDDEN),
            f"{prefix}mlp.down_proj.weight": (HIDDEN, INTERMEDIATE),
        }
    return found | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


def _configuration() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": _HEAD_SIZE,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT_TOKENS,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "use_cache": True,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }


def _safetensors(tensors: Mapping[str, tuple[int, ...]]) -> bytes:
    """Weights in the safetensors format: length of the header, header, values; norms are 1, all else is random."""
    values = random.Random(_SEED)  # noqa: S311 - weights, not keys
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    content = bytearray()
    for name, shape in tensors.items():
        begin = len(content)
        if len(shape) == 1:
            content += _bfloat16(1.0) * shape[0]
        else:
            for _ in range(shape[0] * shape[1]):
                content += _bfloat16((values.random() * 2 - 1) * _SPREAD)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, len(content)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    # values begin at a multiple of eight
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(content)


def _bfloat16(value: float) -> bytes:
    """The upper half of the number as float32."""
    return struct.pack("<f", value)[2:]


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
