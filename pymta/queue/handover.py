"""handover: give what one queue file owes to another one, exactly once, over any crash.

The runner writes three kinds of message itself: the routed copy of a drop, the remote part of a mixed message, and bounces and
notices.  Each takes over a debt from a source.  The order is always this:

    1. the copy stands in in/qrun/tmp/, whole, synced, with a fact src= that names its source
    2. the source gives the debt up (the drop is unlinked; a record is appended), synced
    3. the copy is renamed into in/qrun/new/

A crash before 2 leaves a source that still owes: the copy is removed and made again.  A crash after 2 leaves a copy whose source
owes nothing any more: it is published.  `recover` tells the two apart.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pymta import durable, log
from pymta.formats import queuefile
from pymta.queue import places
from pymta.queue.intake import Draft, sync_each
from pymta.queue.message import Message

TMP, NEW = "in/qrun/tmp", "in/qrun/new"

# Copies that a refusing disk has left in TMP: path -> source.  Nothing more is handed over from a source before recover() has decided
# on its copy: two copies would both be published at the next start.
_left: dict[str, str] = {}


@dataclass
class Handover:
    """drafts: the copies, written but not finished.  give_up: step 2; returns the directory to sync, or None if it has synced
    what it did.  then: called with the published paths when all is done.  done: whether the source has given its debt up."""

    drafts: list[Draft]
    give_up: Callable[[], str | None]
    then: Callable[[list[str]], None] = lambda paths: None
    source: str = ""
    paths: list[str] = field(default_factory=list)
    done: bool = False


def hand_over(batch: Iterable[Handover]) -> None:
    """Carry out a batch with as few syncs as possible.  What the disk refuses is logged and its source is left as it was."""
    ready = [job for job in batch if _finish(job)]
    _sync(ready)
    directories: dict[str, None] = {}
    given = [job for job in ready if _give_up(job, directories)]
    for directory in directories:
        try:
            durable.sync_dir(directory)
        except OSError as error:                        # it has gone for everybody but a power cut
            log.event("trouble", what=f"cannot sync {directory}", why=error.strerror or str(error), remedy="mend the disk")
    for job in given:
        for draft in job.drafts:
            draft.close()
            try:
                durable.rename(draft.path, f"{NEW}/{draft.name}")
                job.paths.append(f"{NEW}/{draft.name}")
            except OSError as error:                    # recover() will do it
                _left[draft.path] = _debt(job)
                log.event("trouble", what=f"cannot publish {draft.path}", why=error.strerror or str(error), remedy="it is tried again within a minute")
        job.then(job.paths)


def _debt(job: Handover) -> str:
    return next((draft.envelope.facts.get("src", "") for draft in job.drafts), "")


def _finish(job: Handover) -> bool:
    try:
        if _left and _debt(job) in _left.values():
            raise OSError(errno.EAGAIN, "an earlier copy is still to be removed")
        for draft in job.drafts:
            draft.finish()
    except OSError as error:
        return _failed(job, error)
    return True


def _sync(ready: list[Handover]) -> None:
    """Make the copies durable, name and data; takes those that cannot be out of ready."""
    drafts = [draft for job in ready for draft in job.drafts]
    results: list[OSError | None] = [None] * len(drafts)
    sync_each(drafts, results)
    errors: dict[str, OSError] = {draft.path: error for draft, error in zip(drafts, results, strict=True) if error is not None}
    for directory in dict.fromkeys(draft.directory for draft in drafts):
        try:
            durable.sync_dir(directory)
        except OSError as error:
            errors.update((draft.path, error) for draft in drafts if draft.directory == directory)
    for job in list(ready):
        why = next((errors[draft.path] for draft in job.drafts if draft.path in errors), None)
        if why is not None:
            _failed(job, why)
            ready.remove(job)


def _give_up(job: Handover, directories: dict[str, None]) -> bool:
    """Step 2.  Where it fails, the source itself tells whether it has been done: a record may be written and its sync refused."""
    try:
        directory = job.give_up()
    except OSError as error:
        if not job.drafts or _still_owes(_debt(job)):
            return _failed(job, error)
        directory = None
        log.event("trouble", what=f"cannot sync {job.source}", why=error.strerror or str(error), remedy="mend the disk")
    job.done = True
    if directory:
        directories[directory] = None
    return True


def _failed(job: Handover, error: OSError) -> bool:
    log.event("trouble", what=f"cannot write in {TMP}", source=job.source, why=error.strerror or str(error),
              remedy="it is tried again within a minute")
    for draft in job.drafts:
        draft.discard()
        if os.path.lexists(draft.path):
            _left[draft.path] = _debt(job)
    return False


def recover_left() -> None:
    """Decide on what a disk has refused to let us publish or remove.  Not while something is being handed over."""
    if _left:
        recover()


def recover() -> None:
    """Publish or remove what stands in in/qrun/tmp: left by a crash, or by a disk that refused.  Not while something is being handed over."""
    for path in sorted(places.being_written()):
        try:
            source = _source(path)
            if source is None or _still_owes(source):
                durable.unlink(path)
                log.event("tidy", file=path, why="torn" if source is None else f"{source} still stands")
            else:
                durable.rename(path, f"{NEW}/{os.path.basename(path)}")
                log.event("tidy", file=path, why=f"published: {source} has given it up")
            _left.pop(path, None)
        except OSError as error:
            log.event("trouble", what=f"cannot tidy {path}", why=error.strerror or str(error), remedy="it is tried again within a minute")


def _source(path: str) -> str | None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not queuefile.is_whole(fd):
            return None
        return queuefile.read_envelope(fd)[0].facts.get("src")
    except queuefile.Damaged:
        return None
    finally:
        os.close(fd)


def _still_owes(source: str) -> bool:
    """source: "drop:PATH" owes while PATH stands; "record:NAME:ATTEMPT:WORD" owes while the queue file NAME has no such record,
    wherever it stands: a power cut may have put it back to where it came from."""
    kind, _, rest = source.partition(":")
    if kind == "drop":
        return os.path.lexists(rest)
    name, attempt, word = rest.rsplit(":", 2)
    path = places.find(name.partition(".")[0])
    if path is None:
        return False                                    # it has left the queue, which it does only after the record is on disk
    with Message(path) as message:
        return not any(record.attempt == int(attempt) and record.word == word for record in message.records)
