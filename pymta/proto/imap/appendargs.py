"""appendargs: what a client has to store: the arguments of APPEND.                                  RFC 3501 §9, RFC 3502, RFC 3516 §7"""
from __future__ import annotations

from dataclasses import dataclass

from pymta.proto.imap.args import Args, Bad


@dataclass(frozen=True, slots=True)
class NewMessage:
    """flags: without \\Recent; when: seconds since 1970, None for now; text: as it came; is_binary: it came as a literal8."""

    flags: tuple[str, ...]
    when: float | None
    text: bytes
    is_binary: bool = False


def append(args: Args) -> tuple:
    """SP mailbox 1*([SP flag-list] [SP date-time] SP (literal / literal8))  ->  (name, (NewMessage, ...))"""
    args.space()
    name = args.mailbox()
    messages = [_message(args)]
    while args.more():
        messages.append(_message(args))
    return name, tuple(messages)


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
    return NewMessage(tuple(flag for flag in flags if flag != "\\Recent"), when, literal(args), is_binary)


def literal(args: Args) -> bytes:
    if args.peek() != 123:
        raise Bad("a literal expected")
    text = args.string()
    assert text is not None
    return text
