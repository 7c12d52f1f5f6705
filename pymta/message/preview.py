"""preview: the first words of a message, for lists of mail.                                        RFC 8970 §3

    of(data, root) -> str       at most CHARACTERS_MAX, one blank between words; "" where there is nothing to say

From the first text part that says something (an attachment is none): words of HTML are what stands outside of its tags, and what is quoted
from others counts only where nothing else is said, behind a ">".  Total, in time linear in TRIES * OCTETS_MAX whatever a message holds.
"""
from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator

from pymta.message import decode, mime, transfer
from pymta.message.mime import Part

CHARACTERS_MAX = 200
OCTETS_MAX = 1 << 17                                    # of a part, as it is encoded
TRIES = 5                                               # text parts that are looked at
_PARTS_MAX = 1000
_STEPS_OCTETS = (1 << 10, 1 << 13, OCTETS_MAX)          # the first is enough of plain text as a rule, the second of HTML

_INVISIBLE = dict.fromkeys((0xAD, 0x34F, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF))
_JOINER = "\u034f"
_CONTROL = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")
_TRANSLATED = _CONTROL | _INVISIBLE

_LIKE_ASCII = ("ascii", "utf-8", "iso8859-1", "cp1252", None)

_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:]*)").match
_TAG_END = re.compile(r"""(?:[^"'>]+|"[^"]*"|'[^']*')*+>""").match
_INLINE = frozenset(("a", "abbr", "acronym", "b", "big", "cite", "code", "em", "font", "i", "ins", "kbd", "label", "mark", "o:p", "q", "s", "samp",
                     "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var", "wbr"))
_UNSEEN = {name: re.compile(f"</{name}", re.IGNORECASE).search for name in ("script", "style", "title")}

Words = Iterator[tuple[bool, str]]                      # (whether it is quoted, text)


def of(data: bytes, root: Part) -> str:
    """data: the message; root: what mime.scan made of it."""
    tries = TRIES
    for part in _texts(root):
        tries -= 1
        for octets_max in _STEPS_OCTETS:
            whole = part.end - part.body <= octets_max
            said = _said(data, part, min(part.end, part.body + octets_max), whole)
            if whole or len(said) >= CHARACTERS_MAX - 1:      # a blank at the cut is gone
                break
        if said or not tries:
            return said
    return ""


def _texts(root: Part) -> Iterator[Part]:
    """Text parts in order, without what is attached."""
    left, looked_at = [root], 0
    while left and looked_at < _PARTS_MAX:
        part = left.pop()
        looked_at += 1
        if part.parts:
            left += reversed(part.parts)
        elif part.type == b"text" and part.subtype in (b"plain", b"html") \
                and mime.first_word(part.fields.get(b"content-disposition", b"")) != b"attachment":
            yield part


def _said(data: bytes, part: Part, end: int, whole: bool) -> str:
    try:
        octets = b"".join(transfer.pieces(data, part.body, end, transfer.encoding(part)))
    except transfer.UnknownEncoding:
        return ""
    text = _text(octets, mime.parameter(part.parameters, b"charset"), whole)
    quoted: list[str] = []
    own: list[str] = []
    count = 0
    for is_quoted, piece in (_of_html if part.subtype == b"html" else _of_plain)(text):
        if not piece.isprintable() or _JOINER in piece:     # all others that are not seen are not printable
            piece = piece.translate(_TRANSLATED)
        (quoted if is_quoted else own).append(piece)
        count += 0 if is_quoted else len(" ".join(piece.split()))
        if count > CHARACTERS_MAX:
            break
    return _cut("".join(own)) or _cut(">" + " ".join("".join(quoted).split()) if quoted else "", least=2)


def _cut(text: str, least: int = 1) -> str:
    text = " ".join(text.split())[:CHARACTERS_MAX].rstrip()
    return text if len(text) >= least else ""


def _text(octets: bytes, name: bytes, whole: bool) -> str:
    """As decode.charset, of octets that may end in the middle of a character."""
    codec = decode.codec(name)
    if octets.isascii() and codec in _LIKE_ASCII:
        return octets.decode("ascii")
    for one in (codec, "utf-8"):
        try:
            if one:
                return codecs.getincrementaldecoder(one)().decode(octets, whole)
        except (ValueError, LookupError):
            pass
    return octets.decode("latin-1")


def _of_plain(text: str) -> Words:
    for line in text.splitlines():
        if line.startswith(">"):
            yield True, line.lstrip("> ") + " "
        else:
            yield False, line + " "


def _of_html(text: str) -> Words:
    """What is read outside of tags, comments, scripts and styles.  Every search goes forward, and one that fails is the last of its kind."""
    at = depth = 0
    quotes = True                                       # whether quotes within tags come in pairs so far
    while (mark := text.find("<", at)) >= 0:
        yield depth > 0, html.unescape(text[at:mark])
        found = _TAG(text, mark)
        if found is None:
            at = _behind_other(text, mark)
            if at == mark + 1:
                yield depth > 0, "<"
            if at < 0:
                return
            continue
        closing, name = bool(found[1]), found[2].lower()
        end = _TAG_END(text, found.end()) if quotes else None
        quotes = end is not None
        at = end.end() if end else text.find(">", found.end()) + 1
        if not at:
            return
        if name == "blockquote":
            depth = max(0, depth + (-1 if closing else 1))
        if name in _UNSEEN and not closing:
            end = _UNSEEN[name](text, at)
            if end is None:
                return
            at = end.start()
        if name not in _INLINE:
            yield depth > 0, " "
    yield depth > 0, html.unescape(text[at:])


def _behind_other(text: str, mark: int) -> int:
    """Behind a "<" that begins no tag: a comment, a declaration, or only that character; -1 where it has no end."""
    if text.startswith("<!--", mark):
        end = text.find("-->", mark + 4)
        return end + 3 if end >= 0 else -1
    if text[mark + 1:mark + 2] in ("!", "?", "/"):
        end = text.find(">", mark)
        return end + 1 if end >= 0 else -1
    return mark + 1
