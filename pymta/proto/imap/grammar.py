"""grammar: one whole command, as framing cut it, to a Command.                                RFC 3501 §9

    parse(b'a1 UID FETCH 1:* (FLAGS)\\r\\n') -> Command(b"a1", b"FETCH", uid=True, (((1, STAR),), (FetchItem(FLAGS),)))

What each verb's arguments become stands beside its parser, under the ABNF it reads.  Total: any bytes give a Command or
BadCommand, whose text is for the client.  Nesting is bounded by DEPTH_MAX, everything else by the size of the command.
"""
from __future__ import annotations

import re
from typing import Any, Callable

from pymta.proto.imap import aclargs, appendargs, fetchitem, mailboxargs, metadataargs, notifyargs, searchkey
from pymta.proto.imap.args import STAR, Args, Bad, Pairs

__all__ = ["STAR", "BadCommand", "Command", "Pairs", "parse"]

_HEAD = re.compile(rb"([^\x00-\x20(){%*\"\\\x7f-\xff+]+) ([A-Za-z]+)").match
_TAG = re.compile(rb"[^\x00-\x20(){%*\"\\\x7f-\xff+]+").match
_INITIAL = re.compile(rb"[^ \r\n]+").match
_STORE = re.compile(rb"[+-]?[A-Za-z.]+").match


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


def parse(raw: bytes | bytearray, *, utf8: bool = False, utf8_only: bool = False) -> Command:
    """utf8, utf8_only: see Args.  Raises BadCommand."""
    head = _HEAD(raw)
    if head is None:
        word = _TAG(raw)
        raise BadCommand(bytes(word[0]) if word else b"*", "a tag and a command, please")
    tag, verb = bytes(head[1]), bytes(head[2]).upper()
    args = Args(raw, head.end(), utf8=utf8, utf8_only=utf8_only)
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


def _compress(args: Args) -> tuple:
    """"COMPRESS" SP algorithm  ->  ()    RFC 4978; DEFLATE is the only one"""
    args.space()
    if args.atom().upper() != b"DEFLATE":
        raise Bad("no such compression")
    return ()


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


def _fetch(args: Args, uid: bool) -> tuple:
    """SP sequence-set SP items [SP "(" modifiers ")"]  ->  (pairs, items, changed since, with those that vanished, which part)"""
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
        unchanged = args.number64()
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


def _esearch(args: Args, uid: bool) -> tuple:
    """->  (mailboxes or None, result options or None, whether the character set is known, key); answered with UIDs either way"""
    return searchkey.esearch(args)


def _sort(args: Args, uid: bool) -> tuple:
    """->  (result options or None, ((criterion, reverse), ...), whether the character set is known, key)"""
    return searchkey.sort(args)


def _thread(args: Args, uid: bool) -> tuple:
    """->  (algorithm, whether the character set is known, key)"""
    return searchkey.thread(args)


_WITH_UID = frozenset((b"FETCH", b"STORE", b"COPY", b"MOVE", b"SEARCH", b"SORT", b"THREAD", b"EXPUNGE", b"ESEARCH", b"REPLACE"))
VERBS: dict[bytes, Callable[..., tuple]] = {
    b"CAPABILITY": _nothing, b"NOOP": _nothing, b"LOGOUT": _nothing, b"STARTTLS": _nothing, b"NAMESPACE": _nothing, b"IDLE": _nothing,
    b"CHECK": _nothing, b"CLOSE": _nothing, b"UNSELECT": _nothing,
    b"LOGIN": _login, b"AUTHENTICATE": _authenticate, b"ID": _id, b"ENABLE": _enable, b"COMPRESS": _compress,
    b"SELECT": mailboxargs.select, b"EXAMINE": mailboxargs.select, b"CREATE": mailboxargs.create, b"DELETE": mailboxargs.mailbox, b"SUBSCRIBE": mailboxargs.mailbox, b"UNSUBSCRIBE": mailboxargs.mailbox,
    b"RENAME": mailboxargs.rename, b"LIST": mailboxargs.list_, b"LSUB": mailboxargs.lsub, b"STATUS": mailboxargs.status, b"APPEND": appendargs.append, b"REPLACE": appendargs.replace,
    b"SETACL": aclargs.set_, b"DELETEACL": aclargs.delete, b"GETACL": mailboxargs.mailbox, b"LISTRIGHTS": aclargs.who, b"MYRIGHTS": mailboxargs.mailbox,
    b"GETMETADATA": metadataargs.get, b"SETMETADATA": metadataargs.set_,
    b"GETQUOTA": mailboxargs.quota_root, b"GETQUOTAROOT": mailboxargs.mailbox, b"SETQUOTA": mailboxargs.set_quota,
    b"FETCH": _fetch, b"STORE": _store, b"COPY": _copy, b"MOVE": _copy, b"SEARCH": _search, b"SORT": _sort, b"THREAD": _thread, b"EXPUNGE": _expunge, b"ESEARCH": _esearch, b"NOTIFY": notifyargs.notify,
}
