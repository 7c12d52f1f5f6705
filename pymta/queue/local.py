"""local: what pymta-local does with todo/local, but for its loop.

A file with one recipient whose mailbox is ours to write is renamed into it.  All others of a batch are copied side by side: their
intents are noted in publishing/ between the two steps of delivery.py, and taken away when the batch has ended in todo/ too.

As root every mailbox is another uid's, and all is copied.  Root could have its owner's child open Maildir/new and hand it over, give the
file to the owner and rename it in: measured (4 KiB, ext4) 14,000 a second, 2,500 to 4,300 with the sync that the change of owner
needs lest the rename be kept without it, against 1,000 to 2,000 of copying.  It is not done:
- Root would wait in the kernel within a directory that its owner controls (leases, locks, a file system that hangs) and could not
  be killed there; now only the owner's own child waits, and is left behind (as_user.py).
- Between the change of owner and the rename a crash leaves a file in todo/ that pymta-qrun can neither read nor append to, and undoing
  that is work for root again.
- It serves only hosts whose homes and spool are one file system, mailboxes without a quota, and mail with one recipient.

    publishing/BATCH   one line for each copy: KEY               synced before anything of the batch is published
"""
from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator

from pymta import accounts, clock, durable, log, outcome
from pymta.daemon import notify
from pymta.formats import maildirsize, queuefile, report
from pymta.formats.queuefile import LOCAL, Envelope
from pymta.outcome import Outcome
from pymta.queue import as_user, delivery, full, places, wishes
from pymta.queue.delivery import Copy
from pymta.queue.message import shown
from pymta.settings import Settings

TODO, PUBLISHING = "todo/local", "publishing"
_HEAD_OCTETS = 8192
_BATCH = 200
_COPIES_A_BATCH = 1000
_OWNERS_AT_A_TIME = 50      # each has a child process and two pipes


class _File:
    """A queue file in work.  fd: open; owed: recipients' numbers; copies: what is being made; endings: number -> Outcome or "hold"."""

    __slots__ = ("name", "path", "fd", "envelope", "records", "head", "owed", "endings", "why")

    def __init__(self, name: str, fd: int, envelope: Envelope, head: bytes) -> None:
        self.name = name
        self.path = f"{TODO}/{name}"
        self.fd = fd
        self.envelope = envelope
        self.head = head
        self.records: list[queuefile.Record] = []
        self.owed: list[int] = [0]
        self.endings: dict[int, Outcome] = {}
        self.why: dict[int, str] = {}                   # of those to be held


class Local:
    """One delivery program.  The working directory is the spool."""

    def __init__(self, settings: Settings, users: accounts.Accounts) -> None:
        self.accounts = users
        self.folders: tuple[str, ...] = settings["local.folders"]
        self.host = settings.host.replace("/", "_").replace(":", "_")
        self.uid = os.geteuid()
        self.looker = places.Looker()
        self.noted: set[str] = set()                    # keys whose intents a crash left
        self.kept = False                               # whether publishing/ may hold more than noted says
        self.reported: dict[str, str] = {}              # name -> the report of it: while that stands the runner has not moved the file
        self.ids = queuefile.Ids()
        self.full = full.Marks()

    def start(self) -> None:
        """Read the intents of batches that a crash cut off, work everything off, and forget them."""
        report.tidy(".", "local")
        self._read_unread()
        batches = sorted(os.listdir(PUBLISHING))
        for name in batches:
            with open(f"{PUBLISHING}/{name}", encoding="ascii", errors="replace") as file:
                self.noted.update(file.read().split("\n")[:-1])
        self.look()
        self._forget(batches)

    def _read_unread(self) -> None:
        """What was reported before a crash and the runner has not read yet was delivered then, and its intents may have gone."""
        for path in (f"report/local/new/{name}" for name in os.listdir("report/local/new")):
            try:
                with open(path, "rb") as file:
                    self.reported.update((entry.name, path) for entry in report.decode(file.read()))
            except OSError as error:
                log.event("trouble", what=f"cannot read {path}", why=error.strerror or str(error), remedy="see its owner and mode")

    def look(self) -> None:
        """Deliver whatever stands in todo/local."""
        names = self.looker.names(TODO)
        self.reported = {name: path for name, path in self.reported.items() if os.path.lexists(path)}
        self.deliver([name for name in names if name not in self.reported])
        if self.noted or self.kept:
            self._forget(sorted(os.listdir(PUBLISHING)))
        self.full.look(self._room_again)

    def _room_again(self, mark: full.Mark) -> int | None:
        """What a mailbox that was full has left now; None where it is none with a quota any more."""
        try:
            mailbox = self.accounts.find(mark.address)
        except (accounts.Trouble, OSError):
            return mark.room
        if mailbox is None or mailbox.quota != mark.quota:
            return None
        room = as_user.room(mailbox.uid, mailbox.gid, mailbox.maildir, mailbox.quota, max(mark.need, full.low(mark.quota)),
                            in_process=self.uid != 0)
        return mark.room if room is None else room

    def _forget(self, batches: list[str]) -> None:
        """Drop the intents of messages that are in the queue no more.  Not only todo/ counts: a power cut may have put a file back to
        where it came from."""
        queued = places.ids() | {os.path.basename(path).partition(".")[0] for path in places.being_written()}
        self.noted = {key for key in self.noted if key.partition(".")[0] in queued}
        self.kept = bool(self.noted) or not all([self._drop_intents(f"{PUBLISHING}/{name}") for name in batches])

    @staticmethod
    def _drop_intents(path: str) -> bool:
        """Remove a file of publishing/; False where the disk refuses."""
        try:
            durable.unlink_if_there(path)
        except OSError as error:
            log.event("trouble", what=f"cannot remove {path}", why=error.strerror or str(error), remedy="it is tried again within a minute")
            return False
        log.event("tidy", file=path, why="its copies are all accounted for")
        return True

    def deliver(self, names: Iterable[str]) -> None:
        """Deliver these files of todo/local (an event may come late: a file that has gone is done)."""
        rest = iter(names)
        while slow := self._quick(rest):
            self._slow(slow)

    def _quick(self, names: Iterator[str]) -> list[_File]:
        """Deliver what goes by rename, until all names are done or enough of the others have come together: those."""
        slow: list[_File] = []
        copies = 0
        with log.together():
            for name in names:
                notify.alive()
                self.reported.pop(name, None)
                file = self._open(name)
                if file is None or self._fast(file):
                    continue
                slow.append(file)
                copies += len(file.owed)
                if len(slow) >= _BATCH or copies >= _COPIES_A_BATCH:
                    break
        return slow

    def _open(self, name: str) -> _File | None:
        if not name.endswith(".local"):
            return None
        try:
            fd = os.open(f"{TODO}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            envelope, head = queuefile.read_envelope(fd, first_octets=_HEAD_OCTETS)
        except queuefile.Damaged as error:
            os.close(fd)
            self._try("report what is damaged", self._report, [report.Entry(name, 1, -1, "corrupt", "-", "-", str(error))])
            return None
        return _File(name, fd, envelope, head)

    # ---- one recipient, a mailbox of our own uid: rename --------------------------------------------------------------
    def _fast(self, file: _File) -> bool:
        """Deliver by rename if that can be; True if the file needs nothing more here."""
        envelope = file.envelope
        recipient = envelope.recipients[0]
        if len(envelope.recipients) != 1 or recipient.kind != LOCAL or self.uid == 0 or _wants_receipt(recipient):
            return False
        try:
            mailbox = self.accounts.find(recipient.address.decode("utf-8"))
            if mailbox is None or mailbox.uid != self.uid or _held(recipient) or self._loops(file, recipient.address) \
                    or (self.noted and f"{envelope.id}.0" in self.noted):
                return False
            if mailbox.quota and not self._fits(mailbox, envelope.size_octets):
                return False
            if not delivery.by_rename(file.path, file.fd, envelope, mailbox.maildir, self.folders, self.host):
                return False
        except (accounts.Trouble, UnicodeDecodeError):
            return False
        except FileNotFoundError as error:
            if os.path.lexists(file.path):              # it is the mailbox that is not there, and cannot be made: a link to nowhere
                log.event("trouble", what=f"cannot deliver by rename into {mailbox.maildir if mailbox else '?'}", why=error.strerror)
                return False
            os.close(file.fd)
            return True
        except OSError as error:
            log.event("trouble", what=f"cannot deliver by rename into {mailbox.maildir if mailbox else '?'}", why=error.strerror or str(error))
            return False
        os.close(file.fd)
        if mailbox.quota:
            maildirsize.add(mailbox.maildir, envelope.size_octets, 1)
        log.event("deliver", id=envelope.id, rcpt=f"<{shown(recipient.address)}>",
                  size=envelope.size_octets, wait_s=max(0, int(clock.now() - queuefile.birth(envelope.id))))
        return True

    def _fits(self, mailbox: accounts.Mailbox, octets: int) -> bool:
        """Whether a message may come by rename; one that does not fit is refused where it would be copied."""
        left = maildirsize.room(mailbox.maildir, mailbox.quota, octets) - octets
        if left >= 0:
            self.full.note(mailbox.address, left, mailbox.quota)
        return left >= 0

    def _loops(self, file: _File, address: bytes) -> bool:
        head = file.head
        while b"\n\n" not in head[file.envelope.head_octets:] and len(head) < 1 << 20:
            more = os.pread(file.fd, 1 << 16, len(head))
            if not more:
                break
            head = file.head = head + more
        return delivery.loops(head, file.envelope, address)

    # ---- everything else: copy ----------------------------------------------------------------------------------------
    def _slow(self, files: list[_File]) -> None:
        try:
            copies: dict[tuple[int, int], list[tuple[_File, Copy]]] = {}
            for file in files:
                file.records, _ = queuefile.read_records(file.fd, file.envelope)
                file.owed = queuefile.owed(file.envelope, file.records)
                for number in file.owed:
                    job = self._copy(file, number)
                    if job is not None:
                        copies.setdefault(job[0], []).append((file, job[1]))
            owners = list(copies)
            intents = [self._carry_out({owner: copies[owner] for owner in owners[at:at + _OWNERS_AT_A_TIME]})
                       for at in range(0, len(owners), _OWNERS_AT_A_TIME)]
            settled = self._settle(files)
            for path in intents:
                if settled and path is not None:
                    durable.unlink_if_there(path)
                else:
                    self.kept = True
        except OSError as error:
            self.kept = True
            log.event("trouble", what="cannot finish a batch of deliveries", why=error.strerror or str(error), remedy="it is finished within a minute")
        finally:
            for file in files:
                os.close(file.fd)

    def _copy(self, file: _File, number: int) -> tuple[tuple[int, int], Copy] | None:
        """((uid, gid), copy) for one recipient, or None if its ending is known without one."""
        recipient = file.envelope.recipients[number]
        held = _held(recipient)
        try:
            if recipient.kind != LOCAL:
                raise UnicodeDecodeError("ascii", b"", 0, 1, "a recipient of another program")
            if held:
                file.why[number] = held
                return None
            mailbox = self.accounts.find(recipient.address.decode("utf-8"))
            if mailbox is None:
                file.endings[number] = outcome.NO_SUCH_USER
            elif self._loops(file, recipient.address):
                file.endings[number] = outcome.MAIL_LOOP
            elif mailbox.uid == 0:
                file.endings[number] = outcome.MAILBOX_TROUBLE.because("nothing is ever delivered as root")
            else:
                key = f"{file.envelope.id}.{number}"
                return (mailbox.uid, mailbox.gid), Copy(file.fd, file.envelope, number, mailbox.maildir, self.folders, self.host,
                                                        noted=key in self.noted, quota=mailbox.quota)
        except accounts.Trouble as error:
            file.endings[number] = outcome.MAILBOX_TROUBLE.because(str(error))
        except UnicodeDecodeError as error:
            file.endings[number] = outcome.BAD_RECIPIENT.because(error.reason)
        except OSError as error:                        # the users file cannot be read
            file.endings[number] = outcome.MAILBOX_TROUBLE.because(f"{self.accounts.path}: {error.strerror}")
        return None

    def _carry_out(self, copies: dict[tuple[int, int], list[tuple[_File, Copy]]]) -> str | None:
        """Make all copies, each as its mailbox's uid.  Returns the batch's file in publishing/, to be removed when todo/ tells the same;
        None where there is none, or it must stay."""
        crews = [as_user.crew(uid, gid, [copy for _, copy in jobs], in_process=self.uid != 0) for (uid, gid), jobs in copies.items()]
        as_user.prepare(crews)
        keys = [copy.key for jobs in copies.values() for _, copy in jobs if copy.outcome is None]
        path = f"{PUBLISHING}/{self.ids.new(clock.now())}"
        fresh = [key for key in keys if key not in self.noted]
        refused = self._note(path, fresh)
        if refused is not None:
            for crew in crews:
                crew.abandon(refused)
        as_user.publish(crews)
        unsure = refused is not None
        for jobs in copies.values():
            for file, copy in jobs:
                file.endings[copy.number] = copy.outcome or outcome.SURPRISE
                if copy.room is not None:
                    self._note_room(file, copy)
                unsure |= not file.endings[copy.number].delivered and copy.key in keys
        # An intent whose copy may or may not have been published stays: the next attempt will ask it.
        return None if unsure or not fresh else path

    def _note_room(self, file: _File, copy: Copy) -> None:
        """Let others know how full the mailbox is."""
        try:
            mailbox = self.accounts.find(file.envelope.recipients[copy.number].address.decode("utf-8"))
        except (accounts.Trouble, OSError, UnicodeDecodeError):
            return
        if mailbox is not None and copy.room is not None:
            refused = copy.outcome is not None and copy.outcome.status == outcome.MAILBOX_FULL.status
            self.full.note(mailbox.address, copy.room, copy.quota, copy.size_octets if refused else 0)

    def _note(self, path: str, keys: list[str]) -> Outcome | None:
        """Make the intents durable; what to say where that cannot be."""
        if not keys:
            return None
        try:
            durable.create(path, "".join(f"{key}\n" for key in keys).encode("ascii"), 0o640)
            durable.sync_dir(PUBLISHING)
        except OSError as error:
            try:
                durable.unlink_if_there(path)
            except OSError:
                pass
            if os.path.lexists(path):                   # a restart would read it: then what stands in tmp/ now is what is published
                self.noted.update(keys)
            return delivery.refusal(error, PUBLISHING)
        self.noted.update(keys)
        return None

    def _settle(self, files: list[_File]) -> bool:
        """Say in todo/ or in a report what became of each file, durably: intents may go only after that.  False where the disk refuses."""
        entries: list[report.Entry] = []
        told: list[_File] = []
        gone: list[_File] = []
        for file in files:
            attempt = queuefile.attempts(file.records) + 1
            for number, ending in file.endings.items():
                if ending.delivered:
                    log.event("deliver", id=file.envelope.id, rcpt=f"<{shown(file.envelope.recipients[number].address)}>",
                              size=file.envelope.size_octets)
            receipt = bool(file.envelope.sender) and any(
                ending.delivered and _wants_receipt(file.envelope.recipients[number]) for number, ending in file.endings.items())
            if not file.why and not receipt and all(ending.delivered for ending in file.endings.values()):
                gone.append(file)
                continue
            told.append(file)
            entries += [report.Entry(file.name, attempt, number, _word(ending), ending.status, "-", ending.text)
                        for number, ending in file.endings.items()]
            entries += [report.Entry(file.name, attempt, number, "hold", "4.3.5", "-", why) for number, why in file.why.items()]
        settled = []
        if gone and self._try(f"take what is delivered out of {TODO}", self._take_away, gone):
            settled += gone
        if entries and self._try("report what became of it", self._report, entries):
            settled += told
        self.noted.difference_update(f"{file.envelope.id}.{number}" for file in settled
                                     for number, ending in file.endings.items() if ending.delivered)
        return len(settled) == len(files)

    @staticmethod
    def _take_away(files: list[_File]) -> None:
        moved = [file.name for file in files if not durable.unlink_if_there(file.path)]
        durable.sync_dir(TODO)
        for file in files:
            if file.name not in moved:
                log.event("done", id=file.envelope.id, delivered=len(file.endings))
        if moved:                                       # it will come back, and its intents must tell what it has had
            raise OSError(errno.ENOENT, "somebody has moved it meanwhile")

    @staticmethod
    def _try(what: str, work: Callable[..., None], argument: list) -> bool:
        try:
            work(argument)
        except OSError as error:
            log.event("trouble", what=f"cannot {what}", why=error.strerror or str(error), remedy="it is tried again within a minute")
            return False
        return True

    def _report(self, entries: list[report.Entry]) -> None:
        path = report.write(".", "local", entries, sync=True)
        self.reported.update((entry.name, path) for entry in entries)


def _wants_receipt(recipient: queuefile.Recipient) -> bool:
    """Whether the sender wants to hear of the delivery: then the runner must, and what is renamed into a mailbox leaves nothing behind that
    could tell it so after a crash.  Such mail is copied."""
    return bool(recipient.notes) and wishes.wants(recipient, "SUCCESS")


def _held(recipient: queuefile.Recipient) -> str:
    """Why mail for this recipient waits for the admin; empty if it does not."""
    return next((value.decode("utf-8", "replace") or "held" for name, value in recipient.notes if name == b"Pymta-Hold"), "")


def _word(ending: Outcome) -> str:
    return "delivered" if ending.delivered else "failed" if ending.permanent else "deferred"
