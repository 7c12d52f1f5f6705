"""header: the header block of a message, read and completed as bytes.                      RFC 5322 §2.2, §3.4, §3.6

    message = *field [LF body]
    field   = name *WSP ":" text LF *(WSP text LF)          ; a name is 33-126 without ":"

Lines end in LF.  Every function is total: whatever the bytes, there is an answer and it takes linear time.  The module
imports nothing but time and binascii: pymta-inject, which lives for a few milliseconds, is built on it.
"""
from __future__ import annotations

import time
from binascii import b2a_base64
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ADDRESS_MAX_OCTETS = 320                                # RFC 5321 §4.5.3.1: 64 + "@" + 255

_NAME = bytes(c for c in range(33, 127) if c != ord(":"))
_NOT_WORD = b" \t\n\r\"(),.:;<>@[]"
_ATEXT = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~"
_CONTROLS = bytes(range(32)) + b"\x7f"
_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


# ---- fields -----------------------------------------------------------------------------------------------------------
def field_name(line: bytes) -> bytes:
    """The name a line would have as the first line of a field, in lower case; empty if it is not a header line."""
    name, colon, _ = line.partition(b":")
    name = name.rstrip(b" \t")
    return name.lower() if colon and name and not name.strip(_NAME) else b""


def end(message: bytes) -> int:
    """The offset just after the last field: where the empty line stands, or the first line that is no field."""
    at, size = 0, len(message)
    while at < size:
        stop = message.find(b"\n", at) + 1 or size
        if message[at] in b" \t":
            if at == 0 or not message[at:stop].strip(b" \t\n"):     # RFC 5322 §3.2.2: a folded line holds something
                break
        elif not field_name(message[at:stop]):
            break
        at = stop
    return at


def split(message: bytes) -> tuple[bytes, bytes]:
    """(header, body): the fields, each ended by LF, and what follows the empty line.  A message whose first lines are no
    fields has an empty header; text that follows fields without an empty line is body."""
    stop = end(message)
    header, body = message[:stop], message[stop:]
    if header and not header.endswith(b"\n"):
        header += b"\n"
    line, newline, rest = body.partition(b"\n")
    return header, rest if newline and not line.strip(b" \t") else body


def fields(header: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name in lower case, the whole field with its name and line ends) of each field.  Stops at the end of the header."""
    at, stop = 0, end(header)
    while at < stop:
        after = header.find(b"\n", at) + 1 or stop
        name = field_name(header[at:after])
        while after < stop and header[after] in b" \t":
            after = header.find(b"\n", after) + 1 or stop
        yield name, header[at:after]
        at = after


def value(field: bytes) -> bytes:
    """What a field says: unfolded (RFC 5322 §2.2.3), without name and outer blanks."""
    return field.partition(b":")[2].replace(b"\n", b"").strip(b" \t")


def get(header: bytes, name: bytes) -> bytes | None:
    """The value of the first field of that name, or None."""
    name = name.lower()
    return next((value(field) for found, field in fields(header) if found == name), None)


def get_all(header: bytes, name: bytes) -> list[bytes]:
    """The values of all fields of that name, in order."""
    name = name.lower()
    return [value(field) for found, field in fields(header) if found == name]


def remove(header: bytes, names: Iterable[bytes]) -> bytes:
    """The header without the fields of these names."""
    gone = {name.lower() for name in names}
    return b"".join(field for name, field in fields(header) if name not in gone)


# ---- addresses: RFC 5322 §3.4, with what is found in the wild -----------------------------------------------------------
def scan(text: bytes) -> Iterator[tuple[bytes | None, int, int]]:
    """(address, start, stop) for each address of an address list.

    text is the value of To, Cc, ... (folded or not) or one command line argument.  Comments, display names, group names and
    source routes are passed over; a semicolon parts addresses too.  start and stop say where in text the address stands.
    address is None where text[start:stop] is not an address, and empty for "<>".
    """
    words: list[tuple[bytes, int, int]] = []            # tokens since the last separator
    angle, done = False, False                          # inside <>; this address has had its <>
    for kind, start, stop in _tokens(text):
        if kind == b"<":
            words, angle = [], True
        elif kind == b">":
            if angle:
                yield _address(words, start)
            words, angle, done = [], False, True
        elif kind == b":":                              # what stood before is a group's name or a route
            words = []
        elif kind in (b",", b";"):
            if angle and words and words[0][0] == b"@" and kind == b",":
                words = []                              # <@a,@b:user@c>
                continue
            if words and not done:
                yield _address(words, start)
            words, angle, done = [], False, False
        else:
            words.append((kind, start, stop))
    if words and not done:
        yield _address(words, len(text))


def addresses(text: bytes) -> list[bytes]:
    """The well-formed addresses of an address list, in order."""
    return [address for address, _, _ in scan(text) if address]


def _tokens(text: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(token, start, stop); a token is an atom, a quoted string, a domain literal or one of <>@,;:.  Comments are left out."""
    at, size = 0, len(text)
    while at < size:
        char = text[at]
        stop = at + 1
        if char in b" \t\n\r":
            at = stop
            continue
        if char in b"(\"[":
            stop = _closing(text, at)
        elif char not in _NOT_WORD:
            while stop < size and text[stop] not in _NOT_WORD:
                stop += 1
        if char != 40:                                  # "("
            yield text[at:stop], at, stop
        at = stop


def _closing(text: bytes, at: int) -> int:
    """The offset behind the comment, quoted string or domain literal that opens at `at`; the end of text if it never closes."""
    opening, closing = {40: (40, 41), 34: (-1, 34), 91: (-1, 93)}[text[at]]
    depth, size = 0, len(text)
    at += 1
    while at < size:
        char = text[at]
        if char == 92:                                  # backslash
            at += 1
        elif char == closing:
            if depth == 0:
                return at + 1
            depth -= 1
        elif char == opening:
            depth += 1
        at += 1
    return size


def _address(words: list[tuple[bytes, int, int]], here: int) -> tuple[bytes | None, int, int]:
    """The address that these tokens spell, or None: local-part ["@" domain]."""
    if not words:
        return b"", here, here
    start, stop = words[0][1], words[-1][2]
    cut = max((i for i, word in enumerate(words) if word[0] == b"@"), default=len(words))
    local, domain = [word[0] for word in words[:cut]], [word[0] for word in words[cut + 1:]]
    if not local or b"@" in local or _crowded(local) or cut < len(words) and (not domain or _crowded(domain)):
        return None, start, stop
    host = b"".join(domain).rstrip(b".")
    if not all(_fits(word, b'"') for word in local) or not all(_fits(word, b"[") for word in domain):
        return None, start, stop
    found = _local_part(local) + (b"@" + host if domain else b"")
    if len(found) > ADDRESS_MAX_OCTETS or any(char in _CONTROLS for char in found):
        return None, start, stop
    if not b"".join(local).strip(b".") or domain and (not host or host.startswith(b".") or b".." in host):
        return None, start, stop
    return found, start, stop


def _fits(word: bytes, opening: bytes) -> bool:
    """Whether a token is an atom (UTF-8 included, RFC 6531 §3.3), a dot, or the bracketed thing that begins with opening."""
    if word[:1] == opening:
        return True
    return word == b"." or all(char > 127 or char in _ATEXT for char in word)


def _crowded(words: list[bytes]) -> bool:
    """Whether two words stand side by side with no dot between: a name, not an address."""
    return any(left != b"." and right != b"." for left, right in pairwise(words))


def _local_part(words: list[bytes]) -> bytes:
    """One dot-string or one quoted string; quotes that are not needed go (RFC 5321 §4.1.2)."""
    if not any(word[:1] == b'"' for word in words):
        return b"".join(words)
    plain = b"".join(_unquote(word) if word[:1] == b'"' else word for word in words)
    if plain and not plain.strip(_ATEXT + b".") and not plain.startswith(b".") and not plain.endswith(b"."):
        return plain
    return b'"' + plain.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _unquote(word: bytes) -> bytes:
    inner, out, at = word[1:-1] if len(word) > 1 and word.endswith(b'"') else word[1:], bytearray(), 0
    while at < len(inner):
        if inner[at] == 92 and at + 1 < len(inner):
            at += 1
        if inner[at] != 10:                             # RFC 5322 §2.2.3: folding is not part of the value
            out.append(inner[at])
        at += 1
    return bytes(out)


def qualify(address: bytes, host: bytes) -> bytes:
    """The address with a domain: host where it has none."""
    return address if not address or _has_domain(address) else address + b"@" + host


def _has_domain(address: bytes) -> bool:
    """A quoted local part may hold an "@" of its own."""
    return b"@" in (address[_closing(address, 0):] if address.startswith(b'"') else address)


def qualify_field(field: bytes, host: bytes) -> bytes:
    """An address field (To, From, ...) in which every address without a domain has got host."""
    name, colon, text = field.partition(b":")
    out, at = [name + colon], 0
    for address, _, stop in scan(text):
        if address and not _has_domain(address):
            out += text[at:stop], b"@", host
            at = stop
    return b"".join((*out, text[at:])) if at else field


# ---- making -----------------------------------------------------------------------------------------------------------
def date(now: float, zone_s: int | None = None) -> bytes:
    """A date-time (RFC 5322 §3.3) for seconds since 1970, without looking at the locale.  zone_s: seconds east of UTC; None
    is the zone of this host at that time."""
    if zone_s is None:
        zone_s = time.localtime(now).tm_gmtoff or 0
    then = time.gmtime(now + zone_s)
    return b"%s, %d %s %d %02d:%02d:%02d %s%02d%02d" % (
        _DAYS[then[6]], then[2], _MONTHS[then[1] - 1], then[0], then[3], then[4], then[5],
        b"-" if zone_s < 0 else b"+", abs(zone_s) // 3600, abs(zone_s) // 60 % 60)


def message_id(id: str, host: bytes) -> bytes:
    """A Message-ID (RFC 5322 §3.6.4) made of a queue id, which no other message of this host bears."""
    return b"<%s@%s>" % (id.encode("ascii"), host)


def phrase(name: bytes) -> bytes:
    """A display name as it must be written: as it is, quoted, or as an encoded word (RFC 2047) where it is not ASCII."""
    name = b" ".join(name.split())
    if not name.isascii():
        return _encoded_words(name)
    name = bytes(c for c in name if c not in _CONTROLS)
    if not name.strip(_ATEXT + b" "):
        return name
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _encoded_words(name: bytes) -> bytes:
    """Encoded words of at most 75 octets, never parting a character (RFC 2047 §2, §5)."""
    try:
        pieces, charset = [char.encode() for char in name.decode("utf-8")], b"utf-8"
    except UnicodeDecodeError:
        pieces, charset = [name[i:i + 1] for i in range(len(name))], b"iso-8859-1"
    words, run = [], b""
    for piece in pieces:
        if len(run) + len(piece) > 42:
            words.append(run)
            run = b""
        run += piece
    return b"\n ".join(b"=?%s?B?%s?=" % (charset, b2a_base64(word, newline=False)) for word in [*words, run])


def mailbox(address: bytes, full_name: bytes = b"") -> bytes:
    """name-addr or addr-spec (RFC 5322 §3.4)."""
    name = phrase(full_name)
    return b"%s <%s>" % (name, address) if name else address


_QUALIFIED = frozenset((b"from", b"sender", b"reply-to", b"to", b"cc", b"resent-from", b"resent-sender", b"resent-reply-to",
                        b"resent-to", b"resent-cc"))
_DROPPED = frozenset((b"bcc", b"resent-bcc", b"return-path", b"content-length"))


def complete(header: bytes, *, now: float, host: bytes, sender: bytes, full_name: bytes = b"", id: str) -> bytes:
    """The header of a message from a local program, made whole (RFC 6409 §8, RFC 5322 §3.6).

    Date, From and Message-ID are added where they are missing, or, in a message that is being resent, their Resent-
    counterparts (RFC 5322 §3.6.6), which belong on top.  Addresses without a domain get host.  Bcc goes, as do
    Return-Path, which is ours to write, and Content-Length, which nobody keeps true.
    """
    seen: set[bytes] = set()
    kept: list[bytes] = []
    for name, field in fields(header):
        seen.add(name)
        if name not in _DROPPED:
            kept.append(qualify_field(field, host) if name in _QUALIFIED else field)
    resent = any(name.startswith(b"resent-") for name in seen)
    prefix = b"Resent-" if resent else b""
    added = b"".join(b"%s%s: %s\n" % (prefix, name, text()) for name, text in (
        (b"Date", lambda: date(now)),
        (b"From", lambda: mailbox(sender or b"MAILER-DAEMON@" + host, full_name if sender else b"Mail Delivery System")),
        (b"Message-ID", lambda: message_id(id, host)),
    ) if prefix.lower() + name.lower() not in seen)
    return added + b"".join(kept) if resent else b"".join(kept) + added
