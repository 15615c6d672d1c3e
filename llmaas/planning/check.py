"""Whether the placement that a stack file asks for holds; needs no solver, so a preview can afford it."""

from llmaas.planning.fleet import Fault, faults
from llmaas.planning.needs import question_of
from llmaas.settings import Platform, Problem


def placement_faults(platform: Platform) -> list[Problem]:
    """What is wrong with the placement in force; empty when it holds, with any one host lost.

    A model that fits on no host at all has its own problem; the others are checked nevertheless.
    """
    question = question_of(platform)
    needs = [wanted.need for wanted in question.wanted if wanted.sizings]
    found = faults(question.rooms, needs, question.in_force)
    return [*question.problems, *(_problem(platform, fault) for fault in found)]


def _problem(platform: Platform, fault: Fault) -> Problem:
    remedy = f"`llmaas plan -e {platform.environment}` finds a placement that holds, or says why there is none"
    if fault.need is None:
        index = next(index for index, host in enumerate(platform.hosts) if host.name == fault.room)
        return Problem(f"llmaas:hosts[{index}].gpus", f"{fault}; {remedy}")
    index = next(index for index, model in enumerate(platform.models) if model.name == fault.need)
    return Problem(f"llmaas:models[{index}].placement", f"{fault}; {remedy}")
