"""Shapes of transformers that no weights can have."""

from collections.abc import Iterator

from llmaas.settings.catalogue import Artefact
from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem


def shapes_are_possible(draft: Draft) -> Iterator[Problem]:
    """KV heads share the attention heads evenly, and the embedding tables are part of the parameters."""
    for item in draft.entries("artefacts", Artefact):
        shape = item.value.architecture if item.sure("architecture") else None
        if shape is None:
            continue
        path = f"{item.path}.architecture"
        if shape.attention_heads % shape.kv_heads:
            heads = shape.attention_heads
            fitting = [str(count) for count in range(1, heads + 1) if heads % count == 0]
            yield Problem(
                f"{path}.kv_heads",
                f"{shape.kv_heads} cannot share {heads} attention heads evenly;"
                f" give num_key_value_heads, one of {', '.join(fitting)}",
            )
        tables = shape.vocabulary * shape.hidden_size * (1 if shape.tied_embeddings else 2)
        if shape.parameters < tables:
            yield Problem(
                f"{path}.parameters",
                f"{shape.parameters} are fewer than its embedding tables alone have ({tables});"
                " give the number of the safetensors header",
            )
