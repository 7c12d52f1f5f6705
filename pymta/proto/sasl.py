"""sasl: the server's side of AUTH PLAIN and AUTH LOGIN, for SMTP, IMAP and POP3 alike.

    exchange = sasl.begin(b"PLAIN")                     # UnknownMechanism
    step = exchange.start(initial)                      # initial: base64 as the client sent it, b"=" for empty, None for none
    while isinstance(step, bytes):                      # a challenge, already base64: send it after "+ " or "334 "
        step = exchange.answer(line)                    # the client's next line without its line end
    step.name, step.password                            # Credentials

RFC 4422, RFC 4616 (PLAIN); LOGIN is in no RFC (draft-murchison-sasl-login), and Outlook compares its two prompts letter for
letter.  A client may give LOGIN's name as an initial response.  Whatever the peer sends, only Failed is raised.
"""
from __future__ import annotations

import binascii
from dataclasses import dataclass

MECHANISMS = (b"PLAIN", b"LOGIN")
LINE_MAX_OCTETS = 12288                                 # RFC 4954 §4: a server takes base64 lines of this length


class Failed(Exception):
    """The exchange is over without credentials; the text (ASCII) says why."""


class UnknownMechanism(Failed):
    """Not a mechanism of ours."""


class Cancelled(Failed):
    """The client sent "*"."""


class Malformed(Failed):
    """Not base64, or not what the mechanism asks for."""


class NotAllowed(Failed):
    """The client wants to act as somebody other than the one whose password it gives."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """name, password: text; octets that are not UTF-8 are surrogate escapes.  Neither is checked yet."""

    name: str
    password: str

    def __repr__(self) -> str:                          # never in a traceback
        return f"Credentials({self.name!r}, ...)"


class Exchange:
    """One AUTH command.  Both methods give a challenge in base64 to send, or the Credentials."""

    def start(self, initial: bytes | None) -> bytes | Credentials:
        if initial is None:
            return self._next(None)
        return self._next(b"" if initial == b"=" else decode(initial))

    def answer(self, line: bytes) -> bytes | Credentials:
        if line == b"*":
            raise Cancelled("authentication cancelled")
        return self._next(decode(line))

    def _next(self, message: bytes | None) -> bytes | Credentials:
        raise NotImplementedError


class _Plain(Exchange):
    def _next(self, message: bytes | None) -> bytes | Credentials:
        """message = [authzid] NUL authcid NUL passwd       RFC 4616 §2"""
        if message is None:
            return b""
        parts = message.split(b"\0")
        if len(parts) != 3 or not parts[1]:
            raise Malformed("not a PLAIN message")
        acting_as, name, password = (_text(part) for part in parts)
        if acting_as and acting_as.lower() != name.lower():
            raise NotAllowed("acting as another user is not supported")
        return Credentials(name, password)


class _Login(Exchange):
    _name: bytes | None = None

    def _next(self, message: bytes | None) -> bytes | Credentials:
        if message is None:
            return encode(b"Username:")
        if self._name is None:
            if not message or b"\0" in message:
                raise Malformed("not a user name")
            self._name = message
            return encode(b"Password:")
        if b"\0" in message:
            raise Malformed("not a password")
        return Credentials(_text(self._name), _text(message))


def begin(mechanism: bytes) -> Exchange:
    """The exchange for a mechanism's name, in any case.  Raises UnknownMechanism."""
    match mechanism.upper():
        case b"PLAIN":
            return _Plain()
        case b"LOGIN":
            return _Login()
    raise UnknownMechanism("unknown mechanism")


def encode(data: bytes) -> bytes:
    """base64 without a line end."""
    return binascii.b2a_base64(data, newline=False)


def decode(line: bytes) -> bytes:
    """The octets of one line of base64 (RFC 4648 §4, padding required, nothing else in it).  Raises Malformed."""
    if len(line) > LINE_MAX_OCTETS:
        raise Malformed("line too long")
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Malformed("not base64") from None


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
