"""runner: what is owed to whom, and when it is tried again.  The whole of pymta-qrun but its loop.

    take_smtpd, drops.take, take_own   an intake's files ─▶ todo/, split/, parked/
    read_reports                       report/ ─▶ records; later/, parked/, hold/, corrupt/, bounces
    due                                later/<time>/ and parked destinations whose time has come ─▶ todo/

Every step may be repeated after a crash: a file is found where its last rename left it, and records are told apart by their
attempt.  The working directory is the spool.
"""
from __future__ import annotations

import errno
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping

from pymta import clock, durable, log, outcome
from pymta.daemon import notify
from pymta.formats import queuefile, report
from pymta.formats.queuefile import REMOTE, Record
from pymta.message import header
from pymta.outcome import Outcome
from pymta.queue import intake, owners, returns, schedule, wishes
from pymta.queue.handover import Handover, hand_over, recover, recover_left
from pymta.queue.intake import HELD, LATER, Draft
from pymta.queue.drops import DROPS, Drops
from pymta.queue.message import HEADER_MAX_OCTETS, Message, copy_of, shown
from pymta.queue.parking import Parking
from pymta.queue.places import Looker, names
from pymta.queue.returns import News, Returns
from pymta.settings import Settings

SMTPD, OWN = "in/smtpd/new", "in/qrun/new"
_SET_BACK_S = 60.0
_STRANGERS = "its sender writes to many recipients for the first time: see smtp.new_recipients_per_day"
_RECORD_WORDS = {"hold": "deferred", "relayed": "delivered"}
_SETTLED_NS = 100_000_000           # a directory changed less than this ago may change again without a new time


class Runner:
    """router: routing.Router; destination: domain (str) -> key of where its mail goes."""

    def __init__(self, settings: Settings, router, destination) -> None:
        self.settings = settings
        self.router = router
        self.destination = destination
        self.schedule = schedule.make(settings)
        self.parking = Parking(self.schedule, self.destination_of, self.give_up)
        self.ids = queuefile.Ids()
        self.looker = Looker()
        self._stuck: set[str] = set()                   # buckets of later/ that could not be emptied
        self._first: float | None = None                # when the first of the others is due
        self._listed_ns = -1                            # the change of later/ that this is true of
        self.returns = Returns(settings, router, self.ids)
        self.drops = Drops(settings, router, self.returns, self.ids, self._published, self.set_aside)

    # ---- start --------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Finish or remove what a crash left, then take everything that waits."""
        recover()
        booted = clock.now() - time.clock_gettime(time.CLOCK_BOOTTIME)
        intake.tidy("in/smtpd", booted)                 # pymta-smtpd does so too, but may not be started on this host any more
        for directory in (SMTPD, OWN):
            for name in names(directory):
                self._repeatable(self._set_aside_if_torn, f"{directory}/{name}")
        self.parking.start(clock.now())
        self.look()

    def look(self) -> None:
        """Take whatever stands anywhere: at the start, after lost events, and now and then."""
        self._stuck.clear()
        self._listed_ns = -1
        recover_left()
        for name in names("split"):
            self._repeatable(self.split, f"split/{name}")
        self.take_own(self.looker.names(OWN))
        self.take_smtpd(self.looker.names(SMTPD))
        self.drops.take(self.looker.names(DROPS))
        for writer in ("local", "remote"):
            self.read_reports(writer, self.looker.names(f"report/{writer}/new"))
        self.drops.tidy()

    def _set_aside_if_torn(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            whole = queuefile.is_whole(fd)
        finally:
            os.close(fd)
        if not whole:
            self.set_aside(path, "torn: length or checksum is wrong; it was never acknowledged")

    def set_aside(self, path: str, why: str) -> None:
        """Move a file to corrupt/ with its reason beside it."""
        name = os.path.basename(path)
        target = name if not os.path.lexists(f"corrupt/{name}") else f"{name}.{self.ids.new(clock.now())}"
        try:
            durable.rename(path, f"corrupt/{target}")
        except FileNotFoundError:
            return
        except OSError as error:
            log.event("trouble", what=f"cannot set {path} aside ({why})", why=error.strerror or str(error), remedy="it is tried again within a minute")
            return
        try:
            durable.unlink_if_there(f"corrupt/{target}.why")
            durable.create(f"corrupt/{target}.why", f"{path}: {why}\n".encode("utf-8", "backslashreplace"), 0o640, sync=False)
        except OSError as error:                        # the log has it
            log.event("trouble", what=f"cannot write corrupt/{target}.why", why=error.strerror or str(error))
        log.event("corrupt", id=name.partition(".")[0], file=f"corrupt/{target}", why=why)

    def _repeatable(self, work, path: str, *arguments: object) -> bool:
        """Run one step on one file: gone is done, damaged is set aside, a refusal of the disk is tried again at the next look (False)."""
        notify.alive()
        try:
            work(path, *arguments)
        except FileNotFoundError:
            pass
        except queuefile.Damaged as error:
            self.set_aside(path, str(error))
        except OSError as error:
            log.event("trouble", what=f"cannot work on {path}", why=error.strerror or str(error), remedy="it is tried again within a minute")
            return False
        return True

    # ---- intakes ------------------------------------------------------------------------------------------------------
    def take_smtpd(self, names: Iterable[str]) -> None:
        for name in names:
            self._repeatable(self._take, f"{SMTPD}/{name}")

    def take_own(self, names: Iterable[str]) -> None:
        for name in names:
            self._repeatable(self._take, f"{OWN}/{name}")

    def _take(self, path: str) -> None:
        name = os.path.basename(path)
        if HELD in name:
            with Message(path) as message:              # the reason goes with it, for pymta-why
                message.append([Record(0, int(clock.now()), None, "deferred", "-", _STRANGERS)], sync=False)
            self.hold(path, _STRANGERS)
        elif LATER in name:
            self._wait_for_release(path)
        else:
            self._start(path)

    def _start(self, path: str) -> None:
        """Put a file where it is worked on, by the kind that its name tells."""
        name = os.path.basename(path)
        if name.endswith(".local"):
            durable.rename(path, f"todo/local/{name}")
        elif name.endswith(".remote"):
            self.to_remote(path)
        elif name.endswith(".mixed"):
            durable.rename(path, f"split/{name}")
            self._repeatable(self.split, f"split/{name}")
        else:
            self.set_aside(path, "a name that no program gives: it ends in neither .local, .remote nor .mixed")

    def _wait_for_release(self, path: str) -> None:
        """Its sender wants it sent later (RFC 4865).  From there it goes on as everything in later/ does."""
        name = os.path.basename(path).replace(LATER, "", 1)
        with Message(path) as message:
            release = message.release
        directory = f"later/{schedule.bucket(release, self.schedule.step_s)}"
        durable.mkdir(directory, 0o750)
        durable.rename(path, f"{directory}/{name}")
        log.event("defer", id=name.partition(".")[0], wait_s=max(0, int(release - clock.now())), why="its sender wants it sent then")

    def to_remote(self, path: str) -> None:
        """Send it, or park it where its destination is known to be dead."""
        name = os.path.basename(path)
        if self.parking:
            with Message(path) as message:
                destination = self.destination_of(message)
            if destination is not None and destination in self.parking:
                self.parking.park(path, destination)
                return
        durable.rename(path, f"todo/remote/{name}")

    def destination_of(self, message: Message) -> str | None:
        """The one destination of all that is still owed, or None where there are several."""
        recipients = [message.envelope.recipients[number] for number in message.owed]
        keys = {self.destination(_domain(recipient.address)) for recipient in recipients}
        return keys.pop() if len(keys) == 1 else None

    def split(self, path: str) -> None:
        """split/ID.mixed: the remote recipients get a message of their own, then the rest goes to todo/local."""
        name = os.path.basename(path)
        with Message(path) as message:
            remote = [number for number in message.owed if message.envelope.recipients[number].kind == REMOTE]
            if remote:
                envelope = copy_of(message.envelope, REMOTE, self.ids.new(clock.now()),
                                   {**message.envelope.facts, "src": f"record:{name}:0:moved"})
                envelope.recipients = wishes.parted(message.envelope, remote)
                records = [Record(0, int(clock.now()), number, "moved", "-", envelope.id) for number in remote]
                news = returns.expansions(message, records)
                drafts = self.returns.drafts(message, news, envelope.facts["src"], message.id)
                drafts.append(Draft("in/qrun", envelope))
                drafts[-1].write_all(message.chunks())
                job = Handover(drafts, lambda: message.append(records, sync=True), self._published, source=path)
                hand_over([job])
                if not job.done:
                    return
            if message.owed:
                durable.rename(path, f"todo/local/{name.removesuffix('.mixed')}.local")
            else:
                durable.unlink(path)

    def _published(self, paths: list[str]) -> None:
        self.take_own([os.path.basename(path) for path in paths])

    # ---- reports ------------------------------------------------------------------------------------------------------
    def read_reports(self, writer: str, names: Iterable[str]) -> None:
        """Work through the reports of pymta-local or pymta-remote."""
        for name in names:
            self._repeatable(self._read_report, f"report/{writer}/new/{name}", writer)

    def _read_report(self, path: str, writer: str) -> None:
        with open(path, "rb") as file:
            entries = report.decode(file.read())
        by_file: dict[str, list[report.Entry]] = defaultdict(list)
        for entry in entries:
            if entry.word == "down":
                self.parking.down(entry.destination, entry.text, clock.now())
            elif entry.name.endswith("." + writer) and "/" not in entry.name:
                by_file[entry.name].append(entry)
        down = {entry.destination for entry in entries if entry.word == "down"}
        for destination in {entry.destination for entry in entries} - down:
            self.parking.up(destination)                # it said something, be it a refusal: it lives
        done = [self._repeatable(self.reported, f"todo/{writer}/{file_name}", its_entries) for file_name, its_entries in by_file.items()]
        if all(done):                                   # else it is read again at the next look
            durable.unlink(path)

    def reported(self, path: str, entries: list[report.Entry]) -> None:
        """Record what became of an attempt and decide what is next for the file."""
        now = clock.now()
        if entries[0].word == "corrupt":
            self.set_aside(path, entries[0].text)
            return
        with Message(path) as message:
            owed = set(message.owed)
            if message.attempts < entries[0].attempt:   # else a crash came between the records and the move: only move
                records = [Record(e.attempt, int(now), e.recipient, _RECORD_WORDS.get(e.word, e.word), e.status, e.text)
                           for e in entries if e.recipient in owed]
                receipts = {e.recipient: "delivered" if e.word == "delivered" else "relayed" for e in entries
                            if e.recipient in owed and (e.word == "relayed" or e.word == "delivered" and path.endswith(".local"))}
                for entry in entries:
                    self._log_entry(message, entry)
                if self.schedule.expired(now, message.birth, entries[0].attempt, message.null_sender):
                    waits = {e.recipient for e in entries if e.word == "hold"}      # for the admin, however long
                    records = [self._expired(record) if record.word == "deferred" and record.recipient not in waits else record
                               for record in records]
                self.conclude(path, message, records, receipts)
            held = {entry.recipient: entry.text for entry in entries if entry.word == "hold" and entry.recipient in message.owed}
            if held and not owners.find(self.router, path, message, list(held), self.ids, self._published):
                self.hold(path, next(iter(held.values())))
            elif message.owed:
                self.postpone(path, message, now)
            else:
                self.finished(path, message)

    def _log_entry(self, message: Message, entry: report.Entry) -> None:
        if entry.word == "deferred" and 0 <= entry.recipient < len(message.envelope.recipients):
            log.event("defer", id=message.id, rcpt=f"<{shown(message.envelope.recipients[entry.recipient].address)}>", status=entry.status,
                      attempt=entry.attempt, why=entry.text)

    @staticmethod
    def _expired(record: Record) -> Record:
        text = f"{outcome.EXPIRED.text}; the last answer was: {record.status} {record.text}"
        return Record(record.attempt, record.when, record.recipient, "failed", outcome.EXPIRED.status, text)

    def conclude(self, path: str, message: Message, records: list[Record], receipts: Mapping[int, str] = {}) -> None:
        """Append records; tell the sender of the failures among them, and of the deliveries that he wants to hear of.  receipts: recipients
        of whom we owe a word after their delivery -> how they have the message, a dsn.ACTIONS."""
        failures = [News(message.envelope.recipients[r.recipient], _outcome(r)) for r in records if r.word == "failed" and r.recipient is not None]
        wanted = {number: action for number, action in receipts.items() if wishes.wants(message.envelope.recipients[number], "SUCCESS")}
        delivered = [record for record in records if record.recipient in wanted]
        final = any(record.word in queuefile.FINAL_WORDS for record in records)
        if not failures and not delivered or message.null_sender:
            message.append(records, sync=final)
            return
        source = f"record:{os.path.basename(path)}:{records[0].attempt}:"
        drafts = self.returns.drafts(message, failures, source + "failed", message.id)
        drafts += self.returns.drafts(message, returns.successes(message, delivered, wanted), source + "delivered", message.id)
        job = Handover(drafts, lambda: message.append(records, sync=True), self._published, source=path)
        hand_over([job])
        if not job.done:                                # the report must be read again: it tells what has been delivered, too
            raise OSError(errno.EAGAIN, "what became of it cannot be recorded now")

    def postpone(self, path: str, message: Message, now: float) -> None:
        """Park it with its destination, or let it wait until its time."""
        name = os.path.basename(path)
        destination = self.destination_of(message) if self.parking and name.endswith(".remote") else None
        if destination is not None and destination in self.parking:
            self.parking.park(path, destination)
            return
        if self.schedule.warn(now, message.birth):
            self.warn(path, message)
        due = self.schedule.due(now, message.birth, max(1, message.attempts), message.id, message.null_sender)
        directory = f"later/{schedule.bucket(due, self.schedule.step_s)}"
        durable.mkdir(directory, 0o750)
        durable.rename(path, f"{directory}/{name}")

    def finished(self, path: str, message: Message) -> None:
        """Nobody is owed anything: it goes, or, if it was a bounce that reached nobody, it waits for the admin."""
        failed = any(record.word == "failed" for record in message.records)
        if failed and message.null_sender:
            self.hold(path, "a bounce that cannot be delivered", "pymta-mailq show, then delete; it is owed to nobody any more")
            return
        durable.unlink(path)
        words = [record.word for record in message.records if record.word in queuefile.FINAL_WORDS]
        log.event("done", id=message.id, delivered=words.count("delivered"), bounced=words.count("failed"),
                  age_s=max(0, int(clock.now() - message.birth)))

    def hold(self, path: str, why: str, remedy: str = "pymta-mailq release, or remove the file") -> None:
        name = os.path.basename(path).replace(HELD, "", 1)      # so it is not held again when it is released
        durable.rename(path, f"hold/{name}")
        log.event("hold", id=name.partition(".")[0], why=why, remedy=remedy)

    def give_up(self, path: str, why: str) -> None:
        """Return a parked message whose lifetime is over."""
        with Message(path) as message:
            attempt = message.attempts + 1
            told = {(record.recipient, record.text): record.status for record in message.records if record.word == "deferred"}
            records = [self._expired(Record(attempt, int(clock.now()), number, "deferred", told.get((number, why), outcome.NO_HOST.status), why))
                       for number in message.owed]
            self.conclude(path, message, records)
            if not message.owed:
                self.finished(path, message)

    # ---- bounces and notices ------------------------------------------------------------------------------------------
    def warn(self, path: str, message: Message) -> None:
        """Tell the sender, once, that the message is late; not for bounces, lists and bulk mail."""
        if message.null_sender or any(record.word == "delayed" for record in message.records):
            return
        top = header.split(message.start(HEADER_MAX_OCTETS))[0]
        bulk = (header.get(top, b"Precedence") or b"").strip().lower() in (b"bulk", b"list", b"junk") or header.get(top, b"List-Id")
        record = Record(message.attempts, int(clock.now()), None, "delayed")
        if bulk:
            message.append([record], sync=False)
            return
        last = {r.recipient: r for r in message.records if r.word == "deferred"}
        late = [News(message.envelope.recipients[number], _outcome(last[number]), "delayed") for number in message.owed if number in last]
        until = message.birth + self.schedule.lifetime(False)
        drafts = self.returns.drafts(message, late, f"record:{os.path.basename(path)}:{message.attempts}:delayed", message.id, until=until) if late else []
        hand_over([Handover(drafts, lambda: message.append([record], sync=True), self._published, source=path)])
        log.event("delayed", id=message.id, to=f"<{shown(message.envelope.sender)}>")

    # ---- time ---------------------------------------------------------------------------------------------------------
    def due(self, now: float) -> None:
        """Put what is due now where it is worked on."""
        for name in sorted(names("later")):
            if self._bucket_due(name, now) > now:
                continue
            for file_name in names(f"later/{name}"):
                self._repeatable(self._start, f"later/{name}/{file_name}")
            if not self._repeatable(durable.rmdir, f"later/{name}") or os.path.lexists(f"later/{name}"):
                self._stuck.add(name)                   # until the next look: else this would be done again and again
        self._listed_ns = -1
        self.parking.due(now, self._repeatable, self.warn)

    def next_due(self) -> float | None:
        """When `due` has something to do next (seconds since 1970); None: nothing waits."""
        times = [self._first_bucket(), self.parking.next_due()]
        return min((time for time in times if time is not None), default=None)

    def _first_bucket(self) -> float | None:
        """Asked at every turn, so later/ is listed only when a name in it has come or gone."""
        try:
            changed_ns = os.stat("later").st_mtime_ns
        except FileNotFoundError:
            return None
        now = clock.now()
        if changed_ns != self._listed_ns or self._first is not None and self._first > now + self.schedule.longest_wait_s:
            self._first = min((self._bucket_due(name, now) for name in names("later") if name not in self._stuck), default=None)
            self._listed_ns = changed_ns if clock.now() * 1e9 - changed_ns > _SETTLED_NS else -1
        return self._first

    def _bucket_due(self, name: str, now: float) -> float:
        """When a bucket is due.  One that lies further ahead than anything is put off, and was filled in the future, was filled before the
        clock was set back: it is due now.  (An admin may make one as far ahead as he likes.)"""
        time = _bucket_time(name)
        if time > now + self.schedule.longest_wait_s:
            try:
                if os.stat(f"later/{name}").st_mtime > now + _SET_BACK_S:
                    return 0.0
            except FileNotFoundError:
                pass
        return time


def _bucket_time(name: str) -> float:
    try:
        return schedule.bucket_time(name)
    except ValueError:
        return 0.0                                      # an admin's directory: due at once


def _outcome(record: Record) -> Outcome:
    reply, exit = {"2": (250, 0), "5": (550, 69)}.get(record.status[:1], (451, 75))
    return Outcome(reply, record.status if record.status != "-" else "4.0.0", exit, record.text)


def _domain(address: bytes) -> str:
    return address.rpartition(b"@")[2].decode("utf-8", "replace").lower()
