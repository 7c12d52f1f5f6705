"""listing: which mailboxes LIST and LSUB show, and what they say of each.                     RFC 3501 §6.3.8, RFC 5258, RFC 6154"""
from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Iterable, Iterator

from pymta.proto.imap.response import mailbox

SEPARATOR = "."
_INBOX = "INBOX" + SEPARATOR
_WILDCARDS = re.compile(r"[*%]{2,}")


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """What there is: names that exist, names subscribed to, and the special use of one (or None).
    rev2, utf8: how the client is spoken to."""

    names: tuple[str, ...]
    subscribed: tuple[str, ...]
    special_use: Callable[[str], str | None]
    rev2: bool = False
    utf8: bool = False


def matches(pattern: str, name: str) -> bool:
    """ "*" stands for anything, "%" for anything without a separator.  INBOX is the same in any case, also as a parent."""
    pattern = _short(pattern)
    return _matches(pattern, name) or ((name + SEPARATOR).startswith(_INBOX) and _matches(pattern[:5].upper() + pattern[5:], name))


@lru_cache(16)
def _short(pattern: str) -> str:
    """The same with one wildcard where several stand in a row: each place then has one more behind it at most."""
    return _WILDCARDS.sub(lambda run: "*" if "*" in run[0] else "%", pattern)


def _matches(pattern: str, name: str) -> bool:
    if pattern == "*":
        return True
    if pattern == "%":
        return SEPARATOR not in name
    places = _pass_wildcards(pattern, {0})              # every place in the pattern that we may have reached: never exponential
    for char in name:
        reached = set()
        for place in places:
            if place < len(pattern):
                want = pattern[place]
                if want == "*" or (want == "%" and char != SEPARATOR):
                    reached.add(place)
                elif want == char:
                    reached.add(place + 1)
        places = _pass_wildcards(pattern, reached)
        if not places:
            return False
    return len(pattern) in places


def _pass_wildcards(pattern: str, places: set[int]) -> set[int]:
    out = set(places)
    for place in places:
        while place < len(pattern) and pattern[place] in "*%":
            place += 1
            out.add(place)
    return out


def parents(name: str) -> Iterator[str]:
    """a.b.c -> a, a.b"""
    at = name.find(SEPARATOR)
    while at > 0:
        yield name[:at]
        at = name.find(SEPARATOR, at + 1)


def with_parents(names: Iterable[str]) -> set[str]:
    return {parent for name in names for parent in parents(name)}


def lsub(all_of: Mailboxes, reference: str, pattern: str) -> list[bytes]:
    """Lines of LSUB.  With "%", a parent of what is subscribed stands for it, as \\Noselect."""
    pattern = reference + pattern
    out = []
    subscribed = set(all_of.subscribed)
    for name in sorted(subscribed | (with_parents(subscribed) if "%" in pattern else set()), key=_order):
        if matches(pattern, name):
            out.append(b'* LSUB (%b) "%b" %b\r\n' % (b"" if name in subscribed else b"\\Noselect", SEPARATOR.encode(), mailbox(name, all_of.utf8)))
    return out


def list_(all_of: Mailboxes, reference: str, patterns: tuple[str, ...], selection: frozenset[bytes],
          returns: frozenset[bytes]) -> list[tuple[str, bool, bytes]]:
    """(name, can be selected, line) for each mailbox that LIST shows."""
    if patterns == ("",) and not selection:
        return [("", False, b'* LIST (\\Noselect) "%b" ""\r\n' % SEPARATOR.encode())]
    whole = [reference + pattern for pattern in patterns]
    exists, subscribed = set(all_of.names), set(all_of.subscribed)
    have_children = with_parents(exists)
    chosen = _chosen(all_of, exists, subscribed, selection)
    candidates = chosen | (have_children if not selection else set())
    with_chosen_children = with_parents(chosen) if b"RECURSIVEMATCH" in selection else set()
    out = []
    for name in sorted(candidates | with_chosen_children, key=_order):
        if not any(matches(pattern, name) for pattern in whole):
            continue
        attributes = []
        if name not in exists:
            attributes.append("\\NonExistent" if selection or returns or all_of.rev2 else "\\Noselect")
        if (selection or returns) and name in subscribed and (b"SUBSCRIBED" in returns or b"SUBSCRIBED" in selection):
            attributes.append("\\Subscribed")
        attributes.append("\\HasChildren" if name in have_children else "\\HasNoChildren")
        if name in exists and (use := all_of.special_use(name)):
            attributes.append(use)
        extra = b""
        if name in with_chosen_children:
            kinds = b" ".join(b'"%b"' % kind for kind in (b"SUBSCRIBED", b"SPECIAL-USE") if kind in selection)
            extra = b' ("CHILDINFO" (%b))' % kinds
        elif name not in candidates:
            continue
        out.append((name, name in exists, b'* LIST (%b) "%b" %b%b\r\n' % (
            " ".join(attributes).encode("ascii"), SEPARATOR.encode(), mailbox(name, all_of.utf8), extra)))
    return out


def news(all_of: Mailboxes, name: str, old: str | None) -> bytes:
    """The LIST reply of a name about which something has changed; old: what it was called, if it was renamed.  RFC 5465 §5.4, §5.5"""
    attributes = [] if name in all_of.names else ["\\NonExistent"]
    if name in all_of.subscribed:
        attributes.append("\\Subscribed")
    attributes.append("\\HasChildren" if name in with_parents(all_of.names) else "\\HasNoChildren")
    if name in all_of.names and (use := all_of.special_use(name)):
        attributes.append(use)
    extra = b' ("OLDNAME" (%b))' % mailbox(old, all_of.utf8) if old else b""
    return b'* LIST (%b) "%b" %b%b\r\n' % (" ".join(attributes).encode("ascii"), SEPARATOR.encode(), mailbox(name, all_of.utf8), extra)


def _chosen(all_of: Mailboxes, exists: set[str], subscribed: set[str], selection: frozenset[bytes]) -> set[str]:
    chosen = set(subscribed) if b"SUBSCRIBED" in selection else set(exists)
    if b"SPECIAL-USE" in selection:
        chosen = {name for name in chosen if name in exists and all_of.special_use(name)}
    return chosen


def _order(name: str) -> tuple[bool, str]:
    return name != "INBOX", name
