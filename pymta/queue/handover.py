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

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pymta import durable, log
from pymta.formats import queuefile
from pymta.queue import places
from pymta.queue.intake import Draft, sync_each
from pymta.queue.message import Message

TMP, NEW = "in/qrun/tmp", "in/qrun/new"


@dataclass
class Handover:
    """drafts: the copies, written but not finished.  give_up: step 2; returns the directory to sync, or None if it has synced
    what it did.  then: called with the published paths when all is done."""

    drafts: list[Draft]
    give_up: Callable[[], str | None]
    then: Callable[[list[str]], None] = lambda paths: None
    source: str = ""
    paths: list[str] = field(default_factory=list)


def hand_over(batch: Iterable[Handover]) -> None:
    """Carry out a batch with as few syncs as possible.  What the disk refuses is logged and its source is left as it was."""
    ready = [job for job in batch if _attempt(job, _finish)]
    drafts = [draft for job in ready for draft in job.drafts]
    if drafts:
        results: list[OSError | None] = [None] * len(drafts)
        sync_each(drafts, results)
        failed = {id(draft): error for draft, error in zip(drafts, results, strict=True) if error is not None}
        ready = [job for job in ready if not any(id(draft) in failed for draft in job.drafts)
                 or _attempt(job, lambda job: _refuse(next(failed[id(d)] for d in job.drafts if id(d) in failed)))]
        durable.sync_dirs(draft.directory for job in ready for draft in job.drafts)
    directories: dict[str, None] = {}
    given: list[Handover] = []
    for job in ready:
        try:
            directory = job.give_up()
        except OSError as error:
            # Whether it was given up is not known now: the copy stays in tmp/, recover() decides at the next start.
            log.event("trouble", what=f"cannot give up {job.source}", why=error.strerror or str(error))
            for draft in job.drafts:
                draft.close()
            continue
        given.append(job)
        if directory:
            directories[directory] = None
    durable.sync_dirs(directories)
    for job in given:
        for draft in job.drafts:
            draft.close()
            job.paths.append(f"{NEW}/{draft.name}")
            durable.rename(draft.path, job.paths[-1])
        job.then(job.paths)


def _finish(job: Handover) -> None:
    for draft in job.drafts:
        draft.finish()


def _refuse(error: OSError) -> None:
    raise error


def _attempt(job: Handover, work: Callable[[Handover], object]) -> bool:
    try:
        work(job)
    except OSError as error:
        log.event("trouble", what=f"cannot write in {TMP}", source=job.source, why=error.strerror or str(error),
                  remedy="it is tried again within a minute")
        for draft in job.drafts:
            draft.discard()
        return False
    return True


def recover() -> list[str]:
    """At the start of the only runner: publish or remove what stands in in/qrun/tmp.  Returns the names of published files."""
    published = []
    for path in sorted(places.being_written()):
        name = os.path.basename(path)
        source = _source(path)
        if source is None or _still_owes(source):
            durable.unlink(path)
            log.event("tidy", file=path, why="torn" if source is None else f"{source} still stands")
        else:
            durable.rename(path, f"{NEW}/{name}")
            published.append(name)
            log.event("tidy", file=path, why=f"published: {source} has given it up")
    return published


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
