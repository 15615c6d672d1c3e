"""What is said of a model's life on a day: additions to ``/v1/models``, headers for calls to a model that ends."""

from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class LifecycleError(ValueError):
    """The lifecycle file cannot be used; the text says what is wrong with it."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelLife(_Strict):
    """One model as the API shows it.

    Attributes:
        lifecycle: phase, dates and replacement, as ``/v1/models`` shows them.
        context_tokens: prompt and answer together.
        capabilities: what it can be asked for.
        licence: of the weights.
        headers: ``Deprecation``, ``Sunset`` and ``Link`` of every call to it; empty unless it ends.
    """

    lifecycle: dict[str, Any]
    context_tokens: int = Field(ge=1)
    capabilities: tuple[str, ...]
    licence: str
    headers: dict[str, str]

    def listed(self) -> dict[str, Any]:
        """What is added to its entry in ``/v1/models``."""
        return self.model_dump(mode="json", exclude={"headers"})


class _Period(_Strict):
    begins: date = Field(alias="from")
    models: dict[str, ModelLife]


class Lifecycle(_Strict):
    """All periods, in order; each holds from midnight UTC of its day until the next one begins."""

    periods: tuple[_Period, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> "Lifecycle":
        days = [period.begins for period in self.periods]
        if days != sorted(set(days)):
            raise ValueError("periods must follow each other, each from a later day")
        return self

    def at(self, moment: datetime) -> Mapping[str, ModelLife]:
        """Every model that is served at ``moment``, by name.

        Raises:
            ValueError: ``moment`` has no time zone.
        """
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no time zone")
        day = moment.astimezone(UTC).date()
        place = bisect_right([period.begins for period in self.periods], day)
        return self.periods[place - 1].models if place else {}


def read_lifecycle(path: Path) -> Lifecycle:
    """The file that the platform renders for its gateway.

    Raises:
        LifecycleError: it is missing, cut off or not of this form.
    """
    try:
        return Lifecycle.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise LifecycleError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise LifecycleError(f"{path}: {told}") from None
