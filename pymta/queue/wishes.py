"""wishes: what a sender wants to hear of a recipient, and what the recipient was called at first (RFC 3461).

    Pymta-Notify: NEVER / 1#( SUCCESS / FAILURE / DELAY )        NOTIFY= as the sender gave it; without it: FAILURE,DELAY
    Pymta-Orcpt: type ";" address                                 ORCPT= as the sender gave it, decoded

An alias with several targets is one address to its sender: who wants to hear of its success hears once that it was "expanded", and
its targets are not asked for receipts (RFC 3461 §5.2.7.3 c).  Such targets are known by the original address they share.

Pure.  A note is never believed to be well-formed: drops of local programs bring it, too.
"""
from __future__ import annotations

from pymta.formats.queuefile import Envelope, Recipient
from pymta.proto.smtp_params import NOTIFY, ORCPT, ORCPT_MAX_OCTETS, WISHES, from_xtext

_TYPE = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"


def notify(recipient: Recipient) -> bytes:
    """NOTIFY= as it may be passed on: NEVER, keywords joined by commas, or b"" where the sender has said nothing."""
    given = _note(recipient, NOTIFY).upper().split(b",")
    if b"NEVER" in given:
        return b"NEVER"
    return b",".join(word for word in WISHES if word in given)


def wants(recipient: Recipient, what: str) -> bool:
    """Whether the sender wants to hear this (SUCCESS, FAILURE, DELAY) of a recipient; without a wish: failures and delays."""
    return what.encode("ascii") in (notify(recipient) or b"FAILURE,DELAY").split(b",")


def expanded(envelope: Envelope) -> dict[int, tuple[int, ...]]:
    """The recipients that came from one address with others, and of whose success the sender wants to hear: number -> all those numbers."""
    groups: dict[tuple[bytes, bytes], list[int]] = {}
    for number, recipient in enumerate(envelope.recipients):
        if recipient.notes and wants(recipient, "SUCCESS"):
            groups.setdefault((recipient.original, _note(recipient, ORCPT)), []).append(number)
    return {number: tuple(group) for group in groups.values() if len(group) > 1 for number in group}


def parted(envelope: Envelope, numbers: list[int]) -> list[Recipient]:
    """These recipients for a message of their own.  Of an alias whose targets part here the sender hears at once: they owe no receipt."""
    several = expanded(envelope)
    out = []
    for number in numbers:
        recipient = envelope.recipients[number]
        if number in several:
            notes = tuple((name, without_success(notify(recipient)) if name == NOTIFY else value) for name, value in recipient.notes)
            recipient = Recipient(recipient.kind, recipient.address, notes)
        out.append(recipient)
    return out


def without_success(wish: bytes) -> bytes:
    """A NOTIFY= that asks for no receipt, else the same."""
    return b",".join(word for word in wish.split(b",") if word != b"SUCCESS") or (b"NEVER" if wish else b"")


def orcpt(recipient: Recipient) -> bytes:
    """ORCPT= for the wire, ASCII; made from the address the sender wrote, where he gave none and an alias has changed it; else b""."""
    kind, _, text = original(recipient).partition(b";")
    if not text or kind.strip(_TYPE):
        return b""
    if kind.lower() == b"utf-8":
        coded = utf8_xtext(text.decode("utf-8", "replace"))
    else:
        coded = xtext(text)
    return b"%s;%s" % (kind, coded) if len(kind) + 1 + len(coded) <= ORCPT_MAX_OCTETS else b""


def original(recipient: Recipient) -> bytes:
    """What the recipient was called at first, as type ";" address; b"" where that is what it is called now."""
    given = _note(recipient, ORCPT)
    if given or recipient.original == recipient.address:
        return given
    return (b"rfc822;" if recipient.original.isascii() else b"utf-8;") + recipient.original


def xtext(data: bytes) -> bytes:
    """RFC 3461 §4."""
    return b"".join(bytes((c,)) if 32 < c < 127 and c not in b"+=" else b"+%02X" % c for c in data)


def is_xtext(data: bytes) -> bool:
    return from_xtext(data) is not None


def utf8_xtext(text: str) -> bytes:
    """utf-8-addr-xtext (RFC 6533 §3): what is not plain ASCII as \\x{HEX}."""
    return "".join(c if 32 < ord(c) < 127 and c not in "\\+=" else f"\\x{{{ord(c):X}}}" for c in text).encode("ascii")


def _note(recipient: Recipient, name: bytes) -> bytes:
    return next((value for key, value in recipient.notes if key == name), b"")
