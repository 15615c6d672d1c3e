"""The gate of the Pulumi program: nothing is declared of an environment that stack_verdicts refuses."""

from datetime import datetime

from llmaas.preview.verdicts import Refusal, stack_verdicts
from llmaas.settings import Platform, load_platform
from llmaas.settings.recorded import write_placement


class RefusedError(Exception):
    """Why an environment is not declared; the text has every reason, each with its path and what would be right."""

    def __init__(self, environment: str, refusals: tuple[Refusal, ...]) -> None:
        """``refusals`` are all of them."""
        self.refusals = refusals
        count = len(refusals)
        head = f"stacks/Pulumi.{environment}.yaml: refused for {count} {'reason' if count == 1 else 'reasons'}"
        super().__init__("\n".join([head, *(f"  {refusal}" for refusal in refusals)]))


def admitted(platform: Platform, stack: str, moment: datetime) -> Platform:
    """The platform with every model placed, when everything that is judged before holds at ``moment``.

    Args:
        platform: as Pulumi's configuration gives it.
        stack: the stack that Pulumi runs; its file must be where the configuration comes from.
        moment: the time that promises, prices and exceptions are judged at.

    Raises:
        RefusedError: something does not hold; all of it in one text.
    """
    verdicts, placed = stack_verdicts(platform, moment)
    found = [*_another_environment(platform, stack), *(refusal for verdict in verdicts for refusal in verdict.refusals)]
    if found or placed is None:
        raise RefusedError(stack, tuple(found))
    return placed


def _another_environment(platform: Platform, stack: str) -> list[Refusal]:
    """Hosts, policies and tests read the stack file; what is configured elsewhere would be judged by the wrong one."""
    if platform.environment != stack:
        text = f"{platform.environment!r} is not the stack {stack!r} that is being deployed; select the right stack"
        return [Refusal("llmaas:environment", text)]
    if platform != load_platform(stack):
        text = f"the configuration is not that of stacks/Pulumi.{stack}.yaml; change the file, not --config"
        return [Refusal("config", text)]
    return []


def record_placement(platform: Platform, placed: Platform) -> None:
    """Keep where the plan put the models that the stack file leaves open, so that the next plan moves the fewest."""
    left_open = {model.name for model in platform.models if model.placed_by_plan}
    if left_open:
        placement = {model.name: model.placement for model in placed.models if model.name in left_open}
        write_placement(platform.environment, placement)
