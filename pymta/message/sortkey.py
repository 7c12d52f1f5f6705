"""sortkey: by what mail is sorted and threaded: base subjects, sent dates, names, message ids.     RFC 5256 §2, RFC 5957

    keys(fields) -> Keys        fields: of mime.fields
    pack(Keys) -> bytes         as the index keeps them; unpack is its inverse

Texts are collated already (RFC 5051, i;unicode-casemap): comparing them as they stand is right.  Total, and bounded by SUBJECT_MAX
and IDS_MAX whatever a header says.
"""
from __future__ import annotations

import datetime
import re
import struct
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Callable, NamedTuple

from pymta.message import addresslist, decode
from pymta.message.casemap import collate
from pymta.message.mime import Fields

SUBJECT_MAX = 1000                                      # characters that count
IDS_MAX = 500                                           # of a References field: the last ones are the nearest
_KNOWN_OCTETS = 500                                     # of an address field that is remembered
_FIELD_MAX = 10_000                                     # octets of an address field that may hold its first address

_BLOB = r"\[[^\[\]]*\]\s*"
_LEADER = re.compile(rf"(?:{_BLOB}){{0,50}}(?:re|fwd?)\s*(?:{_BLOB})?:\s*", re.IGNORECASE).match
_BLOB_FIRST = re.compile(_BLOB).match
_TRAILER = re.compile(r"(?:\(fwd\)|\s)\Z", re.IGNORECASE).search
_BLANKS = re.compile(r"\s+").sub
_ID = re.compile(rb"<\s*([^<>@\s]+@[^<>\s]+)\s*>").findall
_DATE = re.compile(rb"\s*(?:[A-Za-z]+\s*,?\s*)?(\d{1,2})[\s-]+([A-Za-z]{3})[A-Za-z]*[\s-]+(\d{2,4})\s+(\d{1,2})\s*:\s*(\d\d)(?:\s*:\s*(\d\d))?"
                   rb"(?:\s*([+-])(\d\d)(\d\d)|\s*([A-Za-z]+))?").match
_MONTHS = {name: number for number, name in enumerate(
    (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1)}
_ZONES = {b"EST": -5, b"EDT": -4, b"CST": -6, b"CDT": -5, b"MST": -7, b"MDT": -6, b"PST": -8, b"PDT": -7}       # RFC 5322 §4.3
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_HEAD = struct.Struct("<BH")
_IDS = [struct.Struct(f"<{count}Q") for count in range(20)]


class Keys(NamedTuple):
    """subject: base subject; reply: whether it was one of a reply or forward; from_, to, cc: local part of the first address;
    show_from, show_to: name of the first address, or the address; ids: hash of the message's id, 0 where it has none, then
    those of its ancestors, the nearest last."""

    subject: str
    reply: bool
    from_: str
    to: str
    cc: str
    show_from: str
    show_to: str
    ids: tuple[int, ...]


def keys(fields: Fields) -> Keys:
    get = fields.get
    subject, reply = base_subject(decode.header(get(b"subject", b"")[:_FIELD_MAX]))
    (from_, show_from), (to, show_to), (cc, _) = (_first(get(name)) for name in (b"from", b"to", b"cc"))
    own = _ID(get(b"message-id", b""))[:1]
    ancestors = _ID(get(b"references", b""))[-IDS_MAX:] or _ID(get(b"in-reply-to", b""))[:1]
    return Keys(collate(subject), reply, from_, to, cc, show_from, show_to, (_hash(own[0]) if own else 0, *map(_hash, ancestors)))


def pack(keys: Keys) -> bytes:
    texts = "\0".join((keys.subject, keys.from_, keys.to, keys.cc, keys.show_from, keys.show_to)).encode("utf-8", "replace")
    return _HEAD.pack(keys.reply, len(keys.ids)) + struct.pack(f"<{len(keys.ids)}Q", *keys.ids) + texts


def unpack(data: bytes, _new=tuple.__new__) -> Keys:
    reply, count = _HEAD.unpack_from(data)
    ids = (_IDS[count] if count < len(_IDS) else struct.Struct(f"<{count}Q")).unpack_from(data, _HEAD.size)
    subject, from_, to, cc, show_from, show_to = data[_HEAD.size + 8 * count:].decode().split("\0")
    return _new(Keys, (subject, bool(reply), from_, to, cc, show_from, show_to, ids))


def texts(which: list[int]) -> Callable[[bytes], Any]:
    """What reads these of packed keys: the one text, or a tuple of them.  0 to 5: subject, from_, to, cc, show_from, show_to."""
    pick = itemgetter(*which)

    def read(data: bytes) -> Any:
        return pick(data[_HEAD.size + 8 * int.from_bytes(data[1:_HEAD.size], "little"):].decode().split("\0"))
    return read


def _hash(id: bytes) -> int:
    return int.from_bytes(blake2b(id.replace(b'"', b""), digest_size=8).digest(), "little") or 1


def base_subject(text: str) -> tuple[str, bool]:
    """(base subject, whether something that says "reply" or "forward" was taken off): RFC 5256 §2.1"""
    text = _BLANKS(" ", text[:SUBJECT_MAX])
    reply = False
    while True:
        while found := _TRAILER(text):
            reply |= found[0] != " "
            text = text[:found.start()]
        while True:
            text = text.lstrip(" ")
            if found := _LEADER(text):
                reply = True
                text = text[found.end():]
            elif (found := _BLOB_FIRST(text)) and found.end() < len(text):
                text = text[found.end():]
            else:
                break
        if not (text[:5].lower() == "[fwd:" and text.endswith("]")):
            return text, reply
        reply = True
        text = text[5:-1]


def sent(value: bytes) -> int | None:
    """A Date field as seconds since 1970; None where it cannot be read."""
    found = _DATE(value)
    if found is None:
        return None
    day, month, year, hour, minute, second, sign, zone_hour, zone_minute, zone = found.groups()
    number = int(year)
    if len(year) < 4:                                   # RFC 5322 §4.3
        number += 2000 if len(year) == 2 and number < 50 else 1900
    try:
        days = datetime.date(number, _MONTHS[month.lower()], int(day)).toordinal() - _EPOCH
    except (KeyError, ValueError):
        return None
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        return None
    if sign:
        offset_s = (int(zone_hour) * 3600 + int(zone_minute) * 60) * (-1 if sign == b"-" else 1)
    else:
        offset_s = _ZONES.get((zone or b"").upper(), 0) * 3600
    return days * 86400 + int(hour) * 3600 + int(minute) * 60 + int(second or 0) - offset_s


def _first(value: bytes | None) -> tuple[str, str]:
    """(local part, name or address) of the first address of a field."""
    if not value:
        return "", ""
    return _known_first(value) if len(value) <= _KNOWN_OCTETS else _shown(value)


def _shown(value: bytes) -> tuple[str, str]:
    found = addresslist.parse(value[:_FIELD_MAX])
    if not found:
        return "", ""
    name, _, mailbox, host = found[0]
    local = decode.charset(mailbox or b"", b"utf-8")
    shown = decode.header(name) if name else local + "@" + decode.charset(host, b"utf-8") if host else local
    return collate(local), collate(shown)


_known_first = lru_cache(1024)(_shown)
