"""received: the trace field on top of a message, and what the trace fields below it say.              RFC 5321 §4.4

    Received: from client.example ([192.0.2.7])
    	by mx.example.test with ESMTPS id 0pbb5k2q9a1bcd7f
    	(TLSv1.3 TLS_AES_256_GCM_SHA384)
    	for <alice@example.test>; Sat, 1 Aug 2026 12:00:00 +0000

Everything is bytes; lines end in LF.
"""
from __future__ import annotations

import re

from pymta.message import header

# RFC 3848, by (EHLO was said, TLS, login); LMTP has its own, and so has SMTPUTF8 (RFC 6531 §4.3)
_WITH = {(True, False, False): b"ESMTP", (True, True, False): b"ESMTPS", (True, False, True): b"ESMTPA", (True, True, True): b"ESMTPSA"}
_NAME = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"
_ODD = bytes(octet for octet in range(256) if octet not in _NAME)
_NO_ODD = bytes.maketrans(_ODD, b"?" * len(_ODD))

_RETURN_PATH = re.compile(rb"\nreturn-path[ \t]*:", re.IGNORECASE)
_MBOX_LINES = re.compile(rb"(?:>*From [^\n]*\n)+")
_NAME_OCTETS = 64                                       # a line that is longer has shown its name

_date = b""
_date_of = -1


def protocol(*, lmtp: bool, extended: bool, tls: bool, login: bool, utf8: bool = False) -> bytes:
    """The word after "with"."""
    if lmtp or utf8:
        return b"UTF8" * utf8 + (b"LMTP" if lmtp else b"SMTP") + b"S" * tls + b"A" * login
    return _WITH.get((extended, tls, login), b"SMTP")


def client(helo: bytes, address: str) -> bytes:
    """What stands after "from": the name the peer gave, as far as it is one, and the address it came from."""
    literal = f"IPv6:{address}" if ":" in address else address
    return b"%s ([%s])" % (helo[:255].translate(_NO_ODD) or b"unknown", literal.encode("ascii", "replace"))


def field(came_from: bytes, host: bytes, with_: bytes, id: str, recipient: bytes, now: float, tls: bytes = b"") -> bytes:
    """The whole field.  came_from: of client(), or empty where it is nobody's business; tls: version and cipher, or empty; recipient: empty where there are several,
    since one must not learn of the others (RFC 5321 §7.2), left out beyond ASCII, for it would bar the message from hosts without SMTPUTF8
    that an alias may lead to; now: seconds since 1970."""
    global _date, _date_of
    if int(now) != _date_of:                            # one date serves all messages of its second
        _date_of = int(now)
        _date = header.date(now)
    return b"Received: %sby %s with %s id %s%s%s; %s\n" % (
        b"from %s\n\t" % came_from if came_from else b"", host, with_, id.encode("ascii"), b"\n\t(%s)" % tls if tls else b"",
        b"\n\tfor <%s>" % recipient if recipient and recipient.isascii() else b"", _date)


def begun(top: bytes) -> bytes:
    """The beginning of a message so that fields may be put above it.  One that does not begin with a field begins with an empty line
    then, or its first line would be taken for one.  Lines of an mbox on top ("From ann@a.example Sat Aug ...") become fields
    X-Mailbox-Line, as Postfix has it: the header that stands below them stays one.
    """
    if top[:1] in (b"F", b">"):
        top = _with_mbox_lines_as_fields(top)
    if top[:1] != b"\n" and not header.field_name(top[:top.find(b"\n") + 1] or top):      # its first line may not have come whole
        top = b"\n" + top
    return top


def cleaned(top: bytes) -> tuple[bytes, int]:
    """(top as begun() has it, without Return-Path fields in its header; number of Received fields there).

    top: the beginning of a message with its whole header.  A Return-Path is written by who delivers finally, and nobody else's is to
    be believed.
    """
    top = begun(top)
    blank = top.find(b"\n\n")
    small = (top if blank < 0 else top[:blank + 1]).lower()
    hops = small.count(b"\nreceived:") + small.startswith(b"received:")
    if b"return-path" in small:
        stop = header.end(top)
        top = begun(header.remove(top[:stop], (b"return-path",)) + top[stop:])
    return top, hops


def _with_mbox_lines_as_fields(top: bytes) -> bytes:
    found = _MBOX_LINES.match(top)
    if found is None or header.field_name(found[0][:found[0].find(b"\n") + 1]):       # "From : ann@a.example" is one already
        return top
    return b"".join(b"X-Mailbox-Line: " + line for line in found[0].splitlines(keepends=True)) + top[found.end():]


class LongHeader:
    """cleaned() for a header that comes in several pieces, however they are cut, the first of them begun(): feed() each until over.
    hops: as far as it has come.  Return-Path is renamed here, not removed: that needs to see no more than the name."""

    __slots__ = ("hops", "over", "_held", "_lead")

    def __init__(self) -> None:
        self.hops = 0
        self.over = False
        self._held = b"\n"                              # the beginning of a line whose name may not have come whole, and the LF before it
        self._lead = 1                                  # that first LF is not the message's

    def feed(self, piece: bytes) -> bytes:
        """What can be written now."""
        data = self._held + piece
        blank = data.find(b"\n\n")
        self.over = blank >= 0
        stop = blank if self.over else data.rfind(b"\n", max(0, len(data) - _NAME_OCTETS))
        if stop < 0:
            stop = len(data)
        fields, rest = data[:stop], data[stop:]
        self.hops += fields.lower().count(b"\nreceived:")
        fields = _RETURN_PATH.sub(b"\nX-Return-Path:", fields)
        self._held = b"" if self.over else rest
        out = fields + rest if self.over else fields
        if out and self._lead:
            self._lead = 0
            return out[1:]
        return out

    def end(self) -> bytes:
        """There is no more: what was held back."""
        return self.feed(b"\n\n")[:-2]
