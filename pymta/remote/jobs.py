"""jobs: the files in todo/remote, what is owed in each, and the end of each attempt.

    todo/remote/ID.remote ─▶ Job ─▶ Shares (recipients with one destination) ─▶ results ─┬─ all delivered: unlinked
                                                                                         └─ else: report/remote/new

A Job is small, so that a hundred thousand may be known at a time; a file is open, or its bytes in memory, only while it is being
sent or just about to be (KEPT_MAX).  A file that was reported is left alone until pymta-qrun has moved it: the same attempt
must not be made twice.  The working directory is the spool.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from pymta import clock, log, outcome
from pymta.formats import queuefile, report
from pymta.formats.report import Entry
from pymta.formats.transports import Route, Transports
from pymta.formats.transports import key as route_key
from pymta.message import address as addresses
from pymta.outcome import Outcome
from pymta.queue import places
from pymta.remote.file import FIRST_OCTETS, TODO, Opened
from pymta.remote.report import Reporter, Unlinker

SUFFIX = ".remote"
KEPT_MAX = (20 << 20) // FIRST_OCTETS   # messages at hand: in memory, or open files


class Job:
    """One file during one attempt.  attempt: from 1; history: it was tried or probed before; owed: how many recipients;
    pending: shares that have not ended; delivered: how many are; entries: what is to be reported."""

    __slots__ = ("attempt", "delivered", "entries", "history", "name", "owed", "pending")

    def __init__(self, name: str, attempt: int, history: bool, owed: int) -> None:
        self.name = name
        self.attempt = attempt
        self.history = history
        self.owed = owed
        self.pending = 0
        self.delivered = 0
        self.entries: list[Entry] = []


class Share:
    """Recipients (numbers) of one job for one destination, at most as many as go into one transaction.  opened: the file, if
    it is kept ready."""

    __slots__ = ("destination", "job", "numbers", "opened")

    def __init__(self, job: Job, destination: str, numbers: tuple[int, ...], opened: Opened | None = None) -> None:
        self.job = job
        self.destination = destination
        self.numbers = numbers
        self.opened = opened


_FIRST = (0,)                       # the numbers of nearly every share


class Jobs:
    """transports: where mail goes; enqueue(share, route): give it to its destination; whether it goes soon; is_own: whether an IP address is this host's;
    down: destinations where nobody answers now, and why."""

    def __init__(self, transports: Transports, enqueue: Callable[[Share, Route], bool], reporter: Reporter, *, recipients_max: int,
                 is_own: Callable[[str], bool], down: Mapping[str, str]) -> None:
        self.transports = transports
        self.enqueue = enqueue
        self.reporter = reporter
        self.unlinker = Unlinker(TODO)
        self.recipients_max = max(1, recipients_max)
        self.is_own = is_own
        self.down = down
        self.running: dict[str, Job] = {}
        self.reported: set[str] = set()
        self._looker = places.Looker()
        self.kept = 0

    def __contains__(self, name: str) -> bool:
        return name in self.running or name in self.reported

    # ---- in -----------------------------------------------------------------------------------------------------------
    def admit(self, name: str) -> bool:
        """Look into a file and hand out its shares.  False: it was read in vain, for it has to wait."""
        if name in self or not is_ours(name):
            return True
        opened = self._open(name)
        if opened is None:
            return True
        attempts = queuefile.attempts(opened.records)
        if not opened.owed:                             # a crash came after the records: the runner ends it
            self._report(name, [Entry(name, attempts, -1, "delivered", "-", "-", "nothing is owed any more")])
            opened.close()
            return True
        job = Job(name, attempts + 1, bool(opened.records), len(opened.owed))
        self.running[name] = job
        shares = self._shares(job, opened)
        keep = len(shares) == 1 and self.kept < KEPT_MAX
        if keep:
            shares[0][0].opened = opened
            self.kept += 1
        else:
            opened.close()
        job.pending = len(shares) + 1                   # 1: so that it cannot end before all are handed out
        soon = all([self.enqueue(share, route) for share, route in shares])
        self._one_less(job)
        return soon and (keep or not shares)

    def _open(self, name: str) -> Opened | None:
        try:
            return Opened(name)
        except FileNotFoundError:
            pass
        except queuefile.Damaged as error:
            self._report(name, [Entry(name, 0, -1, "corrupt", "-", "-", str(error))])
        except OSError as error:
            log.event("trouble", what=f"cannot read {TODO}/{name}", why=error.strerror or str(error), remedy="it is tried again within a minute")
        return None

    def _shares(self, job: Job, opened: Opened) -> list[tuple[Share, Route]]:
        """Recipients grouped by destination; those that can never have one get their result here."""
        groups: dict[str, tuple[Route, list[int]]] = {}
        for number in opened.owed:
            domain = addresses.split(opened.envelope.recipients[number].address)[1]
            wrong = self._wrong(domain)
            if wrong:
                self.result(job, number, wrong, "-", "", "")
            else:
                route = self.transports.route(domain.decode("utf-8", "replace"))
                groups.setdefault(route_key(route), (route, []))[1].append(number)
        shares = []
        for key, (route, numbers) in groups.items():
            for at in range(0, len(numbers), self.recipients_max):
                part = tuple(numbers[at:at + self.recipients_max])
                shares.append((Share(job, key, _FIRST if part == _FIRST else part), route))
        return shares

    def _wrong(self, domain: bytes) -> Outcome | None:
        if not domain:
            return outcome.BAD_RECIPIENT.because("an address without a domain cannot be sent to another host")
        literal = addresses.literal_ip(domain)
        if literal:
            route = self.transports.route(domain.decode("ascii", "replace"))
            try:
                if not route.mx and route.host == literal and self.is_own(literal):
                    return outcome.LOOPS_BACK
            except ValueError:
                return outcome.BAD_RECIPIENT.because(f"[{literal}] is no IP address")
        return None

    # ---- while it is sent ---------------------------------------------------------------------------------------------
    def open(self, share: Share) -> Opened | None:
        """The file of a share that is to be sent now; None if it has gone or is damaged: the share has ended then."""
        opened = share.opened
        if opened is not None:
            share.opened = None
            self.kept -= 1
            return opened
        name = share.job.name
        try:
            return Opened(name)
        except FileNotFoundError:
            share.job.owed = -1                         # an admin took it away: nobody waits for an answer
        except queuefile.Damaged as error:
            share.job.entries.append(Entry(name, 0, -1, "corrupt", "-", "-", str(error)))
        except OSError as error:
            log.event("trouble", what=f"cannot read {TODO}/{name}", why=error.strerror or str(error))
            for number in share.numbers:
                self.result(share.job, number, outcome.LOCAL_ERROR, share.destination, "", "")
        self.ended(share)
        return None

    def result(self, job: Job, number: int, ending: Outcome, destination: str, text: str, address: str, *, receipt: bool = False) -> None:
        """What became of one recipient.  text: for people; address: the recipient, wanted only for those who have it; receipt: the
        sender is to be told that he has it."""
        word = "delivered" if ending.delivered else "deferred" if ending.temporary else "failed"
        if receipt:
            word = "relayed"
        text = text or ending.text
        if ending.delivered:
            job.delivered += 1
            log.event("deliver", id=job.name.removesuffix(SUFFIX), rcpt=f"<{address}>", status=ending.status, destination=destination,
                      reply=text)
        job.entries.append(Entry(job.name, job.attempt, number, word, ending.status, destination, text))

    def ended(self, share: Share) -> None:
        """A share needs nothing more: each of its recipients has a result, or will be tried at the next start."""
        self.let_go(share)
        self._one_less(share.job)

    def let_go(self, share: Share) -> None:
        """Keep the file of a share no longer at hand: it is opened again when its turn comes."""
        if share.opened is not None:
            share.opened.close()
            share.opened = None
            self.kept -= 1

    # ---- out ----------------------------------------------------------------------------------------------------------
    def _one_less(self, job: Job) -> None:
        job.pending -= 1
        if job.pending:
            return
        self.running.pop(job.name, None)
        if job.owed < 0:
            self.reported.discard(job.name)
        elif any(entry.word == "corrupt" for entry in job.entries):
            self._report(job.name, [entry for entry in job.entries if entry.word == "corrupt"])
        elif job.delivered == job.owed and not any(entry.word == "relayed" for entry in job.entries):
            self._done(job)
        elif job.entries:
            self._report(job.name, job.entries)

    def _done(self, job: Job) -> None:
        """Everybody has it: the file goes, and nobody need hear of it."""
        id = job.name.removesuffix(SUFFIX)
        try:
            self.unlinker.unlink(job.name)
        except FileNotFoundError:
            log.event("trouble", what=f"{job.name} was moved while it was sent", why="where it is now it may be sent again")
            return
        except OSError as error:
            log.event("trouble", what=f"cannot remove {TODO}/{job.name}", why=error.strerror or str(error))
            self._report(job.name, job.entries)
            return
        log.event("done", id=id, delivered=job.delivered, age_s=_age_s(id))

    def _report(self, name: str, entries: list[Entry]) -> None:
        """The runner takes an entry without a "down" in the same report as a sign of life of its destination."""
        self.reported.add(name)
        dead = {entry.destination for entry in entries if entry.destination in self.down}
        self.reporter.add([*(Entry("-", 0, -1, "down", "-", key, self.down[key]) for key in dead), *entries])

    # ---- what the runner does meanwhile -------------------------------------------------------------------------------
    def moved_in(self, name: str) -> bool:
        """The runner put a file into todo/remote: a new attempt.  Whether it is to be admitted."""
        self.reported.discard(name)
        return name not in self.running

    def moved_out(self, name: str) -> None:
        self.reported.discard(name)

    def look(self) -> list[str]:
        """Names in todo/remote that are to be tried: all that are new, and those whose report was read long ago (an event was
        lost).  In order of age."""
        names = [name for name in self._looker.names(TODO) if is_ours(name)]
        if not self.reporter.unread():
            self.reported.clear()
        else:
            self.reported.intersection_update(names)
        return sorted(name for name in names if name not in self)

    def read_unread(self) -> None:
        """At the start: attempts that were reported before and whose report the runner has not read yet."""
        for path in report_paths():
            try:
                with open(path, "rb") as file:
                    self.reported.update(entry.name for entry in report.decode(file.read()))
            except FileNotFoundError:
                pass
        self.reported.discard("-")


def is_ours(name: str) -> bool:
    """Whether a file of this name is a message to be sent.  Others are left alone."""
    return name.endswith(SUFFIX) and name[0] != "." and name.isascii() and name.isprintable() and " " not in name


def report_paths() -> list[str]:
    directory = "report/remote/new"
    return [f"{directory}/{name}" for name in os.listdir(directory)]


def _age_s(id: str) -> int | None:
    try:
        return max(0, int(clock.now() - queuefile.birth(id)))
    except ValueError:
        return None
