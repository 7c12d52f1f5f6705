"""grammar: one whole command, as framing cut it, to a Command.                                RFC 3501 §9

    parse(b'a1 UID FETCH 1:* (FLAGS)\\r\\n') -> Command(b"a1", b"FETCH", uid=True, (((1, STAR),), (FetchItem(FLAGS),)))

What each verb's arguments become stands beside its parser, under the ABNF it reads.  Total: any bytes give a Command or
BadCommand, whose text is for the client.  Nesting is bounded by DEPTH_MAX, everything else by the size of the command.
"""
from __future__ import annotations

import re
from typing import Any, Callable

from pymta.proto.imap import fetchitem, searchkey
from pymta.proto.imap.args import STAR, Args, Bad, Pairs

__all__ = ["STAR", "BadCommand", "Command", "Pairs", "parse"]

_HEAD = re.compile(rb"([^\x00-\x20(){%*\"\\\x7f-\xff+]+) ([A-Za-z]+)").match
_TAG = re.compile(rb"[^\x00-\x20(){%*\"\\\x7f-\xff+]+").match
_INITIAL = re.compile(rb"[^ \r\n]+").match
_STORE = re.compile(rb"[+-]?[A-Za-z.]+").match
STATUS_ITEMS = frozenset((b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN", b"DELETED", b"SIZE", b"HIGHESTMODSEQ"))


class BadCommand(Exception):
    """Not a command we understand: tagged BAD.  tag: bytes, b"*" where not even that could be read."""

    def __init__(self, tag: bytes, why: str) -> None:
        super().__init__(why)
        self.tag = tag


class Command:
    """tag, verb: bytes, verb in upper case; uid: with UID in front; args: see the parser of the verb."""

    __slots__ = ("tag", "verb", "uid", "args")

    def __init__(self, tag: bytes, verb: bytes, uid: bool, args: tuple[Any, ...]) -> None:
        self.tag = tag
        self.verb = verb
        self.uid = uid
        self.args = args

    def __repr__(self) -> str:
        return f"Command({self.tag!r}, {self.verb!r}, {self.uid!r}, {'...' if self.verb == b'LOGIN' else repr(self.args)})"


def parse(raw: bytes | bytearray) -> Command:
    """raises BadCommand."""
    head = _HEAD(raw)
    if head is None:
        word = _TAG(raw)
        raise BadCommand(bytes(word[0]) if word else b"*", "a tag and a command, please")
    tag, verb = bytes(head[1]), bytes(head[2]).upper()
    args = Args(raw, head.end())
    uid = False
    try:
        if verb == b"UID":
            args.space()
            verb = args.atom().upper()
            if verb not in _WITH_UID:
                raise Bad("no such UID command")
            uid = True
        parser = VERBS.get(verb)
        if parser is None:
            raise Bad("no such command")
        values = parser(args, uid) if verb in _WITH_UID else parser(args)
        args.end()
    except Bad as bad:
        raise BadCommand(tag, str(bad)) from None
    return Command(tag, verb, uid, values)


# ---- the verbs --------------------------------------------------------------------------------------------------------
def _nothing(args: Args) -> tuple:
    return ()


def _login(args: Args) -> tuple:
    """"LOGIN" SP userid SP password  ->  (name, password), bytes"""
    args.space()
    name = args.astring()
    args.space()
    return name, args.astring()


def _authenticate(args: Args) -> tuple:
    """"AUTHENTICATE" SP auth-type [SP initial-resp]  ->  (mechanism, initial response or None)    RFC 4959"""
    args.space()
    mechanism = args.atom()
    initial = None
    if args.more():
        args.space()
        initial = bytes(args.take(_INITIAL, "an initial response")[0])
    return mechanism, initial


def _id(args: Args) -> tuple:
    """"ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil)  ->  ({name: value},)   RFC 2971"""
    args.space()
    if args.peek() != 40:
        if args.atom().upper() != b"NIL":
            raise Bad("a list or NIL expected")
        return ({},)
    values = args.list(args.nstring)
    if len(values) > 60 or len(values) % 2:
        raise Bad("pairs expected, 30 at most")
    return ({(name or b"").lower(): value or b"" for name, value in zip(values[::2], values[1::2])},)


def _enable(args: Args) -> tuple:
    """"ENABLE" 1*(SP capability)  ->  (names in upper case,)"""
    names = []
    while args.more():
        args.space()
        names.append(args.atom().upper())
    if not names:
        raise Bad("a capability expected")
    return (tuple(names),)


def _mailbox(args: Args) -> tuple:
    """SP mailbox  ->  (name,)"""
    args.space()
    return (args.mailbox(),)


def _create(args: Args) -> tuple:
    """SP mailbox [SP "(" parameters ")"]  ->  (name,)    RFC 4466; no parameter is known"""
    out = _mailbox(args)
    if args.more():
        args.space()
        if args.list(args.atom):
            raise Bad("no such parameter")
    return out


def _select(args: Args) -> tuple:
    """SP mailbox [SP "(" ["CONDSTORE"] ["QRESYNC" SP "(" uidvalidity SP modseq [SP known-uids] [SP seq-match-data] ")"] ")"]
    ->  (name, whether there is any parameter, None or (uidvalidity, modseq, known UIDs or None))    RFC 7162"""
    out = _mailbox(args)
    found: list[Any] = []

    def one() -> None:
        word = args.atom().upper()
        if word not in (b"CONDSTORE", b"QRESYNC"):
            raise Bad("no such parameter")
        if word == b"QRESYNC":
            args.space()
            found.append(_qresync(args))
    if not args.more():
        return (*out, False, None)
    args.space()
    any_of_them = bool(args.list(one))
    return (*out, any_of_them, found[0] if found else None)


def _qresync(args: Args) -> tuple[int, int, Pairs | None]:
    args.need(b"(")
    uidvalidity = args.number()
    args.space()
    modseq = args.modseq()
    known = None
    while not args.mark(b")"):
        args.space()
        if args.mark(b"("):                             # which numbers the client believes in: only of use if we told less for it
            args.set()
            args.space()
            args.set()
            args.need(b")")
        elif known is None:
            known = args.set()
        else:
            raise Bad("one set of UIDs, please")
    return uidvalidity, modseq, known


def _rename(args: Args) -> tuple:
    """SP mailbox SP mailbox  ->  (old, new)"""
    args.space()
    old = args.mailbox()
    args.space()
    return old, args.mailbox()


def _lsub(args: Args) -> tuple:
    """SP mailbox SP list-mailbox  ->  (reference, (pattern,), selection, returns, status items)"""
    args.space()
    reference = args.mailbox()
    args.space()
    return reference, (args.pattern(),), frozenset(), frozenset(), ()


def _list(args: Args) -> tuple:
    """[SP "(" options ")"] SP mailbox SP (list-mailbox / "(" patterns ")") [SP "RETURN" SP "(" options ")"]      RFC 5258
    ->  (reference, patterns, selection options, return options, items of RETURN (STATUS (...)))"""
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
    if args.more():
        args.space()
        if args.atom().upper() != b"RETURN":
            raise Bad("RETURN expected")
        args.space()
        found: list[bytes] = []
        items: list[bytes] = []

        def one() -> None:
            word = args.atom().upper()
            if word not in (b"SUBSCRIBED", b"CHILDREN", b"SPECIAL-USE", b"STATUS"):
                raise Bad("no such return option")
            if word == b"STATUS":
                args.space()
                items.extend(_status_items(args))
            found.append(word)
        args.list(one)
        returns, status = frozenset(found), tuple(items)
    return reference, patterns, selection, returns, status


def _status_items(args: Args) -> tuple[bytes, ...]:
    items = tuple(word.upper() for word in args.list(args.atom))
    if not items or not STATUS_ITEMS.issuperset(items):
        raise Bad("no such status item")
    return items


def _status(args: Args) -> tuple:
    """SP mailbox SP "(" status-att *(SP status-att) ")"  ->  (name, items)"""
    args.space()
    name = args.mailbox()
    args.space()
    return name, _status_items(args)


def _append(args: Args) -> tuple:
    """SP mailbox [SP flag-list] [SP date-time] SP literal  ->  (name, flags, seconds since 1970 or None, message)"""
    args.space()
    name = args.mailbox()
    args.space()
    flags: list[str] = []
    when = None
    if args.peek() == 40:
        flags = args.list(args.flag)
        args.space()
    if args.peek() == 34:
        when = args.date_time()
        args.space()
    if args.peek() != 123:
        raise Bad("a literal expected")
    return name, tuple(flags), when, args.string()


def _fetch(args: Args, uid: bool) -> tuple:
    """SP sequence-set SP items [SP "(" modifiers ")"]  ->  (pairs, items, changed since, with those that vanished)"""
    args.space()
    pairs = args.set()
    args.space()
    return (pairs, *fetchitem.read(args))


def _store(args: Args, uid: bool) -> tuple:
    """SP sequence-set [SP "(UNCHANGEDSINCE" SP modseq ")"] SP ["+" / "-"] "FLAGS" [".SILENT"] SP (flag-list / (flag *(SP flag)))
    ->  (pairs, mode, silent, flags, unchanged since or None)"""
    args.space()
    pairs = args.set()
    args.space()
    unchanged = None
    if args.mark(b"("):
        if args.atom().upper() != b"UNCHANGEDSINCE":
            raise Bad("no such modifier")
        args.space()
        unchanged = args.modseq()
        args.need(b")")
        args.space()
    word = bytes(args.take(_STORE, "FLAGS")[0]).upper()
    mode = {b"+": "add", b"-": "remove"}.get(word[:1], "replace")
    if word.lstrip(b"+-") not in (b"FLAGS", b"FLAGS.SILENT"):
        raise Bad("FLAGS expected")
    args.space()
    if args.peek() == 40:
        flags = args.list(args.flag)
    else:
        flags = [args.flag()]
        while args.more():
            args.space()
            flags.append(args.flag())
    return pairs, mode, word.endswith(b"SILENT"), tuple(flag for flag in flags if flag != "\\Recent"), unchanged


def _copy(args: Args, uid: bool) -> tuple:
    """SP sequence-set SP mailbox  ->  (pairs, name)"""
    args.space()
    pairs = args.set()
    args.space()
    return pairs, args.mailbox()


def _expunge(args: Args, uid: bool) -> tuple:
    """[SP sequence-set]  ->  (pairs or None,)      RFC 4315"""
    if not uid:
        return (None,)
    args.space()
    return (args.set(),)


def _search(args: Args, uid: bool) -> tuple:
    """->  (result options or None, whether the character set is known, key)"""
    return searchkey.search(args)


_WITH_UID = frozenset((b"FETCH", b"STORE", b"COPY", b"MOVE", b"SEARCH", b"EXPUNGE"))
VERBS: dict[bytes, Callable[..., tuple]] = {
    b"CAPABILITY": _nothing, b"NOOP": _nothing, b"LOGOUT": _nothing, b"STARTTLS": _nothing, b"NAMESPACE": _nothing, b"IDLE": _nothing,
    b"CHECK": _nothing, b"CLOSE": _nothing, b"UNSELECT": _nothing,
    b"LOGIN": _login, b"AUTHENTICATE": _authenticate, b"ID": _id, b"ENABLE": _enable,
    b"SELECT": _select, b"EXAMINE": _select, b"CREATE": _create, b"DELETE": _mailbox, b"SUBSCRIBE": _mailbox, b"UNSUBSCRIBE": _mailbox,
    b"RENAME": _rename, b"LIST": _list, b"LSUB": _lsub, b"STATUS": _status, b"APPEND": _append,
    b"FETCH": _fetch, b"STORE": _store, b"COPY": _copy, b"MOVE": _copy, b"SEARCH": _search, b"EXPUNGE": _expunge,
}
