"""structure: ENVELOPE, BODY and BODYSTRUCTURE of a message, as the bytes IMAP sends.                  RFC 3501 §7.4.2

Made from the tree of mime.py, so that an index may keep the answers ready to send.  What a field says is sent as it stands
(encoded words and RFC 2231 parameters are the client's to decode): as a quoted string where it is plain ASCII, as a
literal where it is not.
"""
from __future__ import annotations

import re
from functools import lru_cache

from pymta.message import addresslist, mime
from pymta.message.mime import Part

_PLAIN = re.compile(rb"[\t !#-\[\]-~]{0,4096}").fullmatch
_PRINTABLE = re.compile(rb"[\t -~]{0,4096}").fullmatch
_KNOWN_OCTETS = 500                                     # a longer field is not remembered
_SPECIAL = re.compile(rb'(["\\])').sub


def string(value: bytes) -> bytes:
    """value as an IMAP string."""
    if _PLAIN(value):
        return b'"%b"' % value
    if _PRINTABLE(value):
        return b'"%b"' % _SPECIAL(rb"\\\1", value)
    if b"\0" in value:
        value = value.replace(b"\0", b"\x80")
    return b"{%d}\r\n%b" % (len(value), value)


def nstring(value: bytes | None) -> bytes:
    return b"NIL" if value is None else string(value)


def envelope(part: Part) -> bytes:
    """The ENVELOPE of a message (the root, or what stands in a message/rfc822).

    Absent fields are NIL, empty ones "".  Where From is absent it is taken from Sender, so that from, sender and reply-to
    are never NIL, as RFC 3501 §7.4.2 has it; where that is absent too it is one empty address.
    """
    get = part.fields.get
    sender = _addresses(get(b"sender"))
    from_ = _addresses(get(b"from"))
    if from_ == b"NIL":
        from_ = sender if sender != b"NIL" else b'((NIL NIL "" ""))'
    reply_to = _addresses(get(b"reply-to"))
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(get(b"date")), nstring(get(b"subject")), from_, from_ if sender == b"NIL" else sender,
        from_ if reply_to == b"NIL" else reply_to, _addresses(get(b"to")), _addresses(get(b"cc")), _addresses(get(b"bcc")),
        nstring(get(b"in-reply-to")), nstring(get(b"message-id")))


def _addresses(value: bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    return _known_addresses(value) if len(value) <= _KNOWN_OCTETS else _said(value)


def _said(value: bytes) -> bytes:
    out = [b"(%b %b %b %b)" % (nstring(name), nstring(route), nstring(mailbox), nstring(host))
           for name, route, mailbox, host in addresslist.parse(value)]
    return b"(%b)" % b"".join(out) if out else b"NIL"


_known_addresses = lru_cache(1024)(_said)                # in a mailbox the same few people write again and again


def body(part: Part, *, extended: bool) -> bytes:
    """BODYSTRUCTURE (extended) or BODY of a part."""
    if part.type == b"multipart":
        return _multipart(part, extended)
    fields = part.fields
    out = [string(part.type), string(part.subtype), _parameters(part.parameters), nstring(fields.get(b"content-id")),
           nstring(fields.get(b"content-description")),
           string(mime.first_word(fields.get(b"content-transfer-encoding", b"")) or b"7bit"),
           b"%d" % (part.end - part.body)]
    if part.is_message:
        inner = part.parts[0]
        out += [envelope(inner), body(inner, extended=extended), b"%d" % part.lines]
    elif part.type == b"text":
        out.append(b"%d" % part.lines)
    if extended:
        out += [nstring(fields.get(b"content-md5")), *_extension(fields)]
    return b"(%b)" % b" ".join(out)


def _multipart(part: Part, extended: bool) -> bytes:
    # A multipart without parts cannot be said in the grammar: it shows one empty text, as in Dovecot.
    inner = b"".join([body(one, extended=extended) for one in part.parts]) or _EMPTY[extended]
    if not extended:
        return b"(%b %b)" % (inner, string(part.subtype))
    return b"(%b %b %b %b)" % (inner, string(part.subtype), _parameters(part.parameters), b" ".join(_extension(part.fields)))


_EMPTY = {False: b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)',
          True: b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)'}


def _parameters(all_of: mime.Parameters) -> bytes:
    return b"(%b)" % b" ".join([string(text) for pair in all_of for text in pair]) if all_of else b"NIL"


def _extension(fields: mime.Fields) -> tuple[bytes, bytes, bytes]:
    """Disposition, language, location."""
    disposition = language = b"NIL"
    value = fields.get(b"content-disposition")
    if value is not None and (word := mime.first_word(value)):
        disposition = b"(%b %b)" % (string(word), _parameters(mime.parameters(value)))
    value = fields.get(b"content-language")
    if value is not None and (tags := [tag.strip() for tag in mime.without_comments(value).split(b",")[:mime.PARAMETERS_MAX] if tag.strip()]):
        language = b"(%b)" % b" ".join(map(string, tags))
    return disposition, language, nstring(fields.get(b"content-location"))
