"""The lab's errors: what failed, and what to do about it."""

from pathlib import Path


class LabError(RuntimeError):
    """A step of the lab failed. ``remedy`` says what to do, ``log`` where to read more."""

    def __init__(self, what: str, *, remedy: str = "", log: Path | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.log = log
