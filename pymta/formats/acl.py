"""acl: who may do what with one mailbox (dovecot-acl).                                            pymta-maildir(5)

    file       = *line
    line       = ["-"] identifier [SP rights] LF / "#" comment LF / LF
    identifier = "anyone" / "authenticated" / "owner" / "user=" name / "group=" name / "group-override=" name
                                                        ; in double quotes where it holds a blank, with "\\" before " and "\\"
    rights     = *letter [":" word *(SP word)]          ; letters of RFC 4314; words are Dovecot's: lookup read write ...

    user=ben@example.test lrs
    anyone l
    -user=eve@example.test lr

`dovecot-acl` lies in the directory of its mailbox.  Written by pymta-imapd and Dovecot, holding dovecot-acl.lock (a dot lock); replaced
whole, lines that are not touched stay as they are; readers need no lock.  A file with a line that cannot be read gives nobody but the
owner any right, for what that line took away is not known.  If lost: nobody but the owner has rights; no mail is touched.
"""
from __future__ import annotations

from typing import NamedTuple

NAME = b"dovecot-acl"
RIGHTS = "lrswipkxtea"                                  # RFC 4314 §2.1, in the order in which they are told
_WORDS = {"lookup": "l", "read": "r", "write-seen": "s", "write": "w", "insert": "i", "post": "p", "create": "k", "delete": "x",
          "write-deleted": "t", "expunge": "e", "admin": "a"}
_KINDS = ("anyone", "anonymous", "authenticated", "owner")


class Entry(NamedTuple):
    """identifier without the minus sign; negative: these rights are taken away; rights: letters in the order of RIGHTS."""

    identifier: str
    negative: bool
    rights: str


def decode(data: bytes) -> list[Entry]:
    """Lines about one identifier are one entry.  Raises ValueError: which line cannot be read, and why."""
    found: dict[tuple[str, bool], str] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            entry = _entry(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if entry:
            found[entry[:2]] = in_order(found.get(entry[:2], "") + entry.rights)
    return [Entry(identifier, negative, rights) for (identifier, negative), rights in found.items()]


def with_entry(data: bytes, entry: Entry) -> bytes:
    """The file with this entry in the place of the one there was; one without rights still says that less particular ones do not count.
    Raises ValueError."""
    return without(data, entry.identifier, entry.negative) + encode(entry) + b"\n"


def without(data: bytes, identifier: str, negative: bool) -> bytes:
    """The file without this entry.  Raises ValueError."""
    decode(data)
    return b"".join(line + b"\n" for line in data.split(b"\n") if line and not ((old := _entry(line)) and old[:2] == (identifier, negative)))


def encode(entry: Entry) -> bytes:
    name = ("-" if entry.negative else "") + entry.identifier
    if any(char in name for char in ' "\\'):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} {entry.rights}".rstrip().encode("utf-8", "surrogateescape")


def in_order(letters: str) -> str:
    """Each letter once.  Raises ValueError for what is none."""
    if unknown := set(letters) - set(RIGHTS):
        raise ValueError(f"no such right: {''.join(sorted(unknown))}")
    return "".join(letter for letter in RIGHTS if letter in letters)


def _entry(line: bytes) -> Entry | None:
    text = line.decode("utf-8", "surrogateescape").strip()
    if not text or text.startswith("#"):
        return None
    name, rest = _unquoted(text) if text.startswith('"') else text.partition(" ")[::2]
    letters, _, words = rest.strip().partition(":")
    try:
        rights = in_order(letters.strip() + "".join(_WORDS[word] for word in words.split()))
    except KeyError as error:
        raise ValueError(f"no such right: {error.args[0]}") from None
    negative, name = name.startswith("-"), name.removeprefix("-")
    kind, equals, who = name.partition("=")
    if not (name in _KINDS or equals and who and kind in ("user", "group", "group-override")) or "\0" in name:
        raise ValueError(f"no such identifier: {name!r}")
    return Entry("anyone" if name == "anonymous" else name, negative, rights)


def _unquoted(text: str) -> tuple[str, str]:
    out, at = "", 1
    while at < len(text) and text[at] != '"':
        at += text[at] == "\\"
        out += text[at:at + 1]
        at += 1
    if at >= len(text):
        raise ValueError("a quote is not closed")
    return out, text[at + 1:]
