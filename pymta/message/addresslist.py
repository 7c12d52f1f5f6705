"""addresslist: the addresses of a header field, as IMAP shows them.                                RFC 5322 §3.4, RFC 3501 §7.4.2

    parse(b'Ann <ann@a.example>, "B. Bee" <@relay:bob@b.example>')
        -> [(b"Ann", None, b"ann", b"a.example"), (b"B. Bee", b"@relay", b"bob", b"b.example")]

Each address is (name, route, mailbox, host).  A group begins with (None, None, name, None) and ends with four Nones.
Names keep their encoded words; quoting is removed.  A comment after a bare address is its name, as it was before RFC 822.
Total and linear: what cannot be an address comes out with MISSING_MAILBOX or MISSING_DOMAIN in the empty place (as Dovecot
writes it), because an absent host would say that a group begins.
"""
from __future__ import annotations

import re

ADDRESSES_MAX = 10_000
MISSING_MAILBOX = b"MISSING_MAILBOX"
MISSING_DOMAIN = b"MISSING_DOMAIN"

Address = tuple[bytes | None, bytes | None, bytes | None, bytes | None]

_SIMPLE = re.compile(
    rb'\s*(?:(?:"([^"\\\r\n]*)"|([^"(),:;<>@\[\]\\\s]+(?: [^"(),:;<>@\[\]\\\s]+)*)|)[ \t]*<)?'
    rb'([^\s"(),:;<>@\[\]\\]+)@([^\s"(),:;<>@\[\]\\]+)(>)?\s*').fullmatch
_TOKEN = re.compile(rb'(?P<space>\s+)|(?P<atom>[^\s()<>@,;:\\"\[\]]+)|"(?P<quoted>(?:[^"\\]|\\.)*)"?|(?P<literal>\[[^\]]*\]?)'
                    rb"|(?P<special>[<>@,;:])|(?P<comment>\()|(?P<junk>.)", re.DOTALL).match
_PAIR = re.compile(rb"\\(.)", re.DOTALL).sub
_COMMENT_MARK = re.compile(rb"[()\\]").search


def parse(value: bytes) -> list[Address]:
    """The addresses of an unfolded field value."""
    pieces = value.split(b",", ADDRESSES_MAX) if value else []
    out: list[Address] = []
    for piece in pieces:                                # a comma within quotes makes two pieces that are not simple
        simple = _SIMPLE(piece)
        if simple is None:
            return _Reader(value).run()
        quoted, plain, mailbox, host, closed = simple.groups()
        if (quoted is not None or plain is not None or piece.lstrip()[:1] == b"<") is not (closed is not None):
            return _Reader(value).run()
        out.append((quoted or plain or None, None, mailbox, host))
    return out


class _Reader:
    """phrase: words so far; local: what stood before an @, once one was seen; route, angle: inside <>."""

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.out: list[Address] = []
        self.in_group = False
        self.clear()

    def clear(self) -> None:
        self.phrase = b""
        self.comment = b""
        self.local: bytes | None = None
        self.name: bytes | None = None
        self.route: bytes = b""
        self.angle = self.after_angle = self.space = self.seen = self.over = False     # over: behind the blank that ended the domain

    def run(self) -> list[Address]:
        value, at, length = self.value, 0, len(self.value)
        while at < length and len(self.out) < ADDRESSES_MAX:
            token = _TOKEN(value, at)
            assert token is not None
            kind, at = token.lastgroup, token.end()
            if kind == "space":
                self.space = True
            elif kind in ("atom", "literal"):
                self.word(token[0])
            elif kind == "quoted":
                self.word(_PAIR(rb"\1", token["quoted"]))
                self.seen = True
            elif kind == "comment":
                at = self.read_comment(at)
            elif kind == "special":
                self.special(token[0])
        self.flush()
        if self.in_group:
            self.out.append((None, None, None, None))
        return self.out

    def word(self, text: bytes) -> None:
        if self.local is not None and self.phrase and self.space and not text.startswith(b".") and not self.phrase.endswith(b"."):
            self.over = True
        if self.after_angle or self.over:
            return
        if self.phrase and self.space and self.local is None and not self.angle:
            self.phrase += b" "
        self.phrase += text
        self.space = False

    def special(self, mark: bytes) -> None:
        if mark == b"@" and not self.after_angle:
            if self.angle and not self.phrase and self.local is None:       # a source route begins
                self.route += b"@"
                self.local = None
                self.phrase = b""
            elif self.local is None:
                self.local, self.phrase = self.phrase, b""
                self.seen = True
            elif not self.over:
                self.phrase += b"@"                     # a@b@c: keep what was said
        elif mark == b"<" and not self.angle and not self.after_angle:
            name = self.phrase if self.local is None else self.local + b"@" + self.phrase
            self.name, self.phrase, self.local, self.angle, self.seen = name, b"", None, True, True
            self.over = False
        elif mark == b">" and self.angle:
            self.angle, self.after_angle = False, True
        elif self.angle and self.route and self.local is None and mark in b",:":
            if self.phrase:
                self.route += self.phrase
                self.phrase = b""
            if mark == b",":
                self.route += b","
        elif mark == b",":
            self.flush()
        elif mark == b":" and not self.angle and self.local is None and not self.in_group:
            self.out.append((None, None, self.phrase, None))
            self.in_group = True
            self.clear()
        elif mark == b";":
            self.flush()
            if self.in_group:
                self.out.append((None, None, None, None))
                self.in_group = False

    def flush(self) -> None:
        """One address is complete."""
        if self.phrase or self.local is not None or self.seen:
            if self.local is None:                      # no @ at all
                mailbox, host = self.phrase or MISSING_MAILBOX, MISSING_DOMAIN
            else:
                mailbox, host = self.local or MISSING_MAILBOX, self.phrase or MISSING_DOMAIN
            self.out.append((self.name or self.comment or None, self.route or None, mailbox, host))
        self.clear()

    def read_comment(self, at: int) -> int:
        """Behind the "(" at at - 1: remember the text, return the offset behind the closing parenthesis."""
        begun, depth = at, 1
        value = self.value
        while depth:
            found = _COMMENT_MARK(value, at)
            if found is None:
                at = len(value)
                break
            at = found.end()
            if found[0] == b"(":
                depth += 1
            elif found[0] == b")":
                depth -= 1
            else:
                at += 1
        text = value[begun:at - 1] if depth == 0 else value[begun:]
        self.comment = _PAIR(rb"\1", text).strip()
        self.space = True
        return min(at, len(value))
