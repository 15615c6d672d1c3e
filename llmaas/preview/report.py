"""A preview without a cluster: every verdict of an environment, put together."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from llmaas.materials import MaterialError, read_prices
from llmaas.preview.placeholders import images_of, placeholder_materials
from llmaas.preview.policies import policy_verdict, secrets_verdict
from llmaas.preview.recorder import Declared, record
from llmaas.preview.verdicts import Verdict, stack_verdicts
from llmaas.settings import Platform
from llmaas.settings.recorded import manifest_file
from llmaas.views.hardening import ending
from llmaas.views.litellm import TokenPrices
from llmaas.views.topology import served_artefacts, served_models


@dataclass(frozen=True)
class Report:
    """All verdicts on one environment at one moment."""

    environment: str
    moment: datetime
    verdicts: tuple[Verdict, ...]
    # number of resources by kind; empty when nothing could be declared
    resources: Mapping[str, int]
    notes: tuple[str, ...]
    # what is not refused yet and will be within a month
    warnings: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing is refused."""
        return all(verdict.holds for verdict in self.verdicts)

    def as_data(self) -> dict[str, Any]:
        """Plain data, for programs."""
        return {
            "environment": self.environment,
            "moment": self.moment.isoformat(),
            "holds": self.holds,
            "verdicts": [{"holds": verdict.holds, **asdict(verdict)} for verdict in self.verdicts],
            "resources": dict(self.resources),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


def declare(platform: Platform, images: Mapping[str, str], moment: datetime) -> list[Declared]:
    """What the program declares of a placed platform with these images, at the prices of ``moment``."""
    try:
        prices: Mapping[str, TokenPrices] = read_prices(platform, moment)
    except MaterialError:
        # the verdict on prices refuses already; the policies are judged all the same
        prices = {model.name: TokenPrices(1, 1, 1) for model in served_models(platform)}
    materials = placeholder_materials(platform, images, prices)

    def program() -> None:
        from llmaas.deployment import deploy  # noqa: PLC0415 - Pulumi's mocks must be in place before resources are

        deploy(platform, materials)

    return record(program, platform.environment)


def preview(
    platform: Platform,
    moment: datetime,
    declared_of: Callable[[Platform, Mapping[str, str], datetime], list[Declared]] = declare,
) -> Report:
    """Judge plan, promises, prices, hardening and, on what the program declares, policies and secrets; writes nothing.

    ``declared_of`` says what is declared; a trial changes it.

    Raises:
        MaterialError: the environment's image lock or a manifest of weights is there and wrong.
    """
    verdicts, placed = stack_verdicts(platform, moment)
    warnings = tuple(str(problem) for problem in ending(platform, moment.astimezone(UTC).date()))
    notes = ["secrets and certificates are placeholders; the real ones are neither read nor made"]
    counts: dict[str, int] = {}
    if placed is None:
        notes.append("policies are not judged: without a placement there is nothing to declare")
        return Report(platform.environment, moment, verdicts, counts, tuple(notes), warnings)
    images, source = images_of(placed)
    notes.append(f"images are those of {source}")
    if missing := [name for name in served_artefacts(placed) if not manifest_file(placed, name).is_file()]:
        notes.append(f"no manifest yet, so the gateway has no tokenizer: {', '.join(missing)}")
    declared = declared_of(placed, images, moment)
    verdicts = (*verdicts, policy_verdict(placed, declared, moment.date()), secrets_verdict(declared))
    for each in declared:
        counts[each.kind] = counts.get(each.kind, 0) + 1
    return Report(platform.environment, moment, verdicts, dict(sorted(counts.items())), tuple(notes), warnings)
