"""subscriptions: which mailboxes a user wants to see.                                        pymta-maildir(5)

    file    = version2 / version1
    version2 = "V" HTAB "2" LF LF *(level *(HTAB level) LF)     ; what we write
    version1 = *(name LF)                                       ; levels parted by "."

    V<HTAB>2

    INBOX
    Archive<HTAB>2024

Levels are in modified UTF-7; LF, CR, HTAB and 0x01 within one are written as 0x01 and a letter, as Dovecot does.
Writers: pymta-imapd and Dovecot, holding subscriptions.lock (a dot lock); replaced whole.  Readers need no lock.
If lost: clients show no folders until they subscribe again (many show all).
"""
from __future__ import annotations

from pymta.formats.maildir import decode_utf7, encode_utf7, is_inbox

NAME = b"subscriptions"
_HEAD = b"V\t2\n\n"
_ESCAPES = {b"\x01": b"\x011", b"\t": b"\x01t", b"\r": b"\x01r", b"\n": b"\x01n"}


def decode(data: bytes) -> list[str]:
    """Mailbox names in the file's order, each once."""
    names: dict[str, None] = {}
    levels = data.startswith(b"V\t2\n")
    for line in (data.partition(b"\n")[2] if levels else data).split(b"\n"):
        line = line.rstrip(b"\r")
        if line:
            raw = b".".join(_unescape(level) for level in line.split(b"\t")) if levels else line
            name = decode_utf7(raw)
            names["INBOX" if is_inbox(name) else name] = None
    return list(names)


def encode(names: list[str]) -> bytes:
    return _HEAD + b"".join(b"\t".join(_escape(encode_utf7(level)) for level in name.split(".")) + b"\n" for name in names)


def _escape(level: bytes) -> bytes:
    for char, code in _ESCAPES.items():
        level = level.replace(char, code)
    return level


def _unescape(level: bytes) -> bytes:
    for char, code in reversed(_ESCAPES.items()):
        level = level.replace(code, char)
    return level
