"""mailboxargs: the arguments of the commands on mailboxes as a whole.                            RFC 3501 §9

What each becomes stands beside its parser, under the ABNF it reads.
"""
from __future__ import annotations

import re
from typing import Any

from pymta.proto.imap import resync
from pymta.proto.imap import metadataargs
from pymta.proto.imap.args import Args, Bad

STATUS_ITEMS = frozenset((b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN", b"DELETED", b"SIZE", b"HIGHESTMODSEQ", b"APPENDLIMIT",
                          b"DELETED-STORAGE",
                          b"MAILBOXID"))

_USE = re.compile(rb"\\[^\x00-\x20(){%*\"\\\]\x7f-\xff]+").match


def mailbox(args: Args) -> tuple:
    """SP mailbox  ->  (name,)"""
    args.space()
    return (args.mailbox(),)


def create(args: Args) -> tuple:
    """SP mailbox [SP "(" ["USE" SP "(" [use-attr *(SP use-attr)] ")"] ")"]  ->  (name, use attributes with blanks between)    RFC 6154 §3"""
    name, = mailbox(args)
    found: list[bytes] = []

    def one() -> None:
        if args.atom().upper() != b"USE":
            raise Bad("no such parameter")
        args.space()
        found.extend(args.list(lambda: bytes(args.take(_USE, "a special use")[0])))
    if args.more():
        args.space()
        args.list(one)
    return name, b" ".join(found)


def select(args: Args) -> tuple:
    """SP mailbox [SP "(" ["CONDSTORE"] ["QRESYNC" SP "(" uidvalidity SP modseq [SP known-uids] [SP seq-match-data] ")"] ")"]
    ->  (name, whether there is any parameter, None or what resync.qresync gives)    RFC 7162"""
    out = mailbox(args)
    found: list[Any] = []

    def one() -> None:
        word = args.atom().upper()
        if word not in (b"CONDSTORE", b"QRESYNC"):
            raise Bad("no such parameter")
        if word == b"QRESYNC":
            args.space()
            found.append(resync.qresync(args))
    if not args.more():
        return (*out, False, None)
    args.space()
    any_of_them = bool(args.list(one))
    return (*out, any_of_them, found[0] if found else None)


def rename(args: Args) -> tuple:
    """SP mailbox SP mailbox  ->  (old, new)"""
    args.space()
    old = args.mailbox()
    args.space()
    return old, args.mailbox()


def lsub(args: Args) -> tuple:
    """SP mailbox SP list-mailbox  ->  (reference, (pattern,), selection, returns, status items, entries)"""
    args.space()
    reference = args.mailbox()
    args.space()
    return reference, (args.pattern(),), frozenset(), frozenset(), (), ()


def list_(args: Args) -> tuple:
    """[SP "(" options ")"] SP mailbox SP (list-mailbox / "(" patterns ")") [SP "RETURN" SP "(" options ")"]      RFC 5258
    ->  (reference, patterns, selection options, return options, items of RETURN (STATUS (...)), entries of RETURN (METADATA (...)))"""
    args.space()
    selection: frozenset[bytes] = frozenset()
    if args.peek() == 40:
        selection = frozenset(word.upper() for word in args.list(args.atom))
        if selection - {b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH", b"SPECIAL-USE"}:
            raise Bad("no such selection option")
        if b"RECURSIVEMATCH" in selection and not selection & {b"SUBSCRIBED", b"SPECIAL-USE"}:
            raise Bad("RECURSIVEMATCH alone selects nothing")
        args.space()
    reference = args.mailbox()
    args.space()
    patterns = tuple(args.list(args.pattern)) if args.peek() == 40 else (args.pattern(),)
    returns: frozenset[bytes] = frozenset()
    status: tuple[bytes, ...] = ()
    entries: list[str] = []
    if args.more():
        args.space()
        if args.atom().upper() != b"RETURN":
            raise Bad("RETURN expected")
        args.space()
        found: list[bytes] = []
        items: list[bytes] = []

        def one() -> None:
            word = args.atom().upper()
            if word not in (b"SUBSCRIBED", b"CHILDREN", b"SPECIAL-USE", b"STATUS", b"METADATA", b"MYRIGHTS"):       # RFC 8440
                raise Bad("no such return option")
            if word == b"METADATA":                     # RFC 9590
                args.space()
                entries.extend(metadataargs.entries(args))
            if word == b"STATUS":
                args.space()
                items.extend(_status_items(args))
            found.append(word)
        args.list(one)
        returns, status = frozenset(found), tuple(items)
    return reference, patterns, selection, returns, status, tuple(entries)


def _status_items(args: Args) -> tuple[bytes, ...]:
    items = tuple(word.upper() for word in args.list(args.atom))
    if not items or not STATUS_ITEMS.issuperset(items):
        raise Bad("no such status item")
    return items


def quota_root(args: Args) -> tuple:
    """SP quota-root-name  ->  (name,)      RFC 9208 §7"""
    args.space()
    return (args.astring(),)


def set_quota(args: Args) -> tuple:
    """SP quota-root-name SP "(" [resource SP number *(SP resource SP number)] ")"  ->  (name, words)"""
    name, = quota_root(args)
    args.space()
    return name, tuple(args.list(args.atom))


def status(args: Args) -> tuple:
    """SP mailbox SP "(" status-att *(SP status-att) ")"  ->  (name, items)"""
    args.space()
    name = args.mailbox()
    args.space()
    return name, _status_items(args)
