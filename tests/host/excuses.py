"""Exceptions that a check used: what it let pass by one is told with its row, so that evidence names it."""

from collections.abc import Callable, Iterable, Mapping

from llmaas.verify.recorder import EXCEPTION

Record = Callable[[str, object], None]


def excuse(found: Iterable[str], exceptions: Mapping[str, object], record_property: Record) -> set[str]:
    """What of ``found`` an exception excuses; each exception that was needed is told."""
    used = {deviation: exceptions[deviation] for deviation in found if deviation in exceptions}
    tell(record_property, used)
    return set(used)


def tell(record_property: Record, used: Mapping[str, object]) -> None:
    """Each exception once, with what it excused; ``used`` is what deviates -> the exception."""
    excused: dict[str, list[str]] = {}
    for deviation, exception in used.items():
        excused.setdefault(str(exception), []).append(deviation)
    for exception, found in excused.items():
        record_property(EXCEPTION, f"{', '.join(found)}: {exception}")
