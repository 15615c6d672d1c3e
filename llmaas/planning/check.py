"""Whether the placement that a stack file asks for holds; needs no solver, so a preview can afford it."""

from llmaas.planning.fleet import faults
from llmaas.planning.needs import question_of
from llmaas.settings import Platform


def placement_faults(platform: Platform) -> list[str]:
    """What is wrong with the placement that the stack file asks for; empty when it holds, with any one host lost."""
    question = question_of(platform)
    if question.problems:
        return [str(problem) for problem in question.problems]
    return faults(question.rooms, [wanted.need for wanted in question.wanted], question.in_force)
