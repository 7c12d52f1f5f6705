"""maildir: names of messages and folders in a Maildir.                                       pymta-maildir(5)

    name   = base [":2," *letter ["," rest]]            ; letters in ASCII order: DFRST, then keywords a-z
    base   = seconds "." unique "." host *("," key "=" value)      ; S octets on disk, W octets with CRLF, E EMAILID of what was copied;
                                                        ; foreign ones look otherwise
    folder = "." name-in-modified-UTF-7                 ; Maildir++: levels parted by ".", all beside each other in the root

    1795451102.M44310P20022Q3.mail,S=1834,W=1880:2,FSa

Written by whoever delivers, renames a message or makes a folder; read by everybody, and many write names of other shapes.
All functions here take any bytes and never fail; what they do not understand they leave as it is.
Letters we do not know (P of mutt, others) and what follows a second comma are kept.
If lost: a name is all a message has; its flags are in it, its UID is under its base in dovecot-uidlist.
"""
from __future__ import annotations

import itertools
import os
import re
import socket
from base64 import b64decode, b64encode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from hashlib import blake2b

from pymta import clock

LETTER_OF = {"\\Draft": b"D", "\\Flagged": b"F", "\\Answered": b"R", "\\Seen": b"S", "\\Deleted": b"T"}
FLAG_OF = {letter[0]: flag for flag, letter in LETTER_OF.items()}
KEYWORDS_MAX = 26
SUBDIRS = (b"tmp", b"new", b"cur")

_SIZE = re.compile(rb",S=(\d{1,19})(?=[,:]|\Z)")
_VSIZE = re.compile(rb",W=(\d{1,19})(?=[,:]|\Z)")
_EMAILID = re.compile(rb",E=([A-Za-z0-9_-]{1,64})(?=[,:]|\Z)")
_SECONDS = re.compile(rb"(\d{9,10})\.")
_ALL_SECONDS = re.compile(rb"(?:[1-9]\d{9}\.)*")
_ORDER = re.compile(rb"(\d{1,19})(?:\.[^.]*?M(\d{1,9}))?")


# ---- names of messages ------------------------------------------------------------------------------------------------
def base_of(name: bytes) -> bytes:
    """What stays the same when flags change."""
    return name.partition(b":")[0]


def letters_of(name: bytes) -> bytes:
    """The letters after ":2,", as they stand there."""
    return name.partition(b":2,")[2].partition(b",")[0]


def with_letters(name: bytes, letters: bytes) -> bytes:
    """The name with other letters; what follows a comma after them is kept."""
    base, _, info = name.partition(b":")
    rest = info.partition(b",")[2].partition(b",") if info.startswith(b"2,") else (b"", b"", b"")
    return b"%s:2,%s%s%s" % (base, letters, rest[1], rest[2])


def size_of(base: bytes) -> int | None:
    """Octets on disk as the name says."""
    found = _SIZE.search(base)
    return int(found[1]) if found else None


def vsize_of(base: bytes) -> int | None:
    """Octets with CRLF line ends as the name says."""
    found = _VSIZE.search(base)
    return int(found[1]) if found else None


def emailid_of(base: bytes) -> bytes:
    """What names the same octets wherever they are copied or moved to: the key E of a copy, made from the name of an original.  RFC 8474 §5.1"""
    found = _EMAILID.search(base)
    return found[1] if found else b"M" + urlsafe_b64encode(blake2b(base, digest_size=12).digest())


def saved_at(base: bytes) -> int | None:
    """When the message came into its mailbox, in seconds since 1970, where the name begins with a time."""
    found = _SECONDS.match(base)
    return int(found[1]) if found else None


def order_of(base: bytes) -> tuple[int, int, bytes]:
    """Sort key in which new messages get their UIDs: seconds and microseconds as numbers, then the name."""
    found = _ORDER.match(base)
    return (int(found[1]), int(found[2] or 0), base) if found else (1 << 63, 0, base)


def in_order(bases: list[bytes]) -> list[bytes]:
    """bases by order_of."""
    seconds = [base[:11] for base in bases]             # most begin with ten digits, and each with others: then this is all the key
    if len(set(seconds)) == len(bases) and _ALL_SECONDS.fullmatch(b"".join(seconds)):
        return sorted(bases)
    return sorted(bases, key=order_of)


_counter = itertools.count(1)
_host = re.sub(rb"[/:,\s]", lambda found: b"\\%03o" % found[0][0], os.fsencode(socket.gethostname()))[:64] or b"localhost"


def new_base(size: int, vsize: int | None, emailid: bytes = b"") -> bytes:
    """A base nobody else draws: time, pid and a counter.  vsize: None where nobody has counted; emailid: of what is copied."""
    seconds, micros = divmod(int(clock.now() * 1e6), 1_000_000)
    base = b"%d.M%06dP%dQ%d.%s,S=%d" % (seconds, micros, os.getpid(), next(_counter), _host, size)
    if vsize is not None:
        base += b",W=%d" % vsize
    return b"%s,E=%s" % (base, emailid) if emailid else base


def vsize_of_data(data: bytes) -> int:
    """Octets of data once every LF that lacks a CR has one."""
    return len(data) + data.count(b"\n") - data.count(b"\r\n")


# ---- flags ------------------------------------------------------------------------------------------------------------
def flags_of(letters: bytes, keywords: list[str | None]) -> frozenset[str]:
    """Flags as IMAP names them.  keywords: what the letters a, b, ... mean in this folder (None: nothing)."""
    flags = []
    for letter in letters:
        if letter in FLAG_OF:
            flags.append(FLAG_OF[letter])
        elif 97 <= letter < 97 + len(keywords):
            keyword = keywords[letter - 97]
            if keyword is not None:
                flags.append(keyword)
    return frozenset(flags)


def sorted_letters(letters: Iterable[int]) -> bytes:
    """In ASCII order, each once."""
    return bytes(sorted(set(letters)))


# ---- folder names: modified UTF-7, RFC 9051 Appendix A.1 / RFC 3501 §5.1.3 ---------------------------------------------
# Total and inverse on any bytes: a byte that canonical modified UTF-7 cannot hold becomes U+DC00 plus the byte, and back.
_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_PLAIN = frozenset(range(0x20, 0x7F)) - {0x26}


def decode_utf7(data: bytes) -> str:
    """Modified UTF-7 to text."""
    out: list[str] = []
    at = 0
    while at < len(data):
        byte = data[at]
        if byte in _PLAIN:
            out.append(chr(byte))
        elif byte == 0x26 and (found := _SHIFTED.match(data, at)) and (text := _unshift(found[1], data[found.end():])):
            out.append(text)
            at = found.end()
            continue
        else:
            out.append(chr(0xDC00 + byte))
        at += 1
    return "".join(out)


def _unshift(code: bytes, rest: bytes) -> str:
    """The text of one shifted run; "" unless it is exactly what encode_utf7 would write before rest."""
    if not code:
        return "&"
    try:
        text = b64decode(code.replace(b",", b"/") + b"=" * (-len(code) % 4), validate=True).decode("utf-16-be")
    except (Base64Error, UnicodeDecodeError, ValueError):
        return ""
    follows = (found := _SHIFTED.match(rest)) and found[1]
    if not text or _shift(text) != b"&%s-" % code or any(ord(c) < 0x80 and ord(c) in _PLAIN or c == "&" for c in text) or follows:
        return ""
    return text


def _shift(text: str) -> bytes:
    return b"&" + b64encode(text.encode("utf-16-be")).rstrip(b"=").replace(b"/", b",") + b"-"


def encode_utf7(text: str) -> bytes:
    """Text to modified UTF-7."""
    out: list[bytes] = []
    run: list[str] = []
    for char in text:
        code = ord(char)
        raw = 0xDC00 <= code <= 0xDCFF
        if run and (raw or code == 0x26 or code in _PLAIN):
            out.append(_shift("".join(run)))
            run.clear()
        if raw:
            out.append(bytes((code - 0xDC00,)))
        elif code == 0x26:
            out.append(b"&-")
        elif code in _PLAIN:
            out.append(bytes((code,)))
        else:
            run.append(char if not 0xD800 <= code <= 0xDFFF else "\ufffd")
    if run:
        out.append(_shift("".join(run)))
    return b"".join(out)


def folder_of(mailbox: str) -> bytes:
    """Directory of a mailbox within the Maildir: b"" for INBOX, else ".A.B"."""
    return b"" if is_inbox(mailbox) else b"." + encode_utf7(mailbox)


def mailbox_of(directory: bytes) -> str | None:
    """Mailbox of a directory within the Maildir; None if its name is not that of a folder."""
    if not directory.startswith(b".") or directory.startswith(b"..") or len(directory) < 2 or directory.endswith(b"."):
        return None
    name = decode_utf7(directory[1:])
    return None if is_inbox(name) or ".." in name else name


def is_inbox(mailbox: str) -> bool:
    return len(mailbox) == 5 and mailbox.upper() == "INBOX"


def refuse(mailbox: str) -> str | None:
    """Why a mailbox of this name cannot be made; None if it can."""
    if is_inbox(mailbox):
        return None
    if not mailbox or mailbox.startswith(".") or mailbox.endswith(".") or ".." in mailbox:
        return "a level of the name is empty"
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char in "/*%\u2028\u2029" for char in mailbox):
        return "the name holds a character that mailbox names cannot have"
    if any(0xD800 <= ord(char) <= 0xDFFF for char in mailbox):
        return "the name is not proper modified UTF-7"
    if len(folder_of(mailbox)) > 240:
        return "the name is too long"
    return None
