"""room: how much a user's mailboxes hold, and whether more may come.                              RFC 9208, pymta-maildir(5)

All mailboxes of a user share one quota.  What is held stands in maildirsize (formats/maildirsize).
"""
from __future__ import annotations

from dataclasses import dataclass

from pymta.formats import maildirsize


class OverQuota(Exception):
    """There is no room for what is to be stored.  IMAP: NO [OVERQUOTA]."""


@dataclass(frozen=True, slots=True)
class Quota:
    """octets, messages: what is held; limit_octets: what may be held."""

    octets: int
    messages: int
    limit_octets: int


def quota(maildir: str, limit_octets: int) -> Quota | None:
    """None where any amount may be held.  Raises OSError."""
    if not limit_octets:
        return None
    held = maildirsize.held(maildir, limit_octets)
    return Quota(held.octets, held.count, limit_octets)


def need_room(maildir: str, limit_octets: int, octets: int) -> None:
    """Raises OverQuota where octets more do not fit, OSError."""
    if limit_octets and maildirsize.room(maildir, limit_octets, octets) < octets:
        raise OverQuota(f"{octets} octets do not fit")
