"""The committing child: what it publishes, what it says when it cannot, what a worker makes of its death."""
from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest

from pymta import durable, layout, settings
from pymta.formats import queuefile
from pymta.queue import committer

INTAKE = "in/smtpd"


class Clients:
    """What serve gives a helper: a descriptor that is readable when a worker's socket is to be had."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.waiting: list[socket.socket | None] = []

    def give(self, sock: socket.socket | None) -> None:
        self.waiting.append(sock)
        self.ours.send(b"x")

    def fileno(self) -> int:
        return self.theirs.fileno()

    def next(self) -> socket.socket | None:
        self.theirs.recv(1)
        return self.waiting.pop(0)


class Worker:
    def __init__(self, sock: socket.socket) -> None:
        self.loop = asyncio.get_running_loop()
        self.sock = sock

    def helper(self, name: str, when_new) -> socket.socket:
        self.when_new = when_new
        return self.sock


@pytest.fixture
def spool(tmp_path, monkeypatch: pytest.MonkeyPatch) -> str:
    layout.make_spool(str(tmp_path), single_uid=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(durable, "tap", None)
    return str(tmp_path)


@pytest.fixture
def clients(spool: str):
    """The child, as a thread."""
    given = settings.read(os.path.join(spool, "no-etc"))
    it = Clients()
    child = threading.Thread(target=committer.helper_main, args=(given, it, INTAKE))
    child.start()
    yield it
    it.give(None)
    child.join(10)
    assert not child.is_alive()


def envelope(name: bytes = b"alice@example.test") -> queuefile.Envelope:
    return queuefile.Envelope(b"", [queuefile.Recipient(queuefile.LOCAL, name)], "")


def names(place: str) -> list[str]:
    return sorted(name for _, _, found in os.walk(f"{INTAKE}/{place}") for name in found)


def run(clients: Clients, scenario, workers: int = 1, syncfs: bool = False) -> None:
    async def main() -> None:
        ends = []
        for _ in range(workers):
            ours, theirs = socket.socketpair()
            clients.give(theirs)
            ends.append(committer.Committer(Worker(ours), INTAKE, "commit", syncfs=syncfs))
        await asyncio.wait_for(scenario(*ends), 20)
        for end in ends:
            end._line.drop()
    asyncio.run(main())


@pytest.mark.parametrize("syncfs", [False, True])
def test_messages_of_two_workers(clients: Clients, syncfs: bool) -> None:
    async def scenario(*ends: committer.Committer) -> None:
        for round_ in range(3):
            futures = []
            for number in range(20):
                for end in ends:
                    draft = end.draft(envelope())
                    draft.write(b"Subject: %d\n\n" % number + b"x\n" * 1000 * round_ * number)
                    futures.append(end.submit(draft))
            await asyncio.gather(*futures)
            assert len(names("new")) == 40 * (round_ + 1) and names("tmp") == []
    run(clients, scenario, workers=2, syncfs=syncfs)
    for name in names("new"):
        with open(f"{INTAKE}/new/{name}", "rb") as file:
            assert queuefile.is_whole(file.fileno())


@pytest.mark.parametrize("fails", ["sync_file", "rename", "sync_dir"])
def test_what_the_disk_refuses_is_told(clients: Clients, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def tap(call: str, *_: object) -> None:
        if call == fails:
            raise OSError(28, "no space")

    async def scenario(end: committer.Committer) -> None:
        draft = end.draft(envelope())
        draft.write(b"x\n")
        monkeypatch.setattr(durable, "tap", tap)
        with pytest.raises(OSError) as caught:
            await end.submit(draft)
        monkeypatch.setattr(durable, "tap", None)
        assert caught.value.errno == 28 and names("new") == names("tmp") == []
        draft = end.draft(envelope())
        draft.write(b"x\n")
        await end.submit(draft)
        assert len(names("new")) == 1
    run(clients, scenario)


def test_a_child_that_dies(spool: str) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        worker = Worker(ours)
        end = committer.Committer(worker, INTAKE, "commit", syncfs=False)
        draft = end.draft(envelope())
        draft.write(b"x\n")
        future = end.submit(draft)
        assert len(names("tmp")) == 1
        theirs.close()
        with pytest.raises(OSError):
            await asyncio.wait_for(future, 10)
        assert names("tmp") == names("new") == []
        later = end.draft(envelope())
        with pytest.raises(OSError):
            end.submit(later)
        assert names("tmp") == []
        ours, theirs = socket.socketpair()
        worker.when_new(ours)                           # serve has started another one
        draft = end.draft(envelope())
        draft.write(b"x\n")
        future = end.submit(draft)
        theirs.settimeout(10)
        line = await asyncio.get_running_loop().run_in_executor(None, theirs.recv, 1000)
        assert line == draft.name.encode() + b"\n"
        theirs.send(line.strip() + b" 0")               # however the answer is cut
        await asyncio.sleep(0.01)
        assert not future.done()
        theirs.send(b"\n")
        await asyncio.wait_for(future, 10)
        end._line.drop()
        theirs.close()
    asyncio.run(main())
