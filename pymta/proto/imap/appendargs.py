"""appendargs: what a client has to store: the arguments of APPEND and REPLACE.

RFC 3501 §9, RFC 3502, RFC 3516 §7, RFC 4469 §5, RFC 6855 §4, RFC 8508 §4
"""
from __future__ import annotations

from dataclasses import dataclass

from pymta.proto.imap.args import Args, Bad

PIECES_MAX = 1000


@dataclass(frozen=True, slots=True)
class Url:
    """Of a part of a message that is here already, as it stands."""

    text: bytes


Piece = bytes | Url


@dataclass(frozen=True, slots=True)
class NewMessage:
    """flags: without \\Recent; when: seconds since 1970, None for now; pieces: what it is put together from; is_binary: it came as a literal8."""

    flags: tuple[str, ...]
    when: float | None
    pieces: tuple[Piece, ...]
    is_binary: bool = False


def append(args: Args) -> tuple:
    """SP mailbox 1*([SP flag-list] [SP date-time] SP data)  ->  (name, (NewMessage, ...))

    data = literal / literal8 / "UTF8" SP "(" literal8 ")" / "CATENATE" SP "(" cat-part *(SP cat-part) ")" """
    args.space()
    name = args.mailbox()
    messages = [_message(args)]
    urls = _urls(messages[0])
    while args.more():
        messages.append(_message(args))
        urls += _urls(messages[-1])
        if urls > PIECES_MAX:
            raise Bad("too many URLs")
    return name, tuple(messages)


def _urls(message: NewMessage) -> int:
    return sum(isinstance(piece, Url) for piece in message.pieces)


def replace(args: Args, uid: bool) -> tuple:
    """SP (seq-number / uniqueid) SP mailbox and one message  ->  (pairs, name, NewMessage)"""
    args.space()
    pairs = args.set()
    if len(pairs) != 1 or pairs[0][0] != pairs[0][1]:
        raise Bad("one message can be replaced")
    args.space()
    return pairs, args.mailbox(), _message(args)


def _message(args: Args) -> NewMessage:
    args.space()
    flags: list[str] = []
    when = None
    if args.peek() == 40:
        flags = args.list(args.flag)
        args.space()
    if args.peek() == 34:
        when = args.date_time()
        args.space()
    is_binary = args.mark(b"~")
    pieces: tuple[Piece, ...]
    if is_binary or args.peek() == 123:
        pieces = (literal(args),)
    elif args.peek() in b"Uu":
        pieces = (_utf8(args),)
    else:
        pieces = _catenate(args)
    return NewMessage(tuple(flag for flag in flags if flag != "\\Recent"), when, pieces, is_binary)


def _catenate(args: Args) -> tuple[Piece, ...]:
    if args.atom().upper() != b"CATENATE":
        raise Bad("a literal expected")
    args.space()
    pieces = tuple(args.list(lambda: _piece(args)))
    if not 0 < len(pieces) <= PIECES_MAX:
        raise Bad(f"from 1 to {PIECES_MAX} pieces, please")
    return pieces


def _piece(args: Args) -> Piece:
    """cat-part = "TEXT" SP literal / "URL" SP astring"""
    kind = args.atom().upper()
    args.space()
    if kind == b"TEXT":
        return literal(args)
    if kind == b"URL":
        return Url(args.astring())
    raise Bad("TEXT or URL expected")


def _utf8(args: Args) -> bytes:
    """ "UTF8" SP "(" literal8 ")"      RFC 6855 §4; a plain literal does as well"""
    if args.atom().upper() != b"UTF8":
        raise Bad("a literal expected")
    if not args.utf8_only:
        raise Bad("say ENABLE UTF8=ACCEPT first")
    args.space()
    args.need(b"(")
    args.mark(b"~")
    text = literal(args)
    args.need(b")")
    return text


def literal(args: Args) -> bytes:
    if args.peek() != 123:
        raise Bad("a literal expected")
    text = args.string()
    assert text is not None
    return text
