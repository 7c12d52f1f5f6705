"""Whatever a power cut leaves, every acknowledged recipient is delivered exactly once, or bounced, or still in the queue.

Crash states are enumerated, not sampled: each scenario is recorded once, and every tree that the recording allows after each of
its steps is put on disk and given to the programs' start.  In a second round the user has emptied the mailboxes before they start,
pymta-local first: what was there must not come again.  The last test takes away one sync after the other: each time some tree must break the law.  (A mailbox's own syncs have tests of their own.)
"""
from __future__ import annotations

import os
import tempfile
from collections import Counter

import pytest

from pymta import clock, layout
from pymta.formats import queuefile
from tests.crash.model import SYNCS, Call, Disk, Recording, read_tree, write_tree
from tests.queuebox import BODY, USERS, Box

CONF = "queue.retry = 0s, 5m\nqueue.lifetime = 5d\n"
ALIASES = "team: alice, bob\nmixed: alice, x@remote.test\n"


class Scenario:
    """One recorded life.  acknowledged: what was promised by when; tell(x) is called by the scenario when x is promised."""

    def __init__(self, script) -> None:
        self.script = script

    def record(self, box: Box) -> list[Call | object]:
        self.before = read_tree(box.spool, f"{box.root}/home")
        with Recording(box.root) as recording:
            self.script(box, recording.note)
        return recording.calls


# ---- the scenarios ----------------------------------------------------------------------------------------------------
def work(box, runner, local, rounds=3):
    for _ in range(rounds):
        runner.look()
        local.look()


def accepted(box, tell, mark, recipients, sender=b"ann@client.example", expect=None):
    """Accept and promise: expect is whom the mark is owed to."""
    id = box.accept(sender, recipients, mark)
    tell((mark, tuple(expect if expect is not None else [r.decode().partition("@")[0] for r in recipients])))
    return id


def started(box):
    runner, local = box.runner(), box.local()
    runner.start()
    local.start()
    return runner, local


def one_local(box, tell):
    runner, local = started(box)
    accepted(box, tell, b"one", [b"alice@example.test"])
    work(box, runner, local)


def two_in_a_batch(box, tell):
    from pymta.formats.queuefile import LOCAL, Envelope, Ids, Recipient
    from pymta.queue import intake
    drafts = []
    for mark in (b"first", b"second"):
        draft = intake.Draft("in/smtpd", Envelope(b"ann@client.example", [Recipient(LOCAL, b"alice@example.test")], Ids().new(clock.now())))
        draft.write(BODY % (mark, mark))
        draft.finish()
        drafts.append(draft)
    assert intake.publish("in/smtpd", drafts, syncfs=False) == [None, None]
    tell((b"first", ("alice",)))
    tell((b"second", ("alice",)))
    work(box, *started(box))


def batch_by_syncfs(box, tell):
    from pymta.formats.queuefile import LOCAL, Envelope, Ids, Recipient
    from pymta.queue import intake
    drafts = []
    for mark in (b"first", b"second", b"third"):
        draft = intake.Draft("in/smtpd", Envelope(b"ann@client.example", [Recipient(LOCAL, b"alice@example.test")], Ids().new(clock.now())))
        draft.write(BODY % (mark, mark))
        draft.finish()
        drafts.append(draft)
    assert intake.publish("in/smtpd", drafts, syncfs=True) == [None, None, None]
    for mark in (b"first", b"second", b"third"):
        tell((mark, ("alice",)))


def two_recipients(box, tell):
    runner, local = started(box)
    accepted(box, tell, b"both", [b"team@example.test"], expect=["alice", "bob"])
    work(box, runner, local)


def mixed(box, tell):
    runner, local = started(box)
    accepted(box, tell, b"parted", [b"mixed@example.test"], expect=["alice", "remote"])
    work(box, runner, local, 2)


def local_deferral(box, tell):
    """Alice's mailbox cannot be written at first; bob has his copy and must not get another."""
    runner, local = started(box)
    accepted(box, tell, b"halfway", [b"team@example.test"], expect=["alice", "bob"])
    alice = box.maildir("alice")
    os.rename(alice, alice + ".away")
    os.symlink("/dev/null", alice)
    runner.look()
    local.look()
    os.unlink(alice)
    os.rename(alice + ".away", alice)
    runner.look()
    if runner.next_due():
        runner.due(runner.next_due() + 1)
    local.look()


def remote_deferral(box, tell):
    runner, local = started(box)
    id = accepted(box, tell, b"slow", [b"x@remote.test"], expect=["remote"])
    runner.look()
    box.report_remote(f"{id}.remote", (0, "deferred", "4.2.0", "451 later"))
    runner.look()
    runner.due(runner.next_due() + 1)


def remote_partly(box, tell):
    """One of two is delivered, the other fails: the sender is told once, the first is not sent again."""
    runner, local = started(box)
    id = accepted(box, tell, b"partly", [b"x@remote.test", b"y@remote.test"], sender=b"bob@example.test", expect=["bounce:bob"])
    runner.look()
    box.report_remote(f"{id}.remote", (0, "delivered", "2.0.0", "250 ok"), (1, "failed", "5.1.1", "550 no"))
    runner.look()
    local.look()


def bounced(box, tell):
    runner, local = started(box)
    id = accepted(box, tell, b"gone", [b"x@remote.test"], sender=b"bob@example.test", expect=["bounce:bob"])
    runner.look()
    box.report_remote(f"{id}.remote", (0, "failed", "5.1.1", "550 no such user"))
    runner.look()
    local.look()


def expired(box, tell):
    """Parked, then returned when its time is over."""
    runner, local = started(box)
    id = accepted(box, tell, b"late", [b"x@remote.test"], sender=b"bob@example.test", expect=["bounce:bob"])
    runner.look()
    box.report_remote(f"{id}.remote", (0, "deferred", "4.4.1", "refused"), down=True)
    runner.look()
    now = clock.now
    try:
        clock.now = lambda: now() + 6 * 86400
        runner.due(clock.now())
        runner.look()
        local.look()
    finally:
        clock.now = now


NOTIFY = ((b"Pymta-Notify", b"SUCCESS,FAILURE"),)


def receipt_local(box, tell):
    """Delivered into a mailbox, and the sender wants to hear of it: both happen, once."""
    runner, local = started(box)
    box.accept(b"bob@example.test", [b"alice@example.test"], b"heard", notes=NOTIFY)
    tell((b"heard", ("alice", "receipt:bob")))
    work(box, runner, local)


def receipt_expanded(box, tell):
    """Two copies and one receipt, for the alias."""
    runner, local = started(box)
    box.accept(b"carol@example.test", [b"team@example.test"], b"spread", notes=NOTIFY)
    tell((b"spread", ("alice", "bob", "receipt:carol")))
    work(box, runner, local)


def receipt_parted(box, tell):
    """An alias with targets here and elsewhere."""
    runner, local = started(box)
    box.accept(b"bob@example.test", [b"mixed@example.test"], b"apart", notes=NOTIFY)
    tell((b"apart", ("alice", "remote", "receipt:bob")))
    runner.look()


def receipt_relayed(box, tell):
    """Of three recipients elsewhere two are with a host that sends no receipts, and one is refused: a receipt and a bounce."""
    runner, local = started(box)
    id = box.accept(b"bob@example.test", [b"x@remote.test", b"y@remote.test", b"z@remote.test"], b"passed", notes=NOTIFY)
    tell((b"passed", ("receipt:bob", "bounce:bob")))
    runner.look()
    box.report_remote(f"{id}.remote", (0, "relayed", "2.0.0", "mx[192.0.2.1] said: 250 ok"), (1, "failed", "5.1.1", "mx[192.0.2.1] said: 550 no"),
                      (2, "relayed", "2.0.0", "mx[192.0.2.1] said: 250 ok"))
    runner.look()


def dropped(box, tell):
    """What pymta-inject leaves, taken and routed by the runner."""
    from pymta.programs import inject
    runner, local = started(box)
    recipients = [queuefile.Recipient(queuefile.UNROUTED, address) for address in (b"alice@example.test", b"x@remote.test")]
    envelope = queuefile.Envelope(b"bob@example.test", recipients, queuefile.Ids().new(clock.now()))
    inject.drop(envelope, BODY % (b"drop", b"drop"), inject.read_settings(box.etc))
    tell((b"drop", ("alice", "remote")))
    work(box, runner, local, 2)


SCENARIOS = [one_local, two_in_a_batch, batch_by_syncfs, two_recipients, mixed, local_deferral, remote_deferral, remote_partly, bounced,
             expired, receipt_local, receipt_expanded, receipt_parted, receipt_relayed, dropped]


# ---- the law ----------------------------------------------------------------------------------------------------------
def recover(box: Box, local_first: bool) -> None:
    """Start the programs, in one order or the other, and let them work until nothing moves."""
    from pymta.queue import intake
    intake.tidy("in/smtpd", clock.now() + 1e9)
    runner, local = box.runner(), box.local()
    for each in (local, runner) if local_first else (runner, local):
        each.start()
    for _ in range(4):
        runner.look()
        local.look()
        due = runner.next_due()
        if due is not None:
            runner.due(due + 1)


def about(data: bytes) -> str:
    """What kind of message it is, as it stands before whom it is for."""
    if b"MAILER-DAEMON" not in data:
        return ""
    return "receipt:" if b"\nSubject: Delivered: " in data else "bounce:"


def in_maildirs(box: Box) -> Counter:
    """(mark, who) -> how often a Maildir has it: "alice" for a message to her, "bounce:bob" and "receipt:bob" for what tells bob."""
    found: Counter = Counter()
    for user in USERS:
        for data in box.mail(user):
            mark = data.rsplit(b"Subject: ", 1)[1].split(b"\n", 1)[0]
            found[mark, about(data) + user] += 1
    return found


def in_queue(box: Box) -> Counter:
    """The same for what is still owed; a remote recipient is "remote"."""
    found: Counter = Counter()
    for path in box.queue():
        if path.startswith("corrupt/"):
            continue
        with open(path, "rb") as file:
            envelope, _ = queuefile.read_envelope(file.fileno())
            records, _ = queuefile.read_records(file.fileno(), envelope)
            data = file.read()
        mark = data.rsplit(b"Subject: ", 1)[1].split(b"\n", 1)[0]
        for number in queuefile.owed(envelope, records):
            recipient = envelope.recipients[number]
            who = "remote" if recipient.kind == queuefile.REMOTE or b"@remote" in recipient.address else \
                recipient.address.decode().partition("@")[0]
            found[mark, about(data) + who] += 1
    return found


def broken(box: Box, seen: Counter, promised: list, everything: list) -> str:
    """What breaks the law in the tree as it is now; empty if nothing does."""
    queued = in_queue(box)
    found = in_maildirs(box) + queued + seen
    for mark, owed in everything:
        for who in owed:
            count = found[mark, who]
            if who.startswith(("bounce:", "receipt:")):
                # not yet told is fine while a recipient is still owed
                waits = {"remote", *(other for other in owed if ":" not in other and who.startswith("receipt:"))}
                count += sum(queued[mark, other] for other in waits)
                if (mark, owed) in promised and count < 1:
                    return f"{mark!r} for {who}: neither told nor queued"
                if found[mark, who] > 1:
                    return f"{mark!r}: {who} {found[mark, who]} times"
            elif (mark, owed) in promised and count < 1:
                return f"{mark!r} for {who}: lost"
            elif count > 1:
                return f"{mark!r} for {who}: {count} times"
    for place in (*(f"in/{who}/tmp/{shard}" for who in ("smtpd", "qrun") for shard in layout.SHARDS), "split", "publishing", "report/local/new", "report/remote/new"):
        if left := os.listdir(place):
            return f"debris in {place}: {left}"
    for user in USERS:
        if left := os.listdir(box.maildir(user) + "/tmp"):
            return f"debris in the Maildir of {user}: {left}"
    return ""


def violations(box: Box, scenario: Scenario, calls: list, *, without: str = "", first_only: bool = False) -> tuple[list[str], int]:
    """(what breaks the law in some tree, number of trees).  without: a place in the code whose syncs are left out."""
    found: list[str] = []
    everything = [call for call in calls if not isinstance(call, Call)]
    disk = Disk(*scenario.before)
    promised: list = []
    done: set[int] = set()
    roots = (box.spool, f"{box.root}/home")
    for number in range(len(calls) + 1):
        if number:
            call = calls[number - 1]
            if not isinstance(call, Call):
                promised.append(call)
            elif not (without and call.kind in SYNCS and call.site == without):
                disk.play(call)
        for tree in disk.trees():
            key = hash((frozenset(tree.items()), len(promised)))
            if key in done:
                continue
            done.add(key)
            for emptied in (False, True):
                write_tree(tree, *roots)
                seen: Counter = Counter()
                if emptied:
                    delivered = [f"{box.maildir(user)}/{name}/{base}" for user in USERS for name in ("new", "cur")
                                 for base in os.listdir(f"{box.maildir(user)}/{name}")]
                    if not delivered:
                        continue
                    seen = in_maildirs(box)
                    for path in delivered:
                        os.unlink(path)
                try:
                    recover(box, local_first=emptied)
                    what = broken(box, seen, promised, everything)
                except Exception as error:
                    what = f"the programs do not start: {error!r}"
                if what:
                    found.append(f"after step {number} ({calls[number - 1] if number else 'nothing'}){' emptied' if emptied else ''}: {what}")
                    if first_only:
                        return found, len(done)
    return found, len(done)


@pytest.fixture
def box(monkeypatch):
    monkeypatch.chdir("/")
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pymta-crash-", dir=base) as root:
        yield Box(root, CONF, ALIASES)
        os.chdir("/")


@pytest.mark.parametrize("script", SCENARIOS, ids=lambda script: script.__name__)
def test_every_tree_a_power_cut_can_leave_keeps_the_law(box, script):
    scenario = Scenario(script)
    calls = scenario.record(box)
    found, trees = violations(box, scenario, calls)
    print(f"{script.__name__}: {len(calls)} steps, {trees} trees")
    assert not found, "\n".join(found[:5])
    assert trees > 3


def test_each_sync_is_needed(box):
    """Leaving out the syncs of any one place in the code must let some tree break the law: else it is not needed, or not tested."""
    recorded, sites = [], set()
    blank = read_tree(box.spool, f"{box.root}/home")
    for script in SCENARIOS:
        write_tree({**blank[0], **dict.fromkeys(blank[1])}, box.spool, f"{box.root}/home")
        scenario = Scenario(script)
        calls = scenario.record(box)
        recorded.append((scenario, calls))
        sites |= {call.site for call in calls if isinstance(call, Call) and call.kind in SYNCS and not call.site.startswith("store.py")}
    unneeded = []
    for site in sorted(sites):
        if not any(violations(box, scenario, calls, without=site, first_only=True)[0] for scenario, calls in recorded
                   if any(isinstance(call, Call) and call.kind in SYNCS and call.site == site for call in calls)):
            unneeded.append(site)
    assert not unneeded, f"of {sorted(sites)}"
    assert len(sites) >= 14
