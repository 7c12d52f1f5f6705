"""dsn: the message that tells a sender what became of a mail.                    RFC 3464, RFC 6522, RFC 6533, RFC 3834

    report = multipart/report; report-type=delivery-status
               text/plain                what happened, why, and what to do next
               message/delivery-status   the same for programs
               message/rfc822            the mail itself, if the report says "failed" and the mail is at most 50 kB
               text/rfc822-headers       else its header

Where an address is not ASCII the second part is message/global-delivery-status, in UTF-8, and the third message/global or
message/global-headers if the mail's header is not ASCII either (RFC 6533).

Pure: facts in, bytes out (lines ended by LF).  Everything that came from outside is made harmless here: addresses, reply texts
and the returned mail can break neither the fields nor the MIME structure.  Parts with octets above 127 are labelled 8bit.
The caller sends it with the null reverse-path, and never for a message that had one itself.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from pymta.message import header
from pymta.outcome import clean

RETURN_MAX_OCTETS = 50_000
LINE_MAX_OCTETS = 998                                   # RFC 5322 §2.1.1
SHOWN_MAX = 50                                          # recipients named in the text for people; the other part has all
ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")

# What to do next, by the last two numbers of the status (RFC 3463), else by the middle one.
ADVICE = {
    "1.1": "The address does not exist. Check its spelling; perhaps it was given up.",
    "1.2": "The part behind the @ is not known on the Internet. Check its spelling.",
    "1.3": "The address is not well-formed. Check its spelling.",
    "1.6": "The recipient has moved and left no new address.",
    "1.7": "The address this was sent from is not accepted. Ask your administrator.",
    "1.8": "The domain this was sent from is not known. Ask your administrator.",
    "1.10": "The part behind the @ takes no mail at all. Check its spelling.",
    "2.1": "The mailbox is switched off. Reach the recipient another way.",
    "2.2": "The recipient's mailbox is full. Tell them another way, and send the message again later.",
    "2.3": "The message is too big for this mailbox. Send it in parts, or put the files where they can be fetched.",
    "3.4": "The message is too big for that system. Send it in parts, or put the files where they can be fetched.",
    "4.1": "The recipient's mail server does not answer. Check the part behind the @; if it is right, send again later.",
    "4.3": "The name service of the recipient's domain does not answer. If this goes on, its administrator has to act.",
    "4.6": "The mail went round in a circle. The recipient's administrator has to correct the forwarding.",
    "4.7": "The recipient's mail server could not be reached for so long that we gave up. Check the address, or send again.",
    "6.3": "That system cannot take a message of this form. Send it as plain text.",
    "6.7": "That system cannot take an address or header with letters beyond ASCII. Use a plain address.",
    "7.1": "That system refuses this message. Its own words above may say how to be let in; else ask its administrator.",
    "7.26": "That system could not verify that the mail comes from you. Your administrator has to set up SPF, DKIM and DMARC.",
    "1": "Check the address.",
    "2": "The trouble lies with the recipient's mailbox. Tell them another way.",
    "3": "The trouble lies with the recipient's mail system. Send again later, or tell its administrator.",
    "4": "The trouble lies on the way. Send again later; if it stays, tell your administrator.",
    "5": "The two mail systems did not understand each other. Tell your administrator.",
    "6": "The form of the message was not accepted. Send it as plain text.",
    "7": "The message was refused by a rule of that system. Its own words above may say which.",
}


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recipient.

    final: the address that was tried; original: the one the sender wrote, where it differs, or b""; action: one of ACTIONS;
    status: enhanced code; text: the reason, a reply of the remote host word by word if smtp; remote: that host's name or "";
    last_attempt, retry_until: seconds since 1970 or None; orcpt: ORCPT as the sender gave it ("type;address"), b"" without.
    """

    final: bytes
    action: str
    status: str
    text: str
    original: bytes = b""
    remote: str = ""
    smtp: bool = False
    last_attempt: float | None = None
    retry_until: float | None = None
    orcpt: bytes = b""


def compose(fates: Sequence[Fate], *, now: float, host: str, id: str, sender: bytes, original: bytes, whole: bool = True,
            original_id: str = "", arrival: float | None = None, envid: str = "", ret: str = "") -> bytes:
    """The report as a message.

    host: the reporting MTA; id: the report's own queue id; sender: whom it goes to; original: the mail without envelope, or its
    beginning (at least its header, as far as RETURN_MAX_OCTETS) if not whole; original_id: its queue id; arrival: when it was
    accepted; envid: ENVID, decoded; ret: "FULL", "HDRS" or "" (RFC 3461 §4.3).
    """
    kind = next(action for action in ACTIONS if any(fate.action == action for fate in fates))
    fields, _ = header.split(original)
    text = "\n".join(_letter(kind, fates, host, fields, arrival)).encode("utf-8", "replace")
    full = kind == "failed" and ret != "HDRS" and whole and _returnable(original)
    returned = original if full else _headers_only(original, whole)
    utf8 = not all(address.isascii() for fate in fates for address in (fate.final, fate.original, fate.orcpt))
    status = _status(fates, host, original_id, arrival, envid, utf8)
    parts = (
        (b"text/plain; charset=" + (b"us-ascii" if text.isascii() else b"utf-8"), b"Notification", text),
        (b"message/global-delivery-status" if utf8 else b"message/delivery-status", b"Delivery report", status),
        (_type_of(returned, full, utf8), b"Undelivered message" if full else b"Headers of the message", returned),
    )
    boundary = _boundary(id, b"".join(content for _, _, content in parts))
    body = b"".join(
        b"--%s\nContent-Type: %s\nContent-Description: %s\nContent-Transfer-Encoding: %s\n\n%s\n" % (
            boundary, kind_of, title, _encoding(content), content) for kind_of, title, content in parts)
    top = _top(kind, fates, host, id, sender, fields, now)
    return b"%sContent-Type: multipart/report; report-type=delivery-status;\n boundary=\"%s\"\n" \
           b"Content-Transfer-Encoding: %s\n\nThis is a delivery report in MIME format.\n\n%s--%s--\n" % (
               top, boundary, _encoding(body), body, boundary)


def _type_of(returned: bytes, full: bool, utf8: bool) -> bytes:
    if utf8 and not header.split(returned)[0].isascii():
        return b"message/global" if full else b"message/global-headers"
    return b"message/rfc822" if full else b"text/rfc822-headers" + (b"" if returned.isascii() else b"; charset=utf-8")


def xtext_decode(text: str) -> str:
    """RFC 3461 §4: what stood before xtext; a broken "+HH" stays as it is.  The result may hold any character."""
    out, at = bytearray(), 0
    raw = text.encode("utf-8", "replace")
    while at < len(raw):
        pair = raw[at + 1:at + 3]
        if raw[at] == 0x2B and len(pair) == 2 and not pair.strip(b"0123456789ABCDEF"):
            out.append(int(pair, 16))
            at += 3
        else:
            out.append(raw[at])
            at += 1
    return out.decode("utf-8", "replace")


# ---- the header -------------------------------------------------------------------------------------------------------
def _top(kind: str, fates: Sequence[Fate], host: str, id: str, sender: bytes, fields: bytes, now: float) -> bytes:
    name = clean(host, 255).encode("ascii")
    out = [b"Date: " + header.date(now), b"From: Mail Delivery System <MAILER-DAEMON@%s>" % name, b"To: " + _to(sender),
           b"Subject: " + _subject(kind, fates), b"Message-ID: " + header.message_id(id, name),
           b"Auto-Submitted: auto-replied", b"MIME-Version: 1.0"]
    about = _plain_message_id(fields)
    if about:
        out[5:5] = [b"In-Reply-To: " + about, b"References: " + about]
    return b"\n".join(out) + b"\n"


def _to(sender: bytes) -> bytes:
    try:
        text = sender.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    return b"<%s>" % sender if text and text.isprintable() and len(sender) < 900 else b"undisclosed-recipients:;"


def _subject(kind: str, fates: Sequence[Fate]) -> bytes:
    concerned = [fate for fate in fates if fate.action == kind]
    whom = _wrote(concerned[0]) if len(concerned) == 1 else b""
    shown = whom.decode("ascii") if whom.isascii() and 0 < len(whom) <= 60 and whom.decode("ascii").isprintable() else \
        "a recipient" if len(concerned) == 1 else f"{len(concerned)} recipients"
    return {"failed": f"Undelivered: your mail to {shown}", "delayed": f"Delayed: your mail to {shown}",
            }.get(kind, f"Delivered: your mail to {shown}").encode("ascii")


def _plain_message_id(fields: bytes) -> bytes:
    """The Message-ID, if it is harmless."""
    found = header.get(fields, b"Message-ID") or b""
    text = found[1:-1]
    good = found[:1] == b"<" and found[-1:] == b">" and 0 < len(text) <= 250
    return found if good and all(32 < c < 127 and c not in b"<>" for c in text) else b""


# ---- for people -------------------------------------------------------------------------------------------------------
def _letter(kind: str, fates: Sequence[Fate], host: str, fields: bytes, arrival: float | None) -> Iterator[str]:
    """The lines of the text part."""
    yield f"This is the mail system at {clean(host, 255)}."
    yield ""
    subject = _subject_of(fields)
    which = "Your message" + (f' "{subject}"' if subject else "") + (f" of {_date(arrival)}" if arrival is not None else "")
    yield from wrap(which + {
        "failed": " could not be delivered to the recipients below. We have given up on them; a copy or the header of the message "
                  "follows at the end.",
        "delayed": " has not been delivered yet to the recipients below. You need to do nothing: we go on trying"
                   f"{_until(fates)}, and tell you if we have to give up.",
    }.get(kind, " was delivered to the recipients below."), 72, break_on_hyphens=False)
    yield ""
    for fate in fates[:SHOWN_MAX]:
        yield from _paragraph(fate)
    if len(fates) > SHOWN_MAX:
        yield f"... and {len(fates) - SHOWN_MAX} more, all of them named in the attached delivery report."
        yield ""


def _paragraph(fate: Fate) -> Iterator[str]:
    wrote = _wrote(fate)
    yield f"<{_shown(fate.final)}>"
    if wrote != fate.final:
        yield f"    (you wrote to <{_shown(wrote)}>)"
    what = {"failed": "Not delivered", "delayed": "Not delivered yet", "relayed": "Handed to a system that sends no receipts",
            "expanded": "Sent on to those this address stands for"}.get(fate.action, "Delivered")
    reason = clean(fate.text)
    if fate.remote and fate.smtp:
        reason = f"{clean(fate.remote, 255)} said: {reason}"
    yield from _indented(f"{what} ({clean(fate.status, 20)}): {reason}" if reason else f"{what}.")
    if fate.action == "failed" and (advice := _advice(fate.status)):
        yield from _indented(advice)
    yield ""


def _indented(text: str) -> list[str]:
    return wrap(text, 72, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _advice(status: str) -> str:
    _, _, rest = status.partition(".")
    return ADVICE.get(rest) or ADVICE.get(rest.partition(".")[0], "")


def _until(fates: Sequence[Fate]) -> str:
    last = max((fate.retry_until for fate in fates if fate.retry_until is not None), default=None)
    return "" if last is None else f" until {_date(last)}"


def _wrote(fate: Fate) -> bytes:
    return fate.original or fate.orcpt.partition(b";")[2] or fate.final


def _shown(text: bytes, limit: int = 200) -> str:
    """Bytes from outside as text a person can read: printable, one line, bounded."""
    shown = "".join(c if c.isprintable() else "?" for c in text.decode("utf-8", "replace"))
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def _subject_of(fields: bytes) -> str:
    """The original's Subject as a person reads it, or ""."""
    from email.header import decode_header, make_header
    raw = _shown(header.get(fields, b"Subject") or b"", 400)
    try:
        raw = str(make_header(decode_header(raw)))
    except (ValueError, LookupError):                   # HeaderParseError is a ValueError
        pass
    return _shown(" ".join(raw.split()).encode("utf-8", "replace"), 80).replace('"', "'")


def _date(when: float) -> str:
    return header.date(when).decode("ascii")


# ---- for programs: RFC 3464 §2 ----------------------------------------------------------------------------------------
def _status(fates: Sequence[Fate], host: str, original_id: str, arrival: float | None, envid: str, utf8: bool) -> bytes:
    """The fields of message/delivery-status: a group about the message, then one for each recipient.  ASCII, or with addresses in UTF-8
    for message/global-delivery-status."""
    about = [_field("Original-Envelope-Id", clean(envid)), _field("Reporting-MTA", f"dns; {clean(host, 255)}"),
             _field("Arrival-Date", _date(arrival)) if arrival is not None else ""]
    groups = ["".join(about)] + ["".join(_recipient(fate, original_id, utf8)) for fate in fates]
    return "\n".join(groups).encode("utf-8")


def _recipient(fate: Fate, original_id: str, utf8: bool) -> Iterator[str]:
    if fate.orcpt or fate.original and fate.original != fate.final:
        yield f"Original-Recipient: {_typed_as_given(fate.orcpt, utf8) or _typed(fate.original, utf8)}\n"
    yield f"Final-Recipient: {_typed(fate.final, utf8)}\n"
    yield f"Action: {fate.action}\n"
    yield f"Status: {_status_code(fate)}\n"
    if remote := clean(fate.remote, 255):
        yield _field("Remote-MTA", f"dns; {remote}")
    if text := clean(fate.text):
        yield _field("Diagnostic-Code", f"{'smtp' if fate.smtp else 'x-pymta'}; {text}")
    if fate.last_attempt is not None:
        yield _field("Last-Attempt-Date", _date(fate.last_attempt))
    if original_id:
        yield _field("Final-Log-ID", clean(original_id, 60))
    if fate.retry_until is not None and fate.action == "delayed":
        yield _field("Will-Retry-Until", _date(fate.retry_until))


def _status_code(fate: Fate) -> str:
    """The status, if it is one (RFC 3463 §2) and says what the action says; else the plainest that does."""
    first = {"failed": "5", "delayed": "4"}.get(fate.action, "2")
    parts = fate.status.split(".")
    good = len(parts) == 3 and all(part.isascii() and part.isdecimal() and len(part) <= 3 for part in parts)
    return ".".join((first, parts[1], parts[2])) if good and parts[0] in "245" else f"{first}.0.0"


def _typed(address: bytes, utf8: bool) -> str:
    """address-type and address (RFC 3464 §2.3.1); beyond ASCII as utf-8-addr-unitext, or as utf-8-addr-xtext where utf8 may not stand
    (RFC 6533 §3)."""
    text = address[:900 if address.isascii() else 300].decode("utf-8", "replace")       # a line has 998 octets
    if text.isascii() and text.isprintable():
        return f"rfc822; {text}"
    return "utf-8; " + "".join(c if 32 < ord(c) < 127 and c not in "\\+=" or utf8 and ord(c) > 127 and c.isprintable() else f"\\x{{{ord(c):02X}}}"
                               for c in text)


def _typed_as_given(orcpt: bytes, utf8: bool) -> str:
    """ORCPT back as a field (RFC 3461 §4.2, decoded by who took it), or "" if its type is no word."""
    kind, _, address = orcpt.partition(b";")
    if kind.lower() in (b"rfc822", b"utf-8"):
        return _typed(address, utf8)
    word = kind.decode("latin-1")
    good = word.isascii() and word.replace("-", "a").isalnum() and len(word) < 40
    return f"{word}; {clean(address[:800].decode('latin-1'), 800)}" if good and address else ""


def _field(name: str, text: str) -> str:
    """A field folded at blanks, or nothing without text, which is printable ASCII (clean() bounds a word longer than a line)."""
    if not text.strip():
        return ""
    lines = wrap(f"{name}: {text}", 76, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    if lines[0] == f"{name}:":                          # RFC 5322 §3.2.2: no line of blanks, no empty first line
        lines[:2] = [f"{name}: {lines[1].strip()}"]
    return "\n".join(lines) + "\n"


# ---- the mail itself --------------------------------------------------------------------------------------------------
def _returnable(original: bytes) -> bool:
    """Whether the whole mail may go back: bounded, and nothing in it that cannot travel."""
    if len(original) > RETURN_MAX_OCTETS or b"\0" in original or b"\r" in original:
        return False
    return all(len(line) <= LINE_MAX_OCTETS for line in original.split(b"\n"))


def _headers_only(original: bytes, whole: bool) -> bytes:
    """The header of the mail, made of whole fields, bounded, with lines that can travel."""
    beginning = original[:RETURN_MAX_OCTETS]
    fields = [field for _, field in header.fields(beginning)]
    if fields and header.end(beginning) == len(beginning) and (not whole or len(original) > len(beginning)):
        fields.pop()                                    # the last one may be cut
    lines = [_harmless(line) for line in b"".join(fields).split(b"\n")]
    return b"\n".join(lines).rstrip(b"\n") + b"\n"


def _harmless(line: bytes) -> bytes:
    cut = line if len(line) <= LINE_MAX_OCTETS else line[:LINE_MAX_OCTETS - 4] + b" ..."
    return bytes(c if c >= 32 and c != 127 or c == 9 else 63 for c in cut)


def _boundary(id: str, content: bytes) -> bytes:
    """A boundary that does not occur in content (RFC 2046 §5.1.1)."""
    number = 0
    while (boundary := b"=_%s.%d" % (id.encode("ascii"), number)) in content:
        number += 1
    return boundary


def _encoding(content: bytes) -> bytes:
    return b"7bit" if content.isascii() else b"8bit"
