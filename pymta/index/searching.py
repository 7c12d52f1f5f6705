"""searching: one search key about text over messages of a folder: what is kept is looked through, the rest is read, and kept.

    searching = Searching(folder, messages, key)        # key: see index/matching
    while progress := searching.step():                 # (messages looked at, of how many); each takes some milliseconds
        ...
    searching.found                                     # {UID: relevancy}; searching.gone: UIDs that are not there any more
    searching.close()

Messages that came since the last time are read each time until KEEP_FROM of them have gathered.
"""
from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Generator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from pymta import log
from pymta.formats.searchtext import Block, base_crc, decode
from pymta.index import matching, textwork
from pymta.index.children import Children

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder
    from pymta.mailbox.message import Message

CHILDREN_FROM = 300                                     # messages that must be read before processes are started for it
KEEP_FROM = 50                                          # messages that are worth a block of their own
KEEP_OCTETS_MAX = 1 << 23                               # of a block: a message with more text than that is read each time
_CHILDREN_MAX = 4
_OCTETS_A_STEP = 1 << 22
_READS_A_STEP = 20


class Searching:
    """To be closed."""

    def __init__(self, folder: Folder, messages: Sequence[Message], key: tuple) -> None:
        self.found: dict[int, int] = {}
        self.gone: set[int] = set()
        self._folder = folder
        self._messages = {message.uid: message for message in messages}
        self._bases = {message.uid: base_crc(message.base) for message in messages}
        self._sorted = sorted(self._messages)
        self._decided: set[int] = set()                 # found, and as well as can be: nothing more to look at
        self._matcher = matching.of(key)
        self._children: Children | None = None
        self._done = 0
        self._all = len(self._messages)
        self._steps = self._work()

    def step(self) -> tuple[int, int] | None:
        """None when all has been done.  Raises OSError where a message cannot be read."""
        if next(self._steps, None) is None:
            return None
        return min(self._done, self._all - 1), self._all

    def close(self) -> None:
        self._steps.close()
        self._end_children()

    def _work(self) -> Generator[bool, None, None]:
        missing: dict[str, set[int]] = {}
        for which in self._matcher.wanted:
            covered: set[int] = set()
            yield from self._look_through(which, covered)
            missing[which] = self._messages.keys() - covered
        groups: dict[str, list[Message]] = {}           # which texts of a message are missing -> messages
        for uid in sorted(set().union(*missing.values())):
            if uid not in self._decided:
                groups.setdefault("".join(which for which in missing if uid in missing[which]), []).append(self._messages[uid])
        self._all += (more := sum(map(len, groups.values())))
        self._done = self._all - more
        for wanted, messages in groups.items():
            yield from self._read(wanted, messages)

    # ---- what is kept -------------------------------------------------------------------------------------------------
    def _look_through(self, which: str, covered: set[int]) -> Generator[bool, None, None]:
        """Search the blocks of a file; covered: gets the UIDs that need not be read."""
        file = self._folder.search_files[which]
        octets = 0
        for block in file.blocks(self._folder.uidvalidity):
            ours = self._ours(block)
            if not ours:
                continue
            if not ours <= self._decided:
                text = file.text(block)
                if text is None:
                    continue
                self._take(which, block, text, ours)
            covered |= ours
            self._done += len(ours) // len(self._matcher.wanted)
            octets += block.octets
            if octets >= _OCTETS_A_STEP:
                octets = 0
                yield True

    def _ours(self, block: Block) -> set[int]:
        """Messages of the block that are asked for, and are the same ones."""
        at = bisect_left(self._sorted, min(block.uids))
        if at == len(self._sorted) or self._sorted[at] > max(block.uids):
            return set()
        known = self._bases.get
        return {uid for uid, crc in zip(block.uids, block.bases) if known(uid) == crc}

    def _take(self, which: str, block: Block, text: bytes, ours: set[int]) -> None:
        for uid, score in self._matcher.find(which, block, text):
            if uid in ours and self.found.get(uid, 0) < score:
                self.found[uid] = score
                if score == matching.EXACT:
                    self._decided.add(uid)

    # ---- what must be read --------------------------------------------------------------------------------------------
    def _read(self, wanted: str, messages: list[Message]) -> Generator[bool, None, None]:
        if len(messages) >= CHILDREN_FROM:
            answered: set[int] = set()
            yield from self._read_by_children(wanted, messages, answered)
            messages = [message for message in messages if message.uid not in answered]
        keep = len(messages) >= KEEP_FROM
        left = iter(messages)
        while some := list(islice(left, _READS_A_STEP)):
            there: set[int] = set()
            for which, block in textwork.blocks([(message.uid, message.base, partial(self._folder.read, message.uid)) for message in some], wanted):
                there |= self._look_into(which, block)
                if keep:
                    self._keep(which, block)
            self.gone.update(message.uid for message in some if message.uid not in there)
            self._done += len(some)
            yield True

    def _read_by_children(self, wanted: str, messages: list[Message], answered: set[int]) -> Generator[bool, None, None]:
        try:
            self._children = Children(self._folder.directory, messages, min(len(os.sched_getaffinity(0)), _CHILDREN_MAX),
                                      textwork.__name__, wanted)
            while answers := self._children.some():
                for answer in answers:
                    before = len(answered)
                    for which, block in textwork.unpack(answer):
                        answered |= self._look_into(which, block)
                        self._keep(which, block)
                    self._done += len(answered) - before
                yield True
        except OSError as error:
            log.event("trouble", mailbox=self._folder.directory, why=f"no processes to read messages, one after the other instead: {error}")
        finally:
            self._end_children()

    def _look_into(self, which: str, octets: bytes) -> set[int]:
        """Search a block that was just made.  The UIDs in it."""
        decoded = decode(octets)
        assert decoded is not None
        block, _ = decoded
        uids = set(block.uids)
        self._take(which, block, octets[block.offset:], uids)
        return uids

    def _keep(self, which: str, block: bytes) -> None:
        if len(block) <= KEEP_OCTETS_MAX:
            self._folder.search_files[which].add(block, self._folder.uidvalidity)

    def _end_children(self) -> None:
        children, self._children = self._children, None
        if children:
            children.close()
