"""Weights for the lab's artefact store: a tiny model, made on the spot, the same bytes on every machine."""

from lab.models.store import ensure_models

__all__ = ["ensure_models"]
