"""index: what was found out about the messages of one folder, ready to send (pymta-index, pymta-index-text).   pymta-maildir(5)

    pymta-index        = head *row                      ; of 64 octets each, little-endian
    pymta-index-text   = head *text                     ; row says where
    head = "pymtaidx" version UIDVALIDITY stamp zeros   ; the same random stamp in both files: they belong together
    row  = offset crc uid envelope bodystructure parts keys vsize internaldate sent header preview
    text = ENVELOPE BODYSTRUCTURE PARTS KEYS PREVIEW    ; their lengths stand in the row

Where only headers were read, BODYSTRUCTURE is empty, which it never is otherwise, and so are PARTS and PREVIEW; a later row of the same UID has them.

Writers: whoever had to look at a message anyway, holding flock(2) on pymta-index.  Readers need no lock.  Appended to only: text
first, then its rows.  Nothing of it is synced: crc covers the row behind it, the message's base and its text, and is checked
whenever a text is read, so that what a power cut, a copied file or another message under this UID left there is never told.
Both files may be removed at any moment, and are removed by whoever finds them damaged.
If lost: messages are read once more.
"""
from __future__ import annotations

import secrets
import struct
from typing import NamedTuple
from zlib import crc32

ROWS_NAME, TEXT_NAME = b"pymta-index", b"pymta-index-text"
VERSION = 6
ROW_OCTETS = HEAD_OCTETS = 64

_HEAD = struct.Struct("<8sII16s32x")
_ROW = struct.Struct("<QIIIIIIQdqII")
_BODY = struct.Struct("<IIIIIQdqII")
_MAGIC = b"pymtaidx"
assert _ROW.size == _BODY.size + 12 == ROW_OCTETS


class Entry(NamedTuple):
    """envelope, bodystructure: as IMAP sends them; parts: see index/describe; keys: message/sortkey; preview: message/preview, as IMAP sends it.  vsize: octets with CRLF; header: octets of
    the header with CRLF; internaldate: seconds since 1970; sent: the same of the
    Date field, the internal date where that cannot be read."""

    uid: int
    envelope: bytes
    bodystructure: bytes
    vsize: int
    internaldate: float
    header: int = 0
    sent: int = 0
    parts: bytes = b""
    keys: bytes = b""
    preview: bytes = b""

    @property
    def is_whole(self) -> bool:
        """Whether more than the header was read."""
        return bool(self.bodystructure)


class Packed(NamedTuple):
    """An entry on its way into the files: all of its row but the offset."""

    rest: bytes
    text: bytes

    @property
    def uid(self) -> int:
        return int.from_bytes(self.rest[4:8], "little")

    def row(self, offset: int) -> bytes:
        return offset.to_bytes(8, "little") + self.rest


def new_head(uidvalidity: int) -> bytes:
    return _HEAD.pack(_MAGIC, VERSION, uidvalidity, secrets.token_bytes(16))


def fits(head: bytes, uidvalidity: int) -> bool:
    """Whether this is the head of a file that this program and this UIDVALIDITY can use."""
    if len(head) != HEAD_OCTETS:
        return False
    magic, version, stands, _ = _HEAD.unpack(head)
    return (magic, version, stands) == (_MAGIC, VERSION, uidvalidity)


def encode(entry: Entry, base: bytes) -> Packed:
    body = _BODY.pack(entry.uid, len(entry.envelope), len(entry.bodystructure), len(entry.parts), len(entry.keys), entry.vsize,
                      entry.internaldate, entry.sent, entry.header, len(entry.preview))
    text = b"".join((entry.envelope, entry.bodystructure, entry.parts, entry.keys, entry.preview))
    return Packed(crc32(text, crc32(body, crc32(base))).to_bytes(4, "little") + body, text)


def span(rows: bytes | bytearray, at: int) -> tuple[int, int, int]:
    """(UID, offset of its text, octets of it) of the row at this offset."""
    offset, _, uid, envelope, structure, parts, keys, _, _, _, _, preview = _ROW.unpack_from(rows, at)
    return uid, offset, envelope + structure + parts + keys + preview


def copied(rows: bytes | bytearray, at: int, text: bytes, base: bytes, uid: int, new_base: bytes) -> Packed | None:
    """The same entry for a copy of the message that has this UID and base; None where decode would give None."""
    body = bytes(rows[at + 12:at + ROW_OCTETS])
    if crc32(text, crc32(body, crc32(base))).to_bytes(4, "little") != rows[at + 8:at + 12]:
        return None
    body = uid.to_bytes(4, "little") + body[4:]
    return Packed(crc32(text, crc32(body, crc32(new_base))).to_bytes(4, "little") + body, text)


def decode(rows: bytes | bytearray, at: int, text: bytes, base: bytes, _new=tuple.__new__) -> Entry | None:
    """The entry of the row at this offset and its text; None if it is not whole, or not that of the message with this base."""
    _, crc, uid, envelope, structure, parts, keys, vsize, internaldate, sent, header, _ = _ROW.unpack_from(rows, at)
    if crc32(text, crc32(rows[at + 12:at + ROW_OCTETS], crc32(base))) != crc:
        return None
    structure += envelope
    parts += structure
    keys += parts
    return _new(Entry, (uid, text[:envelope], text[envelope:structure], vsize, internaldate, header, sent, text[structure:parts],
                        text[parts:keys], text[keys:]))
