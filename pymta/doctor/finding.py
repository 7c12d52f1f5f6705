"""finding: one thing that pymta-doctor found, with the reason and the remedy; and what it is asked to look at."""
from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import cached_property

from pymta import layout
from pymta.settings import DEFAULT_ETC, Settings
from pymta.upkeep.finding import FAULT, NOTE, WARNING, printable

__all__ = ["FAULT", "NOTE", "WARNING", "Case", "Finding", "unseen"]
_SYSTEMD = "/run/systemd/system"                        # sd_booted(3)


@dataclass(frozen=True, slots=True)
class Finding:
    """what: the thing; why: what is wrong with it; remedy: what to do; grade: FAULT (mail is lost, late or open to strangers, or will be at
    once), WARNING (will be trouble, or others distrust it), NOTE (good to know, or could not be looked at)."""

    subject: str
    what: str
    why: str
    remedy: str = ""
    grade: str = FAULT

    def __str__(self) -> str:
        return printable(f"{self.grade:8}{self.subject}: {self.what}: {self.why}" + (f"; {self.remedy}" if self.remedy else ""))

    def row(self) -> dict[str, str]:
        return {key: printable(value) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Case:
    """settings: those in force; now: seconds since 1970; outside: the domain whose mail host is to be called, "" for none."""

    settings: Settings
    now: float
    outside: str = ""

    @cached_property
    def spool(self) -> str:
        return os.path.abspath(self.settings["host.spool"])

    @cached_property
    def systemd(self) -> bool:
        """Whether systemd runs the daemons of this very configuration."""
        return os.path.isdir(_SYSTEMD) and os.path.abspath(self.settings.etc) == DEFAULT_ETC

    @cached_property
    def one_owner(self) -> int | None:
        """Where everything belongs to one uid, as a sandbox's does: that; else None, and the accounts of layout.PLACES own it."""
        try:
            owner = os.stat(self.spool).st_uid
        except OSError:
            return None
        import pwd
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = ""
        return None if owner == 0 or name in layout.ACCOUNTS or os.path.abspath(self.settings.etc) == DEFAULT_ETC else owner


def unseen(subject: str, what: str, error: OSError) -> Finding:
    """What could not be looked at."""
    if isinstance(error, PermissionError):
        return Finding(subject, what, "may not be looked at by this user", "run pymta-doctor as root", NOTE)
    return Finding(subject, what, f"cannot be looked at: {error.strerror or error}", "mend it", WARNING)
