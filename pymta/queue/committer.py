"""committer: one group commit for all workers of a daemon, in a child of its own.

    worker    draft written and closed in tmp/       "NAME NAME ...\\n"      ─▶  child: intake.publish: sync, rename into new/
              250                                 ◀─  "NAME 0\\nNAME 28\\n..."

What a worker's loop finished in one turn goes over in one line; what all workers sent while one sync ran is the next batch, so
the busier the host, the fewer syncs a message costs.  The numbers are those of errno, 0 for a message that is ours.

A thread in each worker did the same, but every system call of it takes the interpreter's lock away from the worker and
gives it back: 0.1 ms processor time per message, as much as all of SMTP (measured, 20 sessions, 4 KiB).

If the child dies, what it was asked for is answered "try again" and taken back where that is possible; what it had published but
could not tell may be delivered and come a second time, as where a connection breaks before the 250 (RFC 5321 §4.1.1.5).
"""
from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from typing import TYPE_CHECKING

from pymta import clock, durable
from pymta.formats import queuefile
from pymta.serve.line import Line
from pymta.queue import intake
from pymta.settings import Settings

if TYPE_CHECKING:
    from pymta.serve import Clients, Worker

_CHUNK_OCTETS = 1 << 16
MORE_FROM = 8               # so many that get ready during a sync share its end; fewer are the next batch, and nobody waits for them
_Batch = tuple[list[intake.Draft], list[tuple[socket.socket, int]]]     # drafts; and, in the same order, how many are whose


class Committer:
    """The worker's end.  directory: the intake, below the working directory."""

    def __init__(self, worker: "Worker", directory: str, helper: str, *, syncfs: bool) -> None:
        self.directory = directory
        self.syncfs = syncfs
        self.ids = queuefile.Ids()
        self._loop = worker.loop
        self._ready: list[bytes] = []                   # names that this turn of the loop has finished
        self._asked: dict[bytes, tuple[intake.Draft, asyncio.Future[None]]] = {}
        self._line = Line(worker, helper, self._heard, self._gone)

    def draft(self, envelope: queuefile.Envelope, *, held: bool = False) -> intake.Draft:
        """A new draft; the envelope must have its recipients.  It gets its id here if it has none.  held: for the admin to decide."""
        if not envelope.id:
            envelope.id = self.ids.new(clock.now())
        return intake.Draft(self.directory, envelope, held=held)

    def submit(self, draft: intake.Draft) -> asyncio.Future[None]:
        """Done when the message is on disk and in new/.  Raises OSError, now or from the future: then nothing was taken."""
        try:
            if self._line.away:
                raise OSError(errno.EAGAIN, "the child that commits is away")
            draft.finish()
            if not self.syncfs:
                draft.start_sync()                      # the disk may begin while the child is still busy with others
            draft.close()
        except OSError:
            draft.discard()
            raise
        future: asyncio.Future[None] = self._loop.create_future()
        name = draft.name.encode("ascii")
        self._asked[name] = draft, future
        if not self._ready:
            self._loop.call_soon(self._flush)
        self._ready.append(name)
        return future

    # ---- inside -------------------------------------------------------------------------------------------------------
    def _gone(self) -> None:
        self._ready.clear()
        asked, self._asked = self._asked, {}
        for draft, future in asked.values():
            for path in (draft.path, f"{self.directory}/new/{draft.name}"):
                try:
                    durable.unlink_if_there(path)
                except OSError:
                    pass
            if not future.done():
                future.set_exception(OSError(errno.EAGAIN, "the child that commits ended"))

    def _flush(self) -> None:
        if self._ready:
            self._line.say(b" ".join(self._ready) + b"\n")
            self._ready.clear()

    def _heard(self, lines: list[bytes]) -> None:
        for line in lines:
            name, number = line.split()
            _, future = self._asked.pop(name)
            if future.done():
                continue                                # nobody waits for it any more; the message is taken all the same
            if number == b"0":
                future.set_result(None)
            else:
                future.set_exception(OSError(int(number), os.strerror(int(number))))


class _Arrived(intake.Draft):
    """A draft that a worker wrote and closed, known by its name alone."""

    __slots__ = ()

    def __init__(self, directory: str, name: str) -> None:
        self.name = name
        self.directory = f"{directory}/tmp/{queuefile.shard(name)}"
        self.path = f"{self.directory}/{name}"

    def start_sync(self) -> None:
        """Done by the worker."""

    def sync(self) -> None:
        durable.sync_file(self.path)

    def close(self) -> None:
        """Done by the worker."""

    def discard(self) -> None:
        try:
            durable.unlink_if_there(self.path)
        except OSError:
            pass


def helper_main(settings: Settings, clients: "Clients", directory: str) -> None:
    """The child's life: publish what the workers ask for, everything that has come at a time, until the parent is gone."""
    syncfs = intake.has_own_filesystem(".", settings["queue.own_filesystem"])
    asking = _Asking(clients, directory)
    waiting: _Batch = ([], [])
    while not asking.over:
        batch, owners = waiting if waiting[0] else asking.next(None)
        waiting = [], []
        if not batch:
            continue

        def more() -> list[intake.Draft]:
            nonlocal waiting
            late, its_owners = asking.next(0)
            if len(late) < MORE_FROM:
                waiting = late, its_owners
                return []
            owners.extend(its_owners)
            return late

        results = iter(intake.publish(directory, batch, syncfs=syncfs, more=more))
        names = iter(batch)
        for worker, count in owners:
            _tell(worker, "".join(f"{next(names).name} {_number(next(results))}\n" for _ in range(count)))


class _Asking:
    """The child's ends of the workers' sockets.  over: the parent is gone."""

    def __init__(self, clients: "Clients", directory: str) -> None:
        self.over = False
        self._clients = clients
        self._directory = directory
        self._poll = select.epoll()
        self._poll.register(clients.fileno(), select.EPOLLIN)
        self._workers: dict[int, socket.socket] = {}
        self._rests: dict[int, bytes] = {}
        self._makers: dict[int, str] = {}               # what the ids of a worker have in common

    def next(self, wait_s: float | None) -> _Batch:
        """What has come, waiting at most wait_s (None: for ever): the drafts, and, in the same order, how many are whose."""
        batch: list[intake.Draft] = []
        owners: list[tuple[socket.socket, int]] = []
        for fd, _ in self._poll.poll(wait_s):
            if fd == self._clients.fileno():
                self._meet(self._clients.next())
                continue
            names = self._names(fd)
            batch += [_Arrived(self._directory, name) for name in names]
            if names:
                owners.append((self._workers[fd], len(names)))
        return batch, owners

    def _meet(self, worker: socket.socket | None) -> None:
        if worker is None:
            self.over = True
            return
        self._workers[worker.fileno()], self._rests[worker.fileno()] = worker, b""
        self._poll.register(worker.fileno(), select.EPOLLIN)

    def _names(self, fd: int) -> list[str]:
        data = _receive(self._workers[fd])
        if not data:
            self._poll.unregister(fd)
            self._workers.pop(fd).close()
            del self._rests[fd]
            if fd in self._makers:                      # what it has not asked for was never acknowledged
                intake.forget(self._directory, self._makers.pop(fd))
            return []
        whole, _, self._rests[fd] = (self._rests[fd] + data).rpartition(b"\n")
        names = whole.decode("ascii").split()
        if names:
            self._makers[fd] = queuefile.maker(names[0])
        return names


def _number(error: OSError | None) -> int:
    return 0 if error is None else error.errno or errno.EIO


def _receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(_CHUNK_OCTETS)
    except OSError:
        return b""


def _tell(sock: socket.socket, lines: str) -> None:
    try:
        sock.sendall(lines.encode("ascii"))
    except OSError:
        pass                                            # the worker has died; its clients saw no 250
