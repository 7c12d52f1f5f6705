"""objectid: names of mailboxes, messages and threads that stay the same.                                RFC 8474

    MAILBOXID   the GUID of the mailbox, in its dovecot-uidlist: kept by RENAME
    EMAILID     from the name of the file, or of the one it was copied from: kept by COPY and MOVE (formats/maildir)
    THREADID    from the message id that stands first in References, or In-Reply-To, or its own: a message never changes, nor does that
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from pymta.message import mime, sortkey

if TYPE_CHECKING:
    from pymta.proto.imap.fetch import Source


def mailbox(guid: bytes, uidvalidity: int) -> bytes:
    """MAILBOXID.  A mailbox that cannot be written may have no GUID; no other has its UIDVALIDITY."""
    return guid or b"V%d" % uidvalidity


def thread(keys: bytes, emailid: bytes) -> bytes:
    """THREADID.  keys: as the index holds them (message/sortkey).  A message that names no id is a thread of its own."""
    own, *ancestors = sortkey.unpack(keys).ids
    root = ancestors[0] if ancestors else own
    return b"T%016x" % root if root else b"T" + emailid


def thread_of(source: Source) -> bytes:
    entry = source.entry or source.folder.known(source.message)
    if entry is not None:
        return thread(entry.keys, source.message.emailid)
    return thread(sortkey.pack(sortkey.keys(mime.fields(source.header, 0, len(source.header)))), source.message.emailid)
