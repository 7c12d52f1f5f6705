"""tidying: what a mailbox lacks is made, what is old is removed, what was counted is written down."""
from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from pymta import clock, durable, log
from pymta.formats import maildir, uidlist
from pymta.mailbox.acting import locked
from pymta.mailbox.mending import part_twins
from pymta.mailbox.message import LIMBO

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder

_HEARD_S = 3600.0                                       # how long a session may take to hear of an expunge and still read
LIMBO_KEEP_S = _HEARD_S
TMP_KEEP_S = 36 * 3600.0                                # maildir(5): what is older was abandoned
TWIN_QUIET_S = 30.0
TIDY_BATCH = 2000
_LOOKED_AT_MAX = 100_000


def keep_expunged(seconds: float) -> None:
    """From now on, what was expunged waits in limbo for so long (never less than sessions may need it)."""
    global LIMBO_KEEP_S
    LIMBO_KEEP_S = max(seconds, _HEARD_S)


def heal(directory: bytes) -> None:
    """Make tmp, new and cur where they are missing."""
    for sub in maildir.SUBDIRS:
        path = os.path.join(directory, sub)
        if not os.path.isdir(path) and durable.mkdir(path, 0o700):
            log.event("tidy", mailbox=directory, made=sub)


def write_counted(folder: Folder) -> None:
    """Sizes that had to be counted go into the uidlist (key W), so that nobody counts again."""
    if not folder.sizes_counted:
        return
    with folder.lock:
        folder.sync_locked()
        assert folder.uidlist.list is not None
        keys = folder.uidlist.list.keys
        for uid, vsize in folder.sizes_counted.items():
            if uid in folder.contents.by_uid:
                keys[uid] = uidlist.with_key(keys.get(uid, b""), b"W", b"%d" % vsize)
        rewrite_uidlist(folder)
    folder.sizes_counted.clear()


def give_guid(folder: Folder) -> None:
    """A mailbox whose uidlist has no GUID gets one, if it can be written: clients know it by that."""
    try:
        with locked(folder):
            assert folder.uidlist.list is not None
            if not folder.guid:
                folder.uidlist.rewrite()
    except OSError as error:
        log.event("trouble", mailbox=folder.directory, why=f"no GUID: {error}")


def rewrite_uidlist(folder: Folder) -> None:
    """Under the lock: write the uidlist whole, without entries whose files are gone for certain."""
    assert folder.uidlist.list is not None
    names, listed = folder.scanner.names, folder.uidlist.list
    dead = [base for base in listed.uids if base not in names]
    for base in dead:
        listed.keys.pop(listed.uids.pop(base), None)
    folder.uidlist.rewrite()


def compress_uidlist(folder: Folder) -> None:
    """Under the lock: rewrite when a quarter of the lines are dead, as Dovecot does."""
    if folder.uidlist.list and len(folder.uidlist.list.uids) > 64 + len(folder.messages) * 4 // 3:
        rewrite_uidlist(folder)


def make_room(folder: Folder) -> bool:
    """The disk is full: empty limbo at once.  Whether there was anything."""
    return _sweep(os.path.join(folder.directory, LIMBO), float("inf"), limit=1_000_000) > 0


def tidy(folder: Folder) -> None:
    """Remove what is old in limbo and tmp (some at a time), and one of two names of one message.  At most once in a while."""
    now = clock.now()
    if abs(now - folder.tidied_at) < 600:
        return
    folder.tidied_at = now
    _sweep(os.path.join(folder.directory, LIMBO), now - LIMBO_KEEP_S)
    _sweep(os.path.join(folder.directory, b"tmp"), now - TMP_KEEP_S)
    if any(base in folder.scanner.names for base in folder.scanner.twins):
        part_twins(folder, now - TWIN_QUIET_S)


def _sweep(directory: bytes, before: float, limit: int = TIDY_BATCH) -> int:
    """Unlink up to limit files that nobody has touched (created, renamed, written) since before.  How many that were."""
    count = 0
    try:
        with os.scandir(directory) as entries:
            for entry in islice(entries, max(limit, _LOOKED_AT_MAX)):
                if count >= limit:
                    break
                status = entry.stat(follow_symlinks=False)
                if max(status.st_ctime, status.st_mtime) < before and entry.is_file(follow_symlinks=False):
                    count += durable.unlink_if_there(entry.path)
    except FileNotFoundError:
        pass
    return count
