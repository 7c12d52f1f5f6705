"""surrogate: what a client that takes no UTF-8 in headers is shown of an internationalised message.             RFC 6858 §2

    surrogate(message) -> message                       # the same object where nothing has to change

    Subject, Comments, Content-Description      encoded words (RFC 2047)
    From, To and other address fields           names as encoded words; a domain as A-labels; an address that has no ASCII form becomes
                                                invalid@internationalized-address.invalid, so that nobody answers it by mistake
    Content-Type, Content-Disposition           parameters as in RFC 2231
    any other field with octets above 127       left out

Only the message's own header changes; a body with 8-bit text goes as it always has.  A header that is not UTF-8 is no
internationalised message but an old sender's mistake, and is left as it is.  Pure and total.
"""
from __future__ import annotations

from pymta.message import address, addresslist, header, mime

NO_ADDRESS = b"invalid@internationalized-address.invalid"
_ADDRESSES = frozenset((b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"resent-from", b"resent-sender", b"resent-reply-to",
                        b"resent-to", b"resent-cc", b"resent-bcc"))
_TEXTS = frozenset((b"subject", b"comments", b"content-description"))
_MIME = frozenset((b"content-type", b"content-disposition"))
_TOKEN = b"!#$&+-.^_`{|}~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"      # RFC 2231 §7: attribute-char


def surrogate(message: bytes) -> bytes:
    """The message, or its first piece, with an ASCII header."""
    if message[:mime.header_end(message)].isascii():
        return message
    stop = header.end(message)
    try:
        message[:stop].decode("utf-8")
    except UnicodeDecodeError:
        return message
    return b"".join([_field(name, field) for name, field in header.fields(message[:stop])]) + message[stop:]


def _field(name: bytes, field: bytes) -> bytes:
    if field.isascii():
        return field
    title = field.partition(b":")[0].rstrip(b" \t")
    value = b" ".join(line.strip(b" \t\r") for line in field.partition(b":")[2].split(b"\n")).strip()
    if name in _TEXTS:
        return b"%s: %s\n" % (title, header.phrase(value))
    if name in _ADDRESSES:
        return b"%s: %s\n" % (title, _addresses(value))
    if name in _MIME:
        return b"%s: %s\n" % (title, _parameters(value))
    return b""


def _addresses(value: bytes) -> bytes:
    out: list[bytes] = []
    glue = b""
    for name, _, mailbox, host in addresslist.parse(value):
        if mailbox is None:                             # the end of a group
            out.append(b";")
            glue = b",\n "
        elif host is None:
            out += [glue, header.phrase(mailbox) or b'""', b": "]
            glue = b""
        else:
            out += [glue, _address(name, mailbox, host)]
            glue = b",\n "
    return b"".join(out)


def _address(name: bytes | None, mailbox: bytes, host: bytes) -> bytes:
    plain = address.ascii_form(mailbox + b"@" + host)
    if not plain.isascii():
        return header.mailbox(NO_ADDRESS, name or mailbox + b"@" + host)
    if not header.addresses(plain):                     # its local part was quoted
        plain = b'"%s"%s' % (mailbox.replace(b"\\", b"\\\\").replace(b'"', b'\\"'), plain[plain.rfind(b"@"):])
    return header.mailbox(plain, name or b"")


def _parameters(value: bytes) -> bytes:
    kind = value.partition(b";")[0].strip()
    out = [kind if kind.isascii() else b"application/octet-stream"]
    for name, text in mime.parameters(value):
        if not name.isascii():
            continue
        if text.isascii():
            out.append(b'%s="%s"' % (name, text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')))
        else:
            out.append(b"%s*=utf-8''%s" % (name.rstrip(b"*"), b"".join(b"%c" % octet if octet in _TOKEN else b"%%%02X" % octet for octet in text)))
    return b";\n ".join(out)
