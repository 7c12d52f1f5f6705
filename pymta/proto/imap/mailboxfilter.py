"""mailboxfilter: which mailboxes NOTIFY and ESEARCH are about.                                 RFC 5465 §6, RFC 7377 §2.2

    filter-mailboxes = "selected" / "selected-delayed" / "inboxes" / "personal" / "subscribed"
                     / ("subtree" / "subtree-one" / "mailboxes") SP one-or-more-mailbox
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pymta.proto.imap.args import Args, Bad
from pymta.proto.imap.listing import SEPARATOR, parents

_FILTERS_MAX = 100
_NAMED = frozenset((b"SUBTREE", b"SUBTREE-ONE", b"MAILBOXES"))
_OF_NOTIFY = frozenset((b"SELECTED", b"SELECTED-DELAYED", b"INBOXES", b"PERSONAL", b"SUBSCRIBED", b"SUBTREE", b"MAILBOXES"))
_OF_ESEARCH = _OF_NOTIFY - {b"SELECTED-DELAYED"} | {b"SUBTREE-ONE"}


@dataclass(frozen=True, slots=True)
class Filter:
    """kind: the word in upper case; names: what stands behind it."""

    kind: bytes
    names: frozenset[str] = frozenset()

    @property
    def is_selected(self) -> bool:
        return self.kind in (b"SELECTED", b"SELECTED-DELAYED")

    def takes(self, name: str, subscribed: Iterable[str], is_own: bool = True) -> bool:
        """Whether a mailbox that can be selected is meant; never by "selected".  is_own: whether it is one of the user's own.

        Mail may be delivered into any mailbox here (address extensions, Sieve), so "inboxes" are all of the user's own."""
        match self.kind:
            case b"PERSONAL" | b"INBOXES":
                return is_own
            case b"SUBSCRIBED":
                return name in subscribed
            case b"MAILBOXES":
                return name in self.names
            case b"SUBTREE":
                return name in self.names or any(parent in self.names for parent in parents(name))
            case b"SUBTREE-ONE":
                return name in self.names or name.rpartition(SEPARATOR)[0] in self.names
        return False

    def may_reach(self, prefixes: Iterable[str]) -> bool:
        """Whether mailboxes below one of these prefixes may be meant."""
        return self.kind == b"SUBSCRIBED" or any((name + SEPARATOR).startswith(prefix) for name in self.names for prefix in prefixes if prefix)


def of_notify(args: Args) -> Filter:
    return _filter(args, _OF_NOTIFY)


def of_esearch(args: Args) -> tuple[Filter, ...]:
    """ "(" filter-mailboxes *(SP filter-mailboxes) [SP "(" scope-options ")"] ")"; no scope option is known"""
    args.need(b"(")
    out = [_filter(args, _OF_ESEARCH)]
    while not args.mark(b")"):
        args.space()
        if args.peek() == 40:
            raise Bad("no such scope option")
        out.append(_filter(args, _OF_ESEARCH))
        if len(out) > _FILTERS_MAX:
            raise Bad("too many choices of mailboxes")
    return tuple(out)


def _filter(args: Args, known: frozenset[bytes]) -> Filter:
    word = args.atom().upper()
    if word not in known:
        raise Bad("no such choice of mailboxes")
    if word not in _NAMED:
        return Filter(word)
    args.space()
    names = frozenset(args.list(args.mailbox) if args.peek() == 40 else (args.mailbox(),))
    if not names:
        raise Bad("a mailbox expected")
    return Filter(word, names)
