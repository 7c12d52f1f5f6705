"""casemap: i;unicode-casemap: texts are equal, or one stands in the other, if this says so of them.          RFC 5051, RFC 5255 §4.4

    collate("Grüße") -> "GRU\\u0308ßE"                   # collate_utf8: the same of UTF-8, in UTF-8

Every character in its simple title case, then decomposed (NFKD).  So a letter is found in itself with a mark, an accent given
apart or together is the same, and ß is not SS.  SEARCH, SORT and THREAD compare what comes out octet by octet, in UTF-8.
"""
from __future__ import annotations

import re
import unicodedata
from itertools import chain, zip_longest

_ODD_RANGES = (0x80, 0x3000), (0xA640, 0xABC0), (0xFB00, 0xFB20), (0xFF00, 0x11000), (0x118A0, 0x118E0), (0x16E40, 0x16E80), (0x1E900, 0x1E944)


def _title(one: str) -> str:
    """Simple title case: the one character, or itself where the full mapping has more."""
    title = one.title()
    return title if len(title) == 1 else one


# Characters for which str.upper() is something else: ligatures, digraphs, Greek with a iota below, Georgian; and ß, the one that is common.
_ODD = {chr(number): _title(chr(number)) for first, last in _ODD_RANGES for number in range(first, last)
        if _title(chr(number)) != chr(number).upper()}
_odd_ones = re.compile("([" + "".join(one for one in _ODD if one != "ß") + "]+)")


def collate(text: str) -> str:
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text.upper()
    if _odd_ones.search(text) is None:
        return unicodedata.normalize("NFKD", _upper(text))
    pieces = _odd_ones.split(text)
    pieces[::2] = [_upper(piece) for piece in pieces[::2]]
    pieces[1::2] = ["".join([_ODD[one] for one in piece]) for piece in pieces[1::2]]
    return unicodedata.normalize("NFKD", "".join(pieces))


def _upper(text: str) -> str:
    return "ß".join([piece.upper() for piece in text.split("ß")]) if "ß" in text else text.upper()


_ONLY_ASCII = bytes(number if number < 0x80 else 0x80 for number in range(256))
_NO_ASCII = bytes(number if number >= 0x80 else 0x20 for number in range(256))
_ascii = re.compile(rb"[\x00-\x7f]").search
_SLICE_OCTETS = 1 << 20


class _Known(dict[bytes, bytes]):
    """Runs of letters beyond ASCII that came before: in most languages few come again and again."""

    RUNS_MAX = 4096
    OCTETS_MAX = 32

    def __missing__(self, run: bytes) -> bytes:
        found = collate(run.decode()).encode()
        if len(run) <= self.OCTETS_MAX:
            if len(self) >= self.RUNS_MAX:
                self.clear()
            self[run] = found
        return found


_known = _Known()


def collate_utf8(octets: bytes) -> bytes:
    """octets: UTF-8.  What stands between two letters of ASCII is its own affair: no mark moves over them."""
    octets = octets.upper()
    if b"\0" in octets:
        octets = octets.replace(b"\0", b"")
    if octets.isascii():
        return octets
    out, at = [], 0
    while at < len(octets):                             # in slices, so that the pieces of a long text take no more room than it
        found = _ascii(octets, at + _SLICE_OCTETS)
        end = found.start() if found else len(octets)
        out.append(_slice(octets[at:end]))
        at = end
    return b"".join(out) if len(out) > 1 else out[0]


def _slice(octets: bytes) -> bytes:
    """The stretches of ASCII and the runs between them, found twice as fast as by a regular expression."""
    stretches = [stretch for stretch in octets.translate(_ONLY_ASCII).split(b"\x80") if stretch]
    runs = map(_known.__getitem__, octets.translate(_NO_ASCII).split())
    if octets[0] < 0x80:
        return b"".join(chain.from_iterable(zip_longest(stretches, runs, fillvalue=b"")))
    return b"".join(chain.from_iterable(zip_longest(runs, stretches, fillvalue=b"")))
