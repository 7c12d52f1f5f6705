"""drops: what local programs have left in in/inject/new, routed and made our own.

A drop is a stranger's file in a directory that is open to every user.  It is trusted for the uid that the kernel stamped on it and for
nothing else: it must be a plain file with one link and a right checksum; it is copied, its recipients are routed here whatever they
claim to be, and garbage goes to corrupt/ with a reason.  The copy takes the drop's debt over as handover.py says.
"""
from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterable

from pymta import clock, durable, log, outcome
from pymta.formats import queuefile
from pymta.formats.queuefile import LOCAL, SHARDS, Envelope, Ids, Recipient
from pymta.message import header
from pymta.outcome import Outcome
from pymta.queue import wishes
from pymta.queue.handover import Handover, hand_over
from pymta.queue.intake import Draft
from pymta.queue.message import HEADER_MAX_OCTETS, Message, shown
from pymta.queue.places import names
from pymta.queue.returns import News, Returns
from pymta.queue.shares import Shares
from pymta.settings import Settings

DROPS = "in/inject/new"
_TMP_MAX_AGE_S = 86400
_TIDY_S = 3600.0
_STAY_MAX = 1000
_FACTS = ("ret", "envid", "body", "utf8")       # what a program may say of its message as a whole
_JOBS_A_BATCH = 64
_NEVER = (errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM, errno.EISDIR)     # what is no drop; anything else is trouble of ours


class Drops:
    """published: called with the paths of what was made; set_aside: (path, why)."""

    def __init__(self, settings: Settings, router, returns: Returns, ids: Ids, published: Callable[[list[str]], None],
                 set_aside: Callable[[str, str], None]) -> None:
        self.settings = settings
        self.router = router
        self.returns = returns
        self.ids = ids
        self.published = published
        self.set_aside = set_aside
        self.shares = Shares(DROPS, settings["queue.drops_per_uid"])
        self._tidy_at = 0.0
        self._stay: set[str] = set()                    # directories of strangers, which nobody else may move

    def take(self, file_names: Iterable[str]) -> None:
        """Route these drops and make them queue files of ours."""
        jobs = []
        for name in self.shares.take(file_names):
            path = f"{DROPS}/{name}"
            if path in self._stay or len(self._stay) >= _STAY_MAX and _is_directory(path):
                continue                                # the log has it
            try:
                jobs.append(self._job(path))
            except FileNotFoundError:
                continue
            except (queuefile.Damaged, ValueError) as error:
                self._set_aside(path, f"drop of uid {_owner(path)}: {error}")
                if _is_directory(path):
                    self._stay.add(path)
            except OSError as error:
                if error.errno in _NEVER:
                    self._set_aside(path, f"drop of uid {_owner(path)} cannot be read: {error.strerror}")
                else:
                    log.event("trouble", what=f"cannot take {path}", why=error.strerror, remedy="it is tried again within a minute")
            if len(jobs) >= _JOBS_A_BATCH:
                hand_over(jobs)
                jobs = []
        hand_over(jobs)

    def _set_aside(self, path: str, why: str) -> None:
        if not self.shares.removed(path):
            self.set_aside(path, why)

    def _job(self, path: str) -> Handover:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise queuefile.Damaged("not a plain file with one link")
        if found.st_size > self.settings["queue.size_max"] + queuefile.ENVELOPE_MAX_OCTETS:
            raise queuefile.Damaged(f"bigger than queue.size_max ({found.st_size} octets)")
        with Message(path) as message:
            now = os.fstat(message.fd)
            if (now.st_ino, now.st_dev) != (found.st_ino, found.st_dev) or not queuefile.is_whole(message.fd):
                raise queuefile.Damaged("torn, or changed while it was read")
            return self._routed(message, found.st_uid, path)

    def _routed(self, message: Message, uid: int, path: str) -> Handover:
        envelope = message.envelope
        if any(byte < 32 or byte == 127 for byte in envelope.sender):
            raise queuefile.Damaged("control bytes in the reverse-path")
        facts = {"src": f"drop:{path}", "uid": str(uid), **{k: v for k, v in envelope.facts.items() if k in _FACTS}}
        new = Envelope(envelope.sender, [], self.ids.new(clock.now()), facts)
        new.recipients, failed = self._resolve(message)
        log.event("route", id=new.id, drop=os.path.basename(path), uid=uid, size=envelope.size_octets, nrcpt=len(new.recipients),
                  from_=f"<{shown(envelope.sender)}>")
        drafts: list[Draft] = []
        try:
            if new.recipients:
                stamp = b"Received: by %s (pymta, from userid %d)\n\tid %s; %s\n" % (
                    self.settings.host.encode("ascii", "replace"), uid, new.id.encode(), header.date(clock.now()))
                drafts.append(self._copy(new, message, stamp))
            if failed:
                news = [News(recipient, ending.because(f"{shown(recipient.address)}: {ending.text}")) for recipient, ending in failed]
                drafts += self.returns.drafts(message, news, facts["src"], new.id)
            if failed and not envelope.sender:              # nobody to tell: it is kept for the admin to see
                note = (b"Pymta-Hold", b"a local program sent this with an empty reverse-path to an address that does not exist")
                lost = [Recipient(LOCAL, recipient.address, (note,)) for recipient, _ in failed]
                drafts.append(self._copy(Envelope(b"", lost, self.ids.new(clock.now()), facts), message))
        except BaseException:
            for draft in drafts:
                draft.discard()
            raise
        directory = os.path.dirname(path)

        def give_up() -> str:
            durable.unlink(path)
            return directory

        return Handover(drafts, give_up, self.published, source=path)

    def _resolve(self, message: Message) -> tuple[list[Recipient], list[tuple[Recipient, Outcome]]]:
        """(final recipients, those that have no way and why).  Raises OSError while that cannot be told."""
        final: dict[tuple[bytes, bytes], Recipient] = {}
        failed: list[tuple[Recipient, Outcome]] = []
        if header.split(message.start(HEADER_MAX_OCTETS))[0].lower().count(b"\nreceived:") > self.settings["queue.hops_max"]:
            return [], [(recipient, outcome.TOO_MANY_HOPS) for recipient in message.envelope.recipients]
        for recipient in message.envelope.recipients:
            answer = self.router.resolve(recipient.address, sender=message.envelope.sender)
            if not isinstance(answer, Outcome):
                asked = tuple(note for note in recipient.notes if note[0] in (wishes.NOTIFY, wishes.ORCPT))
                for each in answer:
                    final.setdefault((each.kind, each.address), Recipient(each.kind, each.address, each.notes + asked))
            elif answer.temporary:                      # a bad alias line, a users file nobody can read: it waits for the admin's mend
                raise OSError(errno.EAGAIN, f"{shown(recipient.address)}: {answer.text}")
            else:
                failed.append((recipient, answer))
        if len(final) > self.settings["queue.recipients_max"]:
            return [], [(recipient, outcome.TOO_MANY_RECIPIENTS) for recipient in message.envelope.recipients]
        return list(final.values()), failed

    def _copy(self, envelope: Envelope, message: Message, top: bytes = b"") -> Draft:
        draft = Draft("in/qrun", envelope)
        draft.write_all(itertools.chain((top,), message.chunks()))
        return draft

    def tidy(self) -> None:
        """A drop that was never finished belongs to a program that is long gone.  Looked for once in _TIDY_S: there are many
        directories to read."""
        if clock.tick() < self._tidy_at:
            return
        self._tidy_at = clock.tick() + _TIDY_S
        top = "in/inject/tmp"
        flat = [name for name in names(top) if len(name) > 1]
        for path in (f"{top}/{name}" for name in flat + [f"{shard}/{name}" for shard in SHARDS for name in names(f"{top}/{shard}")]):
            try:
                if clock.now() - os.lstat(path).st_mtime > _TMP_MAX_AGE_S:
                    durable.unlink_if_there(path)
                    log.event("tidy", file=path, why="never finished")
            except OSError:
                continue
        for path in (f"{DROPS}/{name}" for name in os.listdir(DROPS) if name[0] == "."):
            try:                                        # when it came there is the kernel's word, not its owner's
                if clock.now() - os.lstat(path).st_ctime > _TMP_MAX_AGE_S and (not _is_directory(path) or durable.rmdir(path)):
                    durable.unlink_if_there(path)
                    log.event("tidy", file=path, why="no name of a drop")
            except OSError:
                continue


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _owner(path: str) -> int:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return -1
