"""Load with a memory: what was sent to a running sandbox, what was promised, and what has come of it.

Every message has a mark of its own and is sent once, whatever happens to it.  A mark is promised when the client read 250 after
its text, or pymta-inject ended with 0; one that got no answer, or another, may come once or not at all.
"""
from __future__ import annotations

import itertools
import os
import random
import re
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.running import Sandbox, wait_until

ALIASES = "team: alice, bob\nmixed: alice, far@remote.test\n"
REMOTE = "remote"                                       # in place of a user: the other host

# what is written in RCPT -> who gets one each
KINDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("alice@example.test",), ("alice",)),
    (("bob@example.test",), ("bob",)),
    (("team@example.test",), ("alice", "bob")),
    (("alice-some-extension@example.test", "BOB@example.test"), ("alice", "bob")),
    (("mixed@example.test",), ("alice", REMOTE)),
    (("team@example.test", "alice@example.test", "bob+x@example.test"), ("alice", "bob", "bob+x")),
    (("alice+only@example.test",), ("alice",)),
)
_MARK = re.compile(rb"^X-Mark: (\S+)\r?$", re.MULTILINE)
_QUEUE = ("in/smtpd/new", "in/inject/new", "in/qrun/new", "split", "todo/local", "todo/remote", "report/local/new", "report/remote/new",
          "later", "parked", "hold")
# Nobody may find anything here once all is done and every program has been started anew.  (What a killed pymta-inject has begun
# stays in in/inject/tmp for a day.)
_TMP = ("in/smtpd/tmp", "in/qrun/tmp", "publishing", "report/local/tmp", "report/remote/tmp", "corrupt")


@dataclass(frozen=True)
class Sent:
    mark: str
    owed: tuple[str, ...]                               # users, perhaps REMOTE; one that stands twice gets two


class Ledger:
    """sent: all that was ever tried; promised: marks."""

    def __init__(self) -> None:
        self.sent: dict[str, Sent] = {}
        self.promised: set[str] = set()
        self._numbers = itertools.count()

    def new(self, source: str, owed: Iterable[str]) -> Sent:
        mark = f"{source}-{next(self._numbers)}"
        self.sent[mark] = one = Sent(mark, tuple(user.partition("+")[0] for user in owed))
        return one

    def faults(self, found: Counter[tuple[str, str]], promised: set[str] | None = None, remote: Callable[[str], bool] = lambda mark: True,
               ) -> tuple[list[str], list[str]]:
        """(what was lost, what came too often); found: (mark, user) -> copies.  remote: whether the other host has a mark."""
        lost, twice = [], []
        for mark, sent in list(self.sent.items()):
            certain = mark in (self.promised if promised is None else promised)
            for user, copies in Counter(sent.owed).items():
                if user == REMOTE:
                    lost += [f"{mark} for the other host"] if certain and not remote(mark) else []
                    continue
                if certain and found[mark, user] < copies:
                    lost.append(f"{mark} for {user}: {found[mark, user]} of {copies}")
                if found[mark, user] > copies:
                    twice.append(f"{mark} for {user}: {found[mark, user]} instead of {copies}")
        strangers = [f"{mark} for {user}" for mark, user in found if mark not in self.sent or user not in self.sent[mark].owed]
        return lost, twice + [f"nobody sent {each}" for each in strangers]


class Load:
    """sessions clients over SMTP and injectors callers of sendmail, from start until stop.  pause_s: between two messages of one client."""

    def __init__(self, sandbox: Sandbox, *, sessions: int = 6, injectors: int = 2, seed: int = 1, pause_s: float = 0.0,
                 kinds: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = KINDS) -> None:
        self.ledger = Ledger()
        self.kinds = kinds
        self.sandbox = sandbox
        self.address = (sandbox.ends["host"], sandbox.ends["smtp"])
        self.sendmail = sandbox.ends["sendmail"]
        self.pause_s = pause_s
        self.cut_injectors = False                      # whether to kill some of the callers of sendmail as well
        self.refused = 0                                # commands and calls that were put off
        self.broken = 0                                 # sessions that ended without being asked to
        self.surprises: list[str] = []
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._guard, args=(work, random.Random(seed * 1000 + number), f"{name}{number}"), daemon=True)
                         for name, work, count in (("s", self._session, sessions), ("i", self._inject, injectors)) for number in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"
        assert not self.surprises, self.surprises[:3]

    def _guard(self, work: Callable[[random.Random, str], None], dice: random.Random, name: str) -> None:
        while not self._ending.is_set():
            try:
                work(dice, name)
            except OSError:
                self.broken += 1
                self._ending.wait(0.02)
            except Exception as error:
                self.surprises.append(f"{name}: {error!r}")
                return

    # ---- SMTP ---------------------------------------------------------------------------------------------------------
    def _session(self, dice: random.Random, name: str) -> None:
        """One connection of some messages; the next one's envelope follows the text of the last in one packet."""
        with socket.create_connection(self.address, timeout=45) as sock, sock.makefile("rb") as replies:
            self._expect(replies, 220)
            sock.sendall(b"EHLO client.test\r\n")
            self._expect(replies, 250)
            recipients, owed = dice.choice(self.kinds)
            sock.sendall(_envelope(recipients))
            for number in range(last := dice.randint(1, 40)):
                self._expect(replies, 250)              # MAIL
                for _ in recipients:
                    self._expect(replies, 250)
                self._expect(replies, 354)
                sent = self.ledger.new(name, owed)
                text = _text(sent.mark, _size(dice))
                more = number + 1 < last and not self._ending.is_set()
                recipients, owed = dice.choice(self.kinds)
                sock.sendall(text + b".\r\n" + (_envelope(recipients) if more and not self.pause_s else b""))
                code = self._reply(replies)
                if code == 250:
                    self.ledger.promised.add(sent.mark)
                elif code // 100 == 4:
                    self.refused += 1
                else:
                    raise AssertionError(f"{code} for a text")
                if not more:
                    break
                if self.pause_s:
                    self._ending.wait(self.pause_s)
                    sock.sendall(_envelope(recipients))
            sock.sendall(b"QUIT\r\n")

    def _expect(self, replies, code: int) -> None:
        got = self._reply(replies)
        if got // 100 == 4:
            self.refused += 1
            raise OSError(f"put off: {got}")
        if got != code:
            raise AssertionError(f"{got} instead of {code}")

    @staticmethod
    def _reply(replies) -> int:
        """The code of one reply.  OSError when the connection has gone."""
        while line := replies.readline():
            if line[3:4] != b"-" and line.endswith(b"\n"):
                return int(line[:3])
        raise OSError("the connection has gone")

    # ---- sendmail -----------------------------------------------------------------------------------------------------
    def _inject(self, dice: random.Random, name: str) -> None:
        recipients, owed = dice.choice(self.kinds)
        sent = self.ledger.new(name, owed)
        process = subprocess.Popen([self.sendmail, "-f", "bob@example.test", *recipients], env={}, stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert process.stdin
        try:
            if self.cut_injectors and dice.random() < 0.2:
                threading.Timer(dice.uniform(0.01, 0.12), process.kill).start()
            process.stdin.write(_text(sent.mark, _size(dice)).replace(b"\r\n", b"\n"))
            process.stdin.close()
        finally:
            status = process.wait(60)
        if status == 0:
            self.ledger.promised.add(sent.mark)
        elif status == 75:
            self.refused += 1
        elif status != -9:
            raise AssertionError(f"sendmail ended with {status}")
        self._ending.wait(self.pause_s or 0.01)


def _envelope(recipients: Iterable[str]) -> bytes:
    return b"MAIL FROM:<stranger@client.test>\r\n%sDATA\r\n" % b"".join(b"RCPT TO:<%s>\r\n" % r.encode() for r in recipients)


def _size(dice: random.Random) -> int:
    return 400_000 if dice.random() < 0.01 else int(dice.expovariate(1 / 3000))     # some are written in several calls


def _text(mark: str, size: int) -> bytes:
    line = b"%s goes on and on\r\n" % mark.encode()
    return b"From: <stranger@client.test>\r\nX-Mark: %s\r\nSubject: load\r\n\r\n%s" % (mark.encode(), line * (1 + size // len(line)))


# ---- what there is ----------------------------------------------------------------------------------------------------
def mark_of(data: bytes) -> str:
    """The mark in a message's header; "" for one that is none of ours, a bounce for one."""
    found = _MARK.search(data.partition(b"\n\n")[0] + b"\n")
    return found[1].decode() if found else ""


def whole(data: bytes) -> bool:
    """Whether a stored message of ours ends as it was written."""
    mark = mark_of(data).encode()
    return data.endswith(b"%s goes on and on\n" % mark)


def in_maildir(path: str) -> dict[str, str]:
    """path of the file -> mark, for everything in all folders of a Maildir."""
    out = {}
    for top, _, names in os.walk(path):
        if os.path.basename(top) in ("new", "cur"):
            for name in names:
                try:
                    with open(f"{top}/{name}", "rb") as file:
                        data = file.read()
                except FileNotFoundError:               # moved while we looked
                    continue
                assert not mark_of(data) or whole(data), f"{top}/{name} is not whole"
                out[f"{top}/{name}"] = mark_of(data)
    return out


def copies(sandbox_home: str, users: Iterable[str] = ("alice", "bob")) -> Counter[tuple[str, str]]:
    """(mark, user) -> how many files in the Maildirs below DIR/home."""
    return Counter((mark, user) for user in users for mark in in_maildir(f"{sandbox_home}/{user}/Maildir").values())


def queued(spool: str) -> list[str]:
    """Everything that is still on its way."""
    return [f"{top}/{name}" for place in _QUEUE for top, _, names in os.walk(f"{spool}/{place}") for name in names]


def debris(directory: str, users: Iterable[str] = ("alice", "bob")) -> list[str]:
    """What was left where nothing may be left, below the DIR of a sandbox all of whose programs have been started anew."""
    out = [f"{top}/{name}" for place in _TMP for top, _, names in os.walk(f"{directory}/spool/{place}") for name in names]
    out += [f"{top}/{name}" for part in ("spool", "home", "run", "etc") for top, _, names in os.walk(f"{directory}/{part}")
            for name in names if re.search(r"\.tmp\d+$", name)]     # of durable.replace
    return out + [f"{top}/{name}" for user in users for top, _, names in os.walk(f"{directory}/home/{user}/Maildir")
                  if os.path.basename(top) == "tmp" for name in names]


def wait_empty(sandbox: Sandbox, seconds: float = 120) -> None:
    """Until nothing is on its way any more: seen twice, for a file that moves on while we look is missed."""
    spool = sandbox.ends["spool"]

    def empty() -> bool:
        if queued(spool):
            return False
        time.sleep(0.1)
        return not queued(spool)
    wait_until(empty, seconds, lambda: f"still there: {queued(spool)[:10]}\n{sandbox.log()[-3000:]}")
