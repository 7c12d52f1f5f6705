"""mending: names of messages that are wrong are put right: two files of one name, a name that lies about its size."""
from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pymta import durable, log
from pymta.formats import maildir, uidlist
from pymta.mailbox.acting import locked, path_of

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder

_SIZES = re.compile(rb",[SW]=\d+(?=[,:]|\Z)")


def part_twins(folder: Folder, before: float) -> None:
    """Two files of one base that have been quiet since before: a second name of the same file goes, another file gets a base of
    its own."""
    with locked(folder):
        for base, twins in list(folder.scanner.twins.items()):
            if base not in folder.scanner.names:
                continue
            mine = os.stat(path_of(folder, base, folder.scanner.names[base]))
            for place in list(twins):
                path = path_of(folder, base, place)
                other = os.stat(path)
                if max(mine.st_ctime, other.st_ctime) > before:
                    continue
                if os.path.samestat(mine, other):
                    durable.unlink(path)
                    folder.scanner.renamed(base, place, None)
                else:
                    fresh = maildir.new_base(other.st_size, None)
                    durable.rename(path, path_of(folder, fresh, place))
                    durable.sync_dir(os.path.dirname(path))             # before anybody is told its UID
                log.event("tidy", mailbox=folder.directory, twin=base + place[1])
        folder.sync_locked()


def correct_size(folder: Folder, base: bytes) -> bool:
    """The file of this base, whose name says a wrong size, gets a name that says none; its UID, keys and EMAILID stay.  Whether it was there.

    Both names are there until the uidlist says the new one: a power cut meanwhile leaves the message with its UID, and perhaps a second of it."""
    fresh = _SIZES.sub(b"", base)
    if b",E=" not in base:
        fresh += b",E=" + maildir.emailid_of(base)
    with locked(folder):
        listed, place = folder.uidlist.list, folder.scanner.names.get(base)
        assert listed is not None
        if place is None or base not in listed.uids or fresh in listed.uids or fresh in folder.scanner.names:
            return False
        path, there = path_of(folder, base, place), path_of(folder, fresh, place)
        durable.link(path, there)
        durable.sync_dir(os.path.dirname(there))
        folder.scanner.added(fresh, place)
        uid = listed.uids[base]
        listed.uids = {fresh if each == base else each: number for each, number in listed.uids.items()}
        if uid in listed.keys:
            listed.keys[uid] = uidlist.with_key(uidlist.with_key(listed.keys[uid], b"W", None), b"S", None)
            if not listed.keys[uid]:
                del listed.keys[uid]
        folder.uidlist.rewrite()
        folder.contents.renamed(uid, fresh, place)
        durable.unlink(path)
        folder.scanner.renamed(base, place, None)
        durable.sync_dir(os.path.dirname(path))
        log.event("tidy", mailbox=folder.directory, renamed=base)
        return True
