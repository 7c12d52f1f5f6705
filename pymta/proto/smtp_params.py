"""smtp_params: what may stand behind the path of MAIL and RCPT, read strictly.

    parameters = *(SP keyword ["=" value])                               RFC 5321 §4.1.2
    MAIL   SIZE=number (RFC 1870)           BODY=7BIT | 8BITMIME (RFC 6152)       AUTH=mailbox, read and not used (RFC 4954 §5)
           SMTPUTF8 (RFC 6531 §3.4)         RET=FULL | HDRS  ENVID=xtext (RFC 3461 §4.3, §4.4)
           HOLDFOR=seconds | HOLDUNTIL=date-time (RFC 4865 §4), where it is offered
    RCPT   NOTIFY=NEVER | word *("," word)  ORCPT=type ";" xtext (RFC 3461 §4.1, §4.2; type utf-8: RFC 6533 §3)
    xtext  = *( "!".."~" but "+" and "=" / "+" 2HEXDIG )                 RFC 3461 §4

What comes out holds no control byte and no line end, whatever was encoded: it may stand in a queue file, a header or a log
line.  (Exim's CVE-2020-28026 was a newline in ORCPT.)
"""
from __future__ import annotations

import re
from dataclasses import dataclass, field

from pymta import outcome
from pymta.outcome import Outcome

MAIL = frozenset((b"SIZE", b"BODY", b"AUTH", b"SMTPUTF8", b"RET", b"ENVID"))
HOLD = frozenset((b"HOLDFOR", b"HOLDUNTIL"))
RCPT = frozenset((b"NOTIFY", b"ORCPT"))

ENVID_MAX_OCTETS = 100              # RFC 3461 §5.4
ORCPT_MAX_OCTETS = 500
NOTIFY, ORCPT = b"Pymta-Notify", b"Pymta-Orcpt"         # the notes of a recipient in a queue file

_PARAMETER = re.compile(rb" +([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff]+))?")
_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEX = re.compile(rb"\+([0-9A-F]{2})")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_TYPE = re.compile(rb"[A-Za-z0-9-]{1,40}")
_SECONDS = re.compile(rb"[1-9][0-9]{0,8}")
_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
WISHES = (b"SUCCESS", b"FAILURE", b"DELAY")             # of NOTIFY

_CANNOT_READ = Outcome(501, "5.5.4", 64, "cannot read the parameters")
NOT_UTF8 = Outcome(553, "5.6.7", 65, "addresses beyond ASCII need SMTPUTF8")


def _bad(text: str) -> Outcome:
    return Outcome(501, "5.5.4", 64, text)


@dataclass(slots=True)
class Wishes:
    """What MAIL asked for.  facts: for the queue file's seal; hold_for_s: seconds; hold_until: seconds since 1970."""

    size_octets: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    hold_for_s: int | None = None
    hold_until: float | None = None


def parse(rest: bytes, known: frozenset[bytes]) -> dict[bytes, bytes] | Outcome:
    """The parameters as keyword in upper case -> value, or what is wrong with them."""
    found: dict[bytes, bytes] = {}
    at, end = 0, len(rest.rstrip(b" "))
    while at < end:
        match = _PARAMETER.match(rest, at, end)
        if match is None:
            return _CANNOT_READ
        keyword, at = match[1].upper(), match.end()
        if keyword not in known:
            return outcome.BAD_PARAMETER
        if keyword in found:
            return _CANNOT_READ
        found[keyword] = match[2] or b""
    return found


def mail(given: dict[bytes, bytes], *, utf8_path: bool) -> Wishes | Outcome:
    """What the parameters of MAIL mean.  utf8_path: whether the path holds octets above 127."""
    out = Wishes()
    facts = out.facts
    if b"SMTPUTF8" in given:
        if given[b"SMTPUTF8"]:
            return _bad("SMTPUTF8 takes no value")
        facts["utf8"] = "1"
    elif utf8_path:
        return NOT_UTF8
    elif not all(map(bytes.isascii, given.values())):
        return _CANNOT_READ
    size = given.get(b"SIZE", b"0")
    if not size.isdigit() or len(size) > 20:            # RFC 1870 §4
        return _bad("SIZE is a number")
    out.size_octets = int(size)
    if b"BODY" in given:
        body = given[b"BODY"].upper()
        if body not in (b"7BIT", b"8BITMIME"):
            return _bad("BODY is 7BIT or 8BITMIME")
        if body == b"8BITMIME":
            facts["body"] = "8BITMIME"
    if b"RET" in given:
        ret = given[b"RET"].upper()
        if ret not in (b"FULL", b"HDRS"):
            return _bad("RET is FULL or HDRS")
        facts["ret"] = ret.decode("ascii")
    if b"ENVID" in given:
        envid = given[b"ENVID"]
        if not envid or len(envid) > ENVID_MAX_OCTETS or not _plain(from_xtext(envid)):
            return _bad("ENVID is at most 100 printable characters as xtext")
        facts["envid"] = envid.decode("ascii")          # as xtext: it holds no blank
    return _held(given, out)


def _held(given: dict[bytes, bytes], out: Wishes) -> Wishes | Outcome:
    """RFC 4865 §4: one of them, not both."""
    if b"HOLDFOR" in given:
        if b"HOLDUNTIL" in given or not _SECONDS.fullmatch(given[b"HOLDFOR"]):
            return _bad("HOLDFOR is a number of seconds, and stands without HOLDUNTIL")
        out.hold_for_s = int(given[b"HOLDFOR"])
    elif b"HOLDUNTIL" in given:
        out.hold_until = _time(given[b"HOLDUNTIL"])
        if out.hold_until is None:
            return _bad("HOLDUNTIL is a time such as 2027-01-31T09:00:00Z")
    return out


def _time(value: bytes) -> float | None:
    """date-time of RFC 3339 §5.6 as seconds since 1970."""
    from datetime import datetime
    match = _DATE_TIME.fullmatch(value.decode("ascii", "replace").upper())
    try:
        return datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3].replace('Z', '+00:00')}").timestamp() if match else None
    except (ValueError, OverflowError):
        return None


def rcpt(given: dict[bytes, bytes], *, utf8: bool) -> tuple[tuple[bytes, bytes], ...] | Outcome:
    """What the parameters of RCPT mean, as notes of the recipient.  utf8: whether MAIL said SMTPUTF8."""
    notes: tuple[tuple[bytes, bytes], ...] = ()
    if b"NOTIFY" in given:
        words = given[b"NOTIFY"].upper().split(b",")
        if words != [b"NEVER"] and (not all(word in WISHES for word in words) or len(set(words)) < len(words)):
            return _bad("NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY")
        notes += ((NOTIFY, b",".join(words)),)
    if b"ORCPT" in given:
        original = _original(given[b"ORCPT"], utf8)
        if original is None:
            return _bad("ORCPT is a type, ; and a printable address as xtext")
        notes += ((ORCPT, original),)
    return notes


def _original(value: bytes, utf8: bool) -> bytes | None:
    """ORCPT decoded: type ";" address, printable; None if it cannot be."""
    kind, semicolon, coded = value.partition(b";")
    if not semicolon or not _TYPE.fullmatch(kind) or not coded or len(value) > ORCPT_MAX_OCTETS:
        return None
    if kind.lower() != b"utf-8":
        address = from_xtext(coded)
        if utf8 and kind.lower() == b"rfc822" and address and not address.isascii() and is_text(address):
            return b"utf-8;" + address                  # Postfix 3.7 writes ORCPT=rfc822;j+C3+B6rg@x for RCPT TO:<jörg@x>
        return kind + b";" + address if address and _plain(address) else None
    if b"+" in coded or b"=" in coded or not (utf8 or coded.isascii()):
        return None
    try:
        text = _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), coded.decode("utf-8"))
        return kind + b";" + text.encode("utf-8") if text.isprintable() and "\\" not in text else None
    except (ValueError, OverflowError):                 # no character, or half of one
        return None


def from_xtext(value: bytes) -> bytes | None:
    """What stood before xtext; None if it is none."""
    if not _XTEXT.fullmatch(value):
        return None
    return _HEX.sub(lambda match: bytes((int(match[1], 16),)), value) if b"+" in value else value


def _plain(value: bytes | None) -> bool:
    """Printable ASCII, blanks included."""
    return value is not None and all(31 < octet < 127 for octet in value)


def is_text(data: bytes) -> bool:
    """Whether octets above 127 in a path are UTF-8 and nothing in it is a control character (RFC 6531 §3.3)."""
    try:
        return data.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False
