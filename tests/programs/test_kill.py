"""kill -9 at any moment: what was promised arrives exactly once.

Under load over SMTP and by sendmail every process of every daemon, and some callers of sendmail, are killed at random and started
again by the sandbox.  The short form makes some 25 kills; `make test-long` several hundred, PYMTA_KILLS says otherwise.  A failure names its
seed: PYMTA_SEED repeats the choices (not the moments).
"""
from __future__ import annotations

import imaplib
import os
import poplib
import random
import signal
import threading
import time
from collections import Counter

import pytest

from tests.load import ALIASES, Load, copies, debris, in_maildir, mark_of, queued, wait_empty
from tests.peer import Peer
from tests.running import Sandbox, wait_until

SEED = int(os.environ.get("PYMTA_SEED", "0")) or random.randrange(1, 1 << 30)
KILLS = int(os.environ.get("PYMTA_KILLS", "400"))
QUEUE_PROGRAMS = ("pymta-smtpd", "pymta-qrun", "pymta-local", "pymta-remote")
SETTINGS = ["queue.retry=0s,1s,1s,2s,2s", "queue.retry_max=3s", "queue.free_min=0"]


def kill_one(sandbox: Sandbox, dice: random.Random, daemon: str) -> str:
    """SIGKILL for one process of a daemon; "" if none was to be had.  Only ever hits a process of this sandbox: a pid may be anybody's by now."""
    try:
        pids = sandbox.ends["pids"].get(daemon, [])
    except FileNotFoundError:
        pids = []
    dice.shuffle(pids)
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if f"{sandbox.directory}/etc".encode() not in file.read().split(b"\0"):
                    continue
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            return f"{daemon} {pid}"
        except OSError:
            continue
        finally:
            os.close(handle)
    return ""


def kill_many(sandbox: Sandbox, dice: random.Random, count: int, pause_s: tuple[float, float]) -> Counter[str]:
    """count kills, the daemons of the queue thrice as often as the others; how many each had."""
    done: Counter[str] = Counter()
    turn: list[str] = []
    failed = 0
    while done.total() < count:
        if not turn:
            turn = list(sandbox.ends["pids"]) + 2 * list(QUEUE_PROGRAMS)
            dice.shuffle(turn)
        daemon = turn.pop()
        if kill_one(sandbox, dice, daemon):
            done[daemon] += 1
        else:
            failed += 1
            assert failed < 50 * count, "there is nothing left to kill"
        time.sleep(dice.uniform(*pause_s))
    return done


class Reader(threading.Thread):
    """A user who moves, marks and deletes mail all the time, by the file system as mutt does and by IMAP and POP3.

    seen: (mark, user) of everything that has been deleted."""

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        super().__init__(daemon=True)
        self.sandbox = sandbox
        self.dice = random.Random(seed)
        self.seen: Counter[tuple[str, str]] = Counter()
        self.ending = threading.Event()
        self.surprise: BaseException | None = None
        self.turns = self.served = 0

    def run(self) -> None:
        try:
            while not self.ending.wait(0.05):
                self.turns += 1
                for user in ("alice", "bob"):
                    self.as_mutt(user)
                if self.turns % 10 == 0:
                    self.by_network()
        except BaseException as error:
            self.surprise = error

    def as_mutt(self, user: str) -> None:
        box = self.sandbox.directory + f"/home/{user}/Maildir"
        for name in os.listdir(f"{box}/new"):
            path = f"{box}/new/{name}"
            try:
                match self.dice.randrange(4):
                    case 0:
                        with open(path, "rb") as file:
                            mark = mark_of(file.read())
                        os.unlink(path)
                        self.seen[mark, user] += 1
                    case 1:
                        os.rename(path, f"{box}/cur/{name}:2,S")
                    case 2:
                        os.rename(path, f"{box}/.Archive/cur/{name}:2,S")
            except FileNotFoundError:
                pass                                    # an IMAP session has moved it to cur/

    def by_network(self) -> None:
        """Look at everything and move some; whoever serves us may be killed meanwhile."""
        try:
            with self.sandbox.imap("alice") as imap:
                imap.select("INBOX")
                imap.fetch("1:*", "(UID FLAGS RFC822.SIZE)")
                imap.store("1:3", "+FLAGS", r"(\Flagged)")
                imap.uid("MOVE", "1:5", "Trash")
                self.served += 1
            pop3 = self.sandbox.pop3("bob")
            pop3.uidl()
            pop3.quit()
        except (OSError, EOFError, imaplib.IMAP4.error, poplib.error_proto):
            pass

    def end(self) -> Counter[tuple[str, str]]:
        self.ending.set()
        self.join(60)
        assert self.surprise is None, self.surprise
        return self.seen


def kill_under_load(start, kills: int, pause_s: tuple[float, float], *, reader: bool, seed: int = SEED) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    with Peer() as far:
        sandbox = start(set=SETTINGS, transport=[f"remote.test=127.0.0.1:{far.port}"])
        with open(sandbox.ends["etc"] + "/aliases", "w", encoding="utf-8") as file:
            file.write(ALIASES)
        load = Load(sandbox, sessions=6, injectors=2, seed=seed, pause_s=0.005)
        load.cut_injectors = True
        user = Reader(sandbox, seed)
        time.sleep(1.1)                                 # the aliases are in force
        load.start()
        if reader:
            user.start()
        killed = kill_many(sandbox, dice, kills, pause_s)
        load.stop()
        wait_empty(sandbox)
        seen = user.end() if reader else Counter()
        found = copies(f"{sandbox.directory}/home") + seen
        remote = {mark_of(mail.data.replace(b"\r\n", b"\n")) for mail in far.mails}
        lost, twice = load.ledger.faults(found, remote=remote.__contains__)
        print(f"killed {dict(killed)}; {len(load.ledger.sent)} sent, {len(load.ledger.promised)} promised, {load.broken} sessions broken, "
              f"{sum(seen.values())} deleted by their readers; {len(lost)} lost, {len(twice)} twice")
        assert not lost and not twice, (f"seed {seed}", lost[:10], twice[:10])
        assert len(load.ledger.promised) > kills, "no load worth the name"
        assert set(killed) >= set(QUEUE_PROGRAMS) and killed.total() == kills
        assert {user for _, user in found} == {"alice", "bob"} and remote

        # what the killed have left: gone when every program has been started anew
        sandbox.stop()
        again = start(sandbox.directory, set=SETTINGS, transport=[f"remote.test=127.0.0.1:{far.port}"])
        wait_until(lambda: not debris(sandbox.directory), 20, lambda: str(debris(sandbox.directory)))
        assert not queued(again.ends["spool"])
        assert copies(f"{sandbox.directory}/home") + seen == found
        # and the stores are in order: IMAP shows what lies there
        with again.imap("alice") as imap:
            shown = 0
            for folder in ("INBOX", "Archive", "Trash"):
                kind, answer = imap.select(folder)
                assert kind == "OK" and answer[0]
                shown += int(answer[0])
        assert shown == len(in_maildir(again.user("alice")["maildir"]))


def test_every_program_may_be_killed_at_any_moment(sandbox_factory):
    kill_under_load(sandbox_factory, 14, (0.05, 0.6), reader=False)


def test_while_the_users_move_and_delete_what_has_arrived(sandbox_factory):
    kill_under_load(sandbox_factory, 14, (0.05, 0.6), reader=True, seed=SEED + 1)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("reader", [False, True], ids=["alone", "read"])
def test_several_hundred_kills(sandbox_factory, reader):
    kill_under_load(sandbox_factory, KILLS, (0.05, 0.7), reader=reader, seed=SEED + 2)
