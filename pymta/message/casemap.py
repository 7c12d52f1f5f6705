"""casemap: i;unicode-casemap: texts are equal, or one stands in the other, if this says so of them.          RFC 5051, RFC 5255 §4.4

    collate("Grüße") -> "GRU\\u0308ßE"

Every character in its simple title case, then decomposed (NFKD).  So a letter is found in itself with a mark, an accent given
apart or together is the same, and ß is not SS.  SEARCH, SORT and THREAD compare what comes out octet by octet, in UTF-8.
"""
from __future__ import annotations

import re
import unicodedata

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
