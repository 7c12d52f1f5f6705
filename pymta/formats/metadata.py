"""metadata: what clients have written down about a mailbox (IMAP METADATA, RFC 5464).            pymta-maildir(5)

    file   = "1" LF *entry
    entry  = name HTAB value LF                         ; name: /private/... or /shared/..., lower case
                                                        ; value: octets; \\, LF, CR, HTAB and NUL are written as \\ and \\ n r t 0
    1
    /private/specialuse	\\\\Drafts
    /shared/comment	what we agreed on in May

`metadata` lies in the directory of its mailbox, so it goes where the mailbox goes and is gone with it; `metadata-server` beside that of
INBOX holds what is about no mailbox.  /private/specialuse is the one place where a mailbox's role is kept that a client gave it.
Written by pymta-imapd, holding metadata.lock (a dot lock), replaced whole; readers need no lock.  Dovecot leaves it alone.
A line that cannot be read is left out (pymta-maildir check names it), and gone with the next change.  If lost: clients forget notes and roles; no mail is touched.
"""
from __future__ import annotations

import re

NAME, SERVER_NAME = b"metadata", b"metadata-server"
_HEAD = b"1\n"
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t", b"\0": b"\\0"}
_UNESCAPES = {code: char for char, code in _ESCAPES.items()}
_escape = re.compile(rb"[\\\n\r\t\0]").sub
_unescape = re.compile(rb"\\.", re.DOTALL).sub
_entry = re.compile(r"/(?:private|shared)(?:/[ -$&-)+-.0-\[\]-~]+)+").fullmatch       # no control characters, no / % * \, none beyond ASCII


def is_name(name: str) -> bool:
    """Whether an entry may have this name, in lower case."""
    return _entry(name) is not None


def decode(data: bytes) -> dict[str, bytes]:
    """name -> value.  Never raises: what cannot be read is left out."""
    return read(data)[0]


def read(data: bytes) -> tuple[dict[str, bytes], list[int]]:
    """(entries, numbers of the lines that cannot be read)"""
    if not data.startswith(_HEAD):
        return {}, [1]
    out: dict[str, bytes] = {}
    bad = []
    for number, line in enumerate(data[len(_HEAD):].split(b"\n"), 2):
        name, tab, value = line.partition(b"\t")
        if tab and name.isascii() and is_name(name.decode("ascii")):
            out[name.decode("ascii")] = _unescape(lambda found: _UNESCAPES.get(found[0], found[0]), value)
        elif line:
            bad.append(number)
    return out, bad


def encode(entries: dict[str, bytes]) -> bytes:
    return _HEAD + b"".join(b"%b\t%b\n" % (name.encode("ascii"), _escape(lambda found: _ESCAPES[found[0]], value))
                            for name, value in sorted(entries.items()))
