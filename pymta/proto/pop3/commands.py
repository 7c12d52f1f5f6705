"""commands: what each command of POP3 does to a session.  A function gets the session and what stands behind the command's blank,
answers, and gives the event that the program has to see to first, if there is one.  Raises Refused."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pymta.proto import sasl
from pymta.proto.pop3.events import Commit, Event, Login, Refused, Retrieve, StartTls
from pymta.proto.pop3.order import AUTHORIZATION, SASL, TRANSACTION

if TYPE_CHECKING:
    from pymta.proto.pop3.server import Pop3Server

# tag -> (what the language is called in itself, what is said when it is chosen).  RFC 6856 §3.2; i-default: RFC 2277 §4.5
LANGUAGES = {b"en": (b"English", b"the language is English"), b"i-default": (b"Default language", b"the language is the default")}


# ---- any time ---------------------------------------------------------------------------------------------------------
def _capa(server: Pop3Server, argument: bytes) -> None:
    """RFC 2449 §5: what holds now; the list may differ after STLS and after the login."""
    _none(argument)
    lines = [b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"EXPIRE NEVER", b"UTF8", b"LANG"]
    if server.stls and server.state != TRANSACTION:
        lines.append(b"STLS")
    if server.login:
        lines += [b"USER", b"SASL " + b" ".join(server.mechanisms)]
    server.ok_lines(b"", [*lines, b"IMPLEMENTATION pymta"])


def _lang(server: Pop3Server, argument: bytes) -> None:
    """RFC 6856 §3.2.  Our texts are English, whatever is chosen; "*" is what the server likes best."""
    tag = argument.strip().lower()
    if not tag:
        server.ok_lines(b"languages", [b"%s %s" % (each, name) for each, (name, _) in LANGUAGES.items()])
        return
    tag = b"i-default" if tag == b"*" else tag
    if tag not in LANGUAGES:
        raise Refused(b"no such language; LANG lists them")
    server.ok(b"%s %s" % (tag, LANGUAGES[tag][1]))


def _quit(server: Pop3Server, argument: bytes) -> Event | None:
    _none(argument)
    if server.state == TRANSACTION:
        return Commit(tuple(sorted(server.deleted)))
    server.ok(b"bye")
    server.ended = True
    return None


# ---- AUTHORIZATION ----------------------------------------------------------------------------------------------------
def _stls(server: Pop3Server, argument: bytes) -> Event | None:
    _none(argument)
    if server.tls:
        raise Refused(b"TLS is on already")
    if not server.stls:
        raise Refused(b"TLS is not available")
    if server.more_came:                                # an injection (CVE-2011-0411 in every protocol): never taken as said later
        server.forget_lines()
        server.bye(b"nothing may follow STLS before the handshake; closing")
        return None
    server.ok(b"begin TLS")
    return StartTls()


def _utf8(server: Pop3Server, argument: bytes) -> None:
    """RFC 6856 §2.1: from here on messages come as they are.  Forgotten by STLS, which must not follow it."""
    _none(argument)
    server.utf8 = True
    server.ok(b"UTF8 is on")


def _may_log_in(server: Pop3Server) -> None:
    if not server.login:
        raise Refused(b"TLS is needed before a password; use STLS" if server.stls else b"TLS is needed before a password")


def _user(server: Pop3Server, argument: bytes) -> None:
    _may_log_in(server)
    if not argument.strip():
        raise Refused(b"USER needs a name")
    server.name = argument.strip().decode("utf-8", "surrogateescape")
    server.ok()


def _pass(server: Pop3Server, argument: bytes) -> Event:
    """RFC 1939 §7: everything after the blank is the password, blanks included."""
    _may_log_in(server)
    return Login(server.name, argument.decode("utf-8", "surrogateescape"))


def _auth(server: Pop3Server, argument: bytes) -> Event | None:
    """RFC 5034 §4."""
    mechanism, space, initial = argument.strip().partition(b" ")
    if not mechanism:                                   # what old clients ask, and Thunderbird (RFC 5034 leaves it open)
        server.ok_lines(b"", server.mechanisms if server.login else ())
        return None
    _may_log_in(server)
    try:
        if mechanism.upper() not in server.mechanisms:
            raise sasl.UnknownMechanism("unknown mechanism")
        server.exchange = sasl.begin(mechanism)
        return _sasl_result(server, server.exchange.start(initial if space else None))
    except sasl.Failed as failure:
        _sasl_failed(server, failure)
        return None


def sasl_step(server: Pop3Server, line: bytes) -> Event | None:
    """A line within AUTH."""
    assert server.exchange is not None
    try:
        return _sasl_result(server, server.exchange.answer(line))
    except sasl.Failed as failure:
        _sasl_failed(server, failure)
        return None


def _sasl_result(server: Pop3Server, step: bytes | sasl.Credentials) -> Event | None:
    if isinstance(step, bytes):
        server.state = SASL
        server.challenge(step)
        return None
    server.state, server.exchange = AUTHORIZATION, None
    return Login(step.name, step.password)


def _sasl_failed(server: Pop3Server, failure: sasl.Failed) -> None:
    server.state, server.exchange = AUTHORIZATION, None
    code = b"[AUTH] " if isinstance(failure, sasl.NotAllowed) else b""
    server.error(code + str(failure).encode("ascii"))


# ---- TRANSACTION ------------------------------------------------------------------------------------------------------
def _stat(server: Pop3Server, argument: bytes) -> None:
    _none(argument)
    server.ok(b"%d %d" % (len(server.sizes) - len(server.deleted), server.octets))


def _list(server: Pop3Server, argument: bytes) -> None:
    _scan(server, argument, b"%d %d", server.sizes)


def _uidl(server: Pop3Server, argument: bytes) -> None:
    _scan(server, argument, b"%d %s", server.uids)


def _scan(server: Pop3Server, argument: bytes, form: bytes, values: Sequence[int] | Sequence[bytes]) -> None:
    """LIST and UIDL: one line for one message, or a line for each that is not deleted."""
    if argument.strip():
        index = _index(server, argument)
        server.ok(form % (index + 1, values[index]))
        return
    rows = [form % (number, value) for number, value in enumerate(values, 1) if number - 1 not in server.deleted]
    server.ok_lines(b"%d messages" % len(rows), rows)


def _retr(server: Pop3Server, argument: bytes) -> Event:
    server.wanted = _index(server, argument), None
    return Retrieve(*server.wanted, server.utf8)


def _top(server: Pop3Server, argument: bytes) -> Event:
    number, _, lines = argument.strip().partition(b" ")
    server.wanted = _index(server, number), _number(lines.strip())
    return Retrieve(*server.wanted, server.utf8)


def _dele(server: Pop3Server, argument: bytes) -> None:
    index = _index(server, argument)
    server.deleted.add(index)
    server.octets -= server.sizes[index]
    server.ok(b"message %d deleted" % (index + 1))


def _noop(server: Pop3Server, argument: bytes) -> None:
    server.ok()


def _rset(server: Pop3Server, argument: bytes) -> None:
    _none(argument)
    server.deleted.clear()
    server.octets = sum(server.sizes)
    server.ok(b"%d messages (%d octets)" % (len(server.sizes), server.octets))


# ---- arguments --------------------------------------------------------------------------------------------------------
def _index(server: Pop3Server, argument: bytes) -> int:
    number = _number(argument.strip())
    if not 1 <= number <= len(server.sizes):
        raise Refused(b"no such message; there are %d" % len(server.sizes))
    if number - 1 in server.deleted:
        raise Refused(b"message %d is deleted" % number)
    return number - 1


def _none(argument: bytes) -> None:
    if argument.strip():
        raise Refused(b"no argument expected")


def _number(digits: bytes) -> int:
    """RFC 1939 §3: decimal digits; bounded, so that no client can make us count for long."""
    if not digits.isdigit() or len(digits) > 10:
        raise Refused(b"a number is missing" if not digits else b"not a number")
    return int(digits)


DO: dict[bytes, Callable[[Pop3Server, bytes], Event | None]] = {
    b"CAPA": _capa, b"LANG": _lang, b"QUIT": _quit, b"STLS": _stls, b"UTF8": _utf8, b"USER": _user, b"PASS": _pass, b"AUTH": _auth,
    b"STAT": _stat, b"LIST": _list, b"UIDL": _uidl, b"RETR": _retr, b"TOP": _top, b"DELE": _dele, b"NOOP": _noop, b"RSET": _rset,
}
