"""delivery: put messages into Maildirs, exactly once.  Runs as the uid that owns the mailboxes; knows nothing of the queue's places.

A message with one recipient here is delivered by renaming the queue file: it is in the queue or in the Maildir, never in both and
never in neither, so nothing has to be synced.  Where that cannot be (several recipients, another uid or file system) it is copied,
in two steps between which the caller makes its intent durable:

    prepare   Maildir/tmp/KEY is whole and synced, name and data      KEY comes from the queue id and the recipient's number
    (intent)  the caller has noted KEY, synced
    publish   Maildir/tmp/KEY is renamed into new/, synced

After a crash a KEY that was noted and is missing from tmp/ has been published, wherever the user may have moved or deleted it since;
one that is still there has not.  A KEY that was not noted is written again.
"""
from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from pymta import durable, outcome
from pymta.formats import maildirsize, queuefile
from pymta.formats.queuefile import LOCAL, Envelope, Recipient
from pymta.outcome import Outcome

_CHUNK_OCTETS = 1 << 18
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Copy:
    """One copy to make.  fd: the open queue file; number: the recipient's; noted: whether its intent was noted before a crash;
    outcome: how it ended, or None while it goes on; quota: what the mailbox may hold in octets, or 0; room: what is left of that, once
    it is known; size_octets: of the copy."""

    fd: int
    envelope: Envelope
    number: int
    maildir: str
    folders: tuple[str, ...]
    host: str
    noted: bool = False
    outcome: Outcome | None = None
    base: str = ""
    quota: int = 0
    room: int | None = None
    size_octets: int = 0

    @property
    def key(self) -> str:
        return f"{self.envelope.id}.{self.number}"

    @property
    def tmp(self) -> str:
        return f"{self.maildir}/tmp/{self.key}"


def base_name(envelope: Envelope, number: int, host: str, size_octets: int, lines: int) -> str:
    """The name in a Maildir: unique by queue id and recipient, with the exact sizes (S: octets here, W: with CR LF)."""
    return f"{int(queuefile.birth(envelope.id))}.Q{envelope.id}R{number}.{host},S={size_octets},W={size_octets + lines}"


def by_rename(path: str, fd: int, envelope: Envelope, maildir: str, folders: tuple[str, ...], host: str) -> bool:
    """Deliver a queue file with one recipient by renaming it.  False where only a copy will do (another file system).

    Raises FileNotFoundError if the queue file has gone, other OSError where the Maildir cannot be written.
    """
    if os.fstat(fd).st_size != envelope.size_octets:
        durable.truncate(path, envelope.size_octets)    # the records of earlier attempts
    target = f"{maildir}/new/{base_name(envelope, 0, host, envelope.size_octets, envelope.lines)}"
    os.fchmod(fd, 0o600)
    try:
        durable.rename(path, target)
    except FileNotFoundError:
        if not os.path.lexists(path):
            raise
        _make(maildir, folders)
        durable.rename(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def prepare(copies: list[Copy]) -> None:
    """Step one for each copy without an outcome.  Sets outcome on those that ended: delivered before the crash, or refused."""
    directories: set[str] = set()
    written: list[Copy] = []
    rooms: dict[str, int] = {}                          # Maildir -> what is left when those before this copy have come
    for copy in copies:
        recipient = copy.envelope.recipients[copy.number]
        top = queuefile.seal(_envelope_for(copy.envelope, recipient), 0, 0, 0)
        rest = copy.envelope.size_octets - copy.envelope.head_octets
        lines = copy.envelope.lines - _lines_of_head(copy) + top.count(b"\n")
        copy.size_octets = len(top) + rest
        copy.base = base_name(copy.envelope, copy.number, copy.host, copy.size_octets, lines)
        try:
            if copy.noted:
                if not os.path.lexists(copy.tmp):
                    copy.outcome = outcome.DELIVERED
                else:
                    os.utime(copy.tmp)                  # mail readers tidy tmp/ after 36 hours, and that would tell us a lie
            elif copy.quota and (refused := _over_quota(copy, rooms)) is not None:
                copy.outcome = refused
            else:
                _write(copy, recipient)
                written.append(copy)
        except OSError as error:
            copy.outcome = refusal(error, copy.maildir)
    for copy in written:                                # not each at once: the first commits the file system's journal for them all
        try:
            durable.sync_file(copy.tmp)
            directories.add(f"{copy.maildir}/tmp")
        except OSError as error:
            copy.outcome = refusal(error, copy.maildir)
            _discard(copy)
    for directory in directories:
        try:
            durable.sync_dir(directory)
        except OSError as error:
            for copy in copies:
                if copy.outcome is None and os.path.dirname(copy.tmp) == directory:
                    copy.outcome = refusal(error, copy.maildir)


def _over_quota(copy: Copy, rooms: dict[str, int]) -> Outcome | None:
    """Why the mailbox has no room for a copy, None if it has.  Raises OSError."""
    left = rooms.get(copy.maildir)
    if left is None:
        left = maildirsize.room(copy.maildir, copy.quota, copy.size_octets)
    copy.room = rooms[copy.maildir] = left
    if copy.size_octets > copy.quota:
        return outcome.OVER_QUOTA
    if copy.size_octets > left:
        return outcome.MAILBOX_FULL.because(f"mailbox is full: {max(0, left)} octets left of {copy.quota}")
    copy.room = rooms[copy.maildir] = left - copy.size_octets
    return None


def _envelope_for(envelope: Envelope, recipient: Recipient) -> Envelope:
    return Envelope(envelope.sender, [recipient], envelope.id)


def _lines_of_head(copy: Copy) -> int:
    return os.pread(copy.fd, copy.envelope.head_octets, 0).count(b"\n")


def _write(copy: Copy, recipient: Recipient) -> None:
    """Maildir/tmp/KEY, not yet synced: the message below an envelope with this recipient only (nobody learns of the others)."""
    _discard(copy)
    if not os.path.isdir(f"{copy.maildir}/tmp") or not os.path.isdir(f"{copy.maildir}/new"):
        _make(copy.maildir, copy.folders)
    file = durable.File(copy.tmp, 0o600)
    try:
        envelope = copy.envelope
        head = _envelope_for(envelope, recipient)
        file.write(queuefile.seal(head, 0, 0, 0))
        at, crc, lines = envelope.head_octets, 0, 0
        while at < envelope.size_octets:
            chunk = os.pread(copy.fd, min(_CHUNK_OCTETS, envelope.size_octets - at), at)
            if not chunk:
                raise OSError(errno.EIO, "the queue file is shorter than its envelope says")
            file.write(chunk)
            crc, lines = queuefile.crc32(chunk, crc), lines + chunk.count(b"\n")
            at += len(chunk)
        file.rewrite(0, queuefile.seal(head, envelope.size_octets - envelope.head_octets, lines, crc))
        file.start_sync()
    except BaseException:
        file.discard()
        raise
    file.close()


def _discard(copy: Copy) -> None:
    try:
        durable.unlink_if_there(copy.tmp)
    except OSError:
        pass


def publish(copies: list[Copy]) -> None:
    """Step two for each copy without an outcome: every one has an outcome afterwards."""
    published: dict[str, list[Copy]] = {}
    for copy in copies:
        if copy.outcome is None:
            try:
                durable.rename(copy.tmp, f"{copy.maildir}/new/{copy.base}")
                if copy.quota:
                    maildirsize.add(copy.maildir, copy.size_octets, 1)
                published.setdefault(f"{copy.maildir}/new", []).append(copy)
            except OSError as error:
                copy.outcome = refusal(error, copy.maildir)
    for directory, its_copies in published.items():
        try:
            durable.sync_dir(directory)
            ending = outcome.DELIVERED
        except OSError as error:
            # It stands in new/ and will not be sent again: the noted intent tells the repeat so.
            ending = refusal(error, directory)
        for copy in its_copies:
            copy.outcome = ending


def _make(maildir: str, folders: tuple[str, ...]) -> None:
    from pymta.mailbox import make                      # rarely needed, and it brings the whole store along
    make(maildir, folders)


def refusal(error: OSError, maildir: str) -> Outcome:
    """What a mailbox's refusal means: always temporary, the message is kept."""
    if error.errno in _FULL:
        return outcome.DISK_FULL.because(f"{maildir}: no space left; tried again later")
    return outcome.MAILBOX_TROUBLE.because(f"{maildir}: {error.strerror or error}; tried again later")


def loops(head: bytes, envelope: Envelope, address: bytes) -> bool:
    """Whether the message's own header (in head, after the envelope) shows that this address has had it: RFC 9228, and the stop
    of mail that is forwarded in a circle."""
    top = head[envelope.head_octets - 1:]
    end = top.find(b"\n\n")
    return b"\n%s: %s\n" % (LOCAL.lower(), address.lower()) in (top if end < 0 else top[:end + 1]).lower()
