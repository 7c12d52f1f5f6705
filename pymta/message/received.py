"""received: the trace field on top of a message, and what the trace fields below it say.              RFC 5321 §4.4

    Received: from client.example ([192.0.2.7])
    	by mx.example.test with ESMTPS id 0pbb5k2q9a1bcd7f
    	(TLSv1.3 TLS_AES_256_GCM_SHA384)
    	for <alice@example.test>; Sat, 1 Aug 2026 12:00:00 +0000

Everything is bytes; lines end in LF.
"""
from __future__ import annotations

from pymta.message import header

# RFC 3848, by (EHLO was said, TLS, login); LMTP has its own, and so has SMTPUTF8 (RFC 6531 §4.3)
_WITH = {(True, False, False): b"ESMTP", (True, True, False): b"ESMTPS", (True, False, True): b"ESMTPA", (True, True, True): b"ESMTPSA"}
_NAME = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"
_ODD = bytes(octet for octet in range(256) if octet not in _NAME)
_NO_ODD = bytes.maketrans(_ODD, b"?" * len(_ODD))

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


def cleaned(top: bytes) -> tuple[bytes, int]:
    """(top without Return-Path fields in its header, number of Received fields there).

    top: the beginning of a message, its whole header if that is not longer.  A Return-Path is written by who delivers
    finally, and nobody else's is to be believed.  A message that does not begin with a field begins with an empty line then,
    so that its first line is not taken for a field once ours stand above it.
    """
    blank = top.find(b"\n\n")
    small = (top if blank < 0 else top[:blank + 1]).lower()
    hops = small.count(b"\nreceived:") + small.startswith(b"received:")
    if b"return-path" in small:
        stop = header.end(top)
        top = header.remove(top[:stop], (b"return-path",)) + top[stop:]
    if top[:1] != b"\n" and not header.field_name(top[:top.find(b"\n") + 1]):
        top = b"\n" + top
    return top, hops
