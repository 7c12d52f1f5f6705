"""aclargs: the arguments of SETACL, DELETEACL and LISTRIGHTS.                                     RFC 4314 §6"""
from __future__ import annotations

from pymta.proto.imap.args import Args, Bad

RIGHTS = "lrswipkxtea"
OLD = {"c": "kx", "d": "te"}                            # of RFC 2086, and what they stand for


def who(args: Args) -> tuple:
    """SP mailbox SP identifier  ->  (name, identifier)"""
    args.space()
    name = args.mailbox()
    args.space()
    identifier = args.astring().decode("utf-8", "surrogateescape")
    if not identifier.removeprefix("-") or any(char < " " for char in identifier):
        raise Bad("an identifier, please")
    return name, identifier


def delete(args: Args) -> tuple:
    """The same  ->  (name, identifier, "", None)"""
    return (*who(args), "", None)


def set_(args: Args) -> tuple:
    """SP mailbox SP identifier SP ["+" / "-"] rights  ->  (name, identifier, sign, letters)"""
    name, identifier = who(args)
    args.space()
    text = args.astring().decode("latin-1")
    sign = text[:1] if text[:1] in ("+", "-") else ""
    letters = "".join(OLD.get(letter, letter) for letter in text[len(sign):])
    if set(letters) - set(RIGHTS):
        raise Bad("no such right")
    return name, identifier, sign, letters
