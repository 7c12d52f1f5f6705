"""capability: every capability of the IMAP server, once: its RFC, and what it stands on.           RFC 3501 §7.2.1, RFC 5161

A capability is announced only when its tests stand.  Each can be switched off, for all (imap.without), for one account (without= in
users), or for clients that say a certain name in ID (imap.client_without): then it is not announced and its ENABLE is not heard, and
what stands on it goes with it.  Its commands still work: who did not read the list has not misread it either.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Capability:
    """name as it is announced; needs: those without which it makes no sense; enable: the client says ENABLE first;
    early: announced before the login too."""

    name: str
    rfc: str
    needs: tuple[str, ...] = ()
    enable: bool = False
    early: bool = False


BASE = "IMAP4rev1"                                      # cannot be switched off

CAPABILITIES: tuple[Capability, ...] = (
    Capability("IMAP4rev2", "RFC 9051", needs=("ENABLE", "ESEARCH", "SEARCHRES", "BINARY", "LIST-EXTENDED", "STATUS=SIZE"), enable=True, early=True),
    Capability("LITERAL+", "RFC 7888"),
    Capability("LITERAL-", "RFC 7888", early=True),      # one or the other: see announced
    Capability("SASL-IR", "RFC 4959", early=True),
    Capability("ID", "RFC 2971", early=True),
    Capability("ENABLE", "RFC 5161"),
    Capability("IDLE", "RFC 2177"),
    Capability("NAMESPACE", "RFC 2342"),
    Capability("UIDPLUS", "RFC 4315"),
    Capability("UNSELECT", "RFC 3691"),
    Capability("MOVE", "RFC 6851"),
    Capability("CHILDREN", "RFC 3348"),
    Capability("SPECIAL-USE", "RFC 6154"),
    Capability("CREATE-SPECIAL-USE", "RFC 6154", needs=("SPECIAL-USE",)),
    Capability("METADATA", "RFC 5464"),
    Capability("LIST-METADATA", "RFC 9590", needs=("METADATA", "LIST-EXTENDED")),
    Capability("ESEARCH", "RFC 4731"),
    Capability("SEARCHRES", "RFC 5182", needs=("ESEARCH",)),
    Capability("PARTIAL", "RFC 9394", needs=("ESEARCH",)),
    Capability("MULTISEARCH", "RFC 7377", needs=("ESEARCH",)),
    Capability("NOTIFY", "RFC 5465", needs=("LIST-EXTENDED",)),
    Capability("WITHIN", "RFC 5032"),
    Capability("I18NLEVEL=1", "RFC 5255"),
    Capability("INPROGRESS", "RFC 9585"),
    Capability("SEARCH=FUZZY", "RFC 6203"),
    Capability("LIST-EXTENDED", "RFC 5258"),
    Capability("LIST-STATUS", "RFC 5819", needs=("LIST-EXTENDED",)),
    Capability("STATUS=SIZE", "RFC 8438"),
    Capability("CONDSTORE", "RFC 7162", enable=True),
    Capability("QRESYNC", "RFC 7162", needs=("CONDSTORE", "ENABLE"), enable=True),
    Capability("UIDONLY", "RFC 9586", needs=("ENABLE",), enable=True),
    Capability("MULTIAPPEND", "RFC 3502"),
    Capability("CATENATE", "RFC 4469"),
    Capability("URL-PARTIAL", "RFC 5550", needs=("CATENATE",)),
    Capability("REPLACE", "RFC 8508"),
    Capability("BINARY", "RFC 3516"),
    Capability("PREVIEW", "RFC 8970"),
    Capability("SAVEDATE", "RFC 8514"),
    Capability("OBJECTID", "RFC 8474"),
    Capability("ACL", "RFC 4314"),
    Capability("RIGHTS=texk", "RFC 4314", needs=("ACL",)),
    Capability("LIST-MYRIGHTS", "RFC 8440", needs=("ACL", "LIST-EXTENDED")),
    Capability("QUOTA", "RFC 9208"),
    Capability("QUOTA=RES-STORAGE", "RFC 9208", needs=("QUOTA",)),
    Capability("UTF8=ACCEPT", "RFC 9755", needs=("ENABLE",), enable=True),
    Capability("COMPRESS=DEFLATE", "RFC 4978"),
    Capability("SORT", "RFC 5256"),
    Capability("SORT=DISPLAY", "RFC 5957", needs=("SORT",)),
    Capability("ESORT", "RFC 5267", needs=("SORT",)),
    Capability("THREAD=ORDEREDSUBJECT", "RFC 5256"),
    Capability("THREAD=REFERENCES", "RFC 5256"),
    Capability("THREAD=REFS", "draft-ietf-morg-inthread"),
    Capability("APPENDLIMIT", "RFC 7889"),
)
BY_NAME = {row.name.upper(): row for row in CAPABILITIES}

KNOWN = frozenset(BY_NAME)


def closure(off: Iterable[str]) -> frozenset[bytes]:
    """What is off, with all that stands on it, in upper case."""
    out = {name.upper() for name in off}
    for _ in CAPABILITIES:                              # as deep as it can go
        more = {name for name, row in BY_NAME.items() if out.intersection(need.upper() for need in row.needs)} - out
        if not more:
            break
        out |= more
    return frozenset(name.encode("ascii", "replace") for name in out)


@lru_cache(1000)
def announced(off: frozenset[bytes], *, append_octets: int) -> bytes:
    """The list after the login.  off: what closure() gave; append_octets: what APPEND takes.

    LITERAL+ says all that LITERAL- says, and they are not said together (RFC 7888 §6): before the login nobody has that much to say, and
    for whom LITERAL+ is switched off the other one stands in."""
    values = {"APPENDLIMIT": f"APPENDLIMIT={append_octets}"}
    return " ".join([BASE, *(values.get(row.name, row.name) for name, row in BY_NAME.items()
                           if name.encode() not in off and (name != "LITERAL-" or b"LITERAL+" in off))]).encode("ascii")


@lru_cache(1000)
def announced_early(off: frozenset[bytes]) -> bytes:
    """The list before the login, but for what the connection adds: what matters to somebody who is about to log in."""
    return " ".join([BASE, *(row.name for name, row in BY_NAME.items() if row.early and name.encode() not in off)]).encode("ascii")


def enabled(names: Iterable[bytes], off: frozenset[bytes]) -> list[bytes]:
    """What of an ENABLE is heard, in the order of the table.  names: in upper case."""
    return [row.name.encode() for name, row in BY_NAME.items() if row.enable and name.encode() in names and name.encode() not in off]
