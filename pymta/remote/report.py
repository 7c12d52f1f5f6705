"""report: what pymta-remote changes on the disk: reports for pymta-qrun, and the files of delivered messages.

Both are gathered for a moment and made durable together, in a thread: the loop never waits for the disk.  What a power cut takes
away of either means that mail is sent once more; SMTP allows no better, but the moment is short.
"""
from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pymta import durable, log
from pymta.formats import report
from pymta.formats.report import Entry

GATHER_S = 0.03
SYNC_S = 0.5
BATCH_ENTRIES = 2000
AGAIN_S = 2.0


# One thread of its own: a report never waits for another thread's work
_disk = ThreadPoolExecutor(1, thread_name_prefix="disk")


class Reporter:
    """Entries of attempts that end at about the same time go into one file."""

    def __init__(self) -> None:
        self._groups: list[list[Entry]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def add(self, entries: list[Entry]) -> None:
        """entries: all that is to be said of one file's attempt; they stay together."""
        self._groups.append(entries)
        self._soon(GATHER_S)

    def up(self, key: str) -> None:
        """The destination answers; for a message that had to wait for it."""
        self.add([Entry("-", 0, -1, "up", "-", key, "it answers")])

    def unread(self) -> bool:
        """Whether anything that was reported, or is about to be, has not been read by the runner."""
        return bool(self._groups or self._writing or os.listdir("report/remote/new"))

    def _soon(self, wait_s: float) -> None:
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._start)

    def _start(self) -> None:
        self._timer = None
        self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        wait_s = 0.0
        try:
            while self._groups and not wait_s:
                count, batch = self._batch()
                sync = any(entry.word in ("delivered", "relayed") for entry in batch)
                try:
                    write = partial(report.write, ".", "remote", batch, sync=sync)
                    await asyncio.get_running_loop().run_in_executor(_disk, write)
                    del self._groups[:count]
                except OSError as error:                # its files are left alone until it can be said what became of them
                    log.event("trouble", what="cannot write a report", why=error.strerror or str(error), remedy=f"again in {AGAIN_S:g} s")
                    wait_s = AGAIN_S
                except ValueError as error:             # these files wait for the next start; the others must not
                    log.bug("report", error)
                    del self._groups[:count]
        finally:
            self._writing = None
        if self._groups:
            self._soon(wait_s)

    def _batch(self) -> tuple[int, list[Entry]]:
        """(how many groups, their entries) for one report file.  What is said of a destination is said once, the last word."""
        count = 0
        batch: list[Entry] = []
        for group in self._groups:
            if count and len(batch) + len(group) > BATCH_ENTRIES:
                break
            count += 1
            batch += group
        said = {entry.destination: entry for entry in batch if entry.name == "-"}
        return count, [*said.values(), *(entry for entry in batch if entry.name != "-")]

    async def flush(self) -> None:
        """Write what there is; at the end of the program."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._writing:
            await self._writing
        await self._write()


class Unlinker:
    """Removes names of one directory, and makes that durable soon."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._timer: asyncio.TimerHandle | None = None

    def unlink(self, name: str) -> None:
        durable.unlink(f"{self.directory}/{name}")
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SYNC_S, self._sync)

    def _sync(self) -> None:
        self._timer = None
        asyncio.get_running_loop().run_in_executor(_disk, self._sync_now)

    def _sync_now(self) -> None:
        try:
            durable.sync_dir(self.directory)
        except OSError as error:
            log.event("trouble", what=f"cannot sync {self.directory}", why=error.strerror or str(error))

    def flush(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
            self._sync_now()
