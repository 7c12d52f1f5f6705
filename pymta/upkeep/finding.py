"""finding: one thing that a check found, with the reason, the remedy, and perhaps the repair."""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

FAULT, WARNING, NOTE = "fault", "warning", "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """path: what it is about; grade: FAULT (mail or its flags are not seen as they should be), WARNING (will be trouble), NOTE (all is
    well, good to know); mend: puts it right, losing nothing; None where only the admin can."""

    path: bytes
    why: str
    remedy: str = ""
    grade: str = FAULT
    line: int = 0
    mend: Callable[[], None] | None = field(default=None, compare=False)

    @property
    def where(self) -> str:
        return printable(os.fsdecode(self.path)) + (f":{self.line}" if self.line else "")

    def __str__(self) -> str:
        grade = "" if self.grade == FAULT else f"{self.grade}: "
        return f"{self.where}: {grade}{self.why}" + (f"; {self.remedy}" if self.remedy else "")


def printable(text: str) -> str:
    """Text from a disk as a terminal may have it."""
    return "".join(char if char.isprintable() else "?" for char in text)
