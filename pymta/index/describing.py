"""describing: ENVELOPE and BODYSTRUCTURE of many messages for one command: from the index, or from the messages and into it."""
from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from pymta import log
from pymta.formats.index import Entry, Packed, encode
from pymta.formats.uidlist import UID_MAX
from pymta.index import columns
from pymta.index.children import Children
from pymta.index.describe import HEADERS, describe, unpack

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder
    from pymta.mailbox.message import Message

CHILDREN_FROM = 1000                                    # messages that must be read before processes are started for it
_CHILDREN_MAX = 4
_TEXTS = {"envelope": columns.ENVELOPE, "bodystructure": columns.BODYSTRUCTURE, "keys": columns.KEYS,
          "preview": columns.PREVIEW}
_AT_ONCE = 500                                          # entries appended at one stroke
_uid = attrgetter("uid")


class Describing:
    """messages: all that will be asked for, ascending; whole: whether for more than their headers say.  To be closed."""

    def __init__(self, folder: Folder, messages: Sequence[Message], *, whole: bool = True) -> None:
        self._whole = whole
        self._folder = folder
        self._files = folder.index
        self._files.refresh(folder.uidvalidity)
        self._children: Children | None = None
        self._early: list[Packed] = []                  # what children have read ahead
        if len(messages) >= CHILDREN_FROM and len(unread := self._files.missing(messages, whole=whole)) >= CHILDREN_FROM:
            try:
                self._children = Children(folder.directory, unread, min(len(os.sched_getaffinity(0)), _CHILDREN_MAX),
                                          describe.__module__, "" if whole else HEADERS)
            except OSError as error:
                log.event("trouble", mailbox=folder.directory, why=f"no processes to read messages, one after the other instead: {error}")

    def some(self, messages: Sequence[Message]) -> list[Entry | None]:
        """Entries of the next few; None for a message that has gone.  Raises OSError where one cannot be read."""
        self._files.refresh(self._folder.uidvalidity)
        if self._children and messages:
            self._take(messages[-1].uid)
        found = self._files.read(messages, whole=self._whole)
        if None in found:
            made: list[Packed] = []
            for at, entry in enumerate(found):
                if entry is None:
                    found[at] = self._look(messages[at], made)
            if made:
                self._files.add(made, self._folder.uidvalidity)
        return found

    def texts(self, messages: Sequence[Message], which: str) -> list[bytes | None]:
        """One field of the entries ("envelope", "bodystructure", "keys" or "preview")."""
        if self._children is None:
            self._files.refresh(self._folder.uidvalidity)
            if (found := self._files.texts(messages, _TEXTS[which])) is not None:
                return [*found]
        return [None if entry is None else getattr(entry, which) for entry in self.some(messages)]

    def sent(self, messages: Sequence[Message]) -> list[int | None]:
        """When each was sent."""
        if self._children is None:
            self._files.refresh(self._folder.uidvalidity)
            if (found := self._files.sent(messages)) is not None:
                return [*found]
        return [None if entry is None else entry.sent for entry in self.some(messages)]

    def _take(self, uid: int) -> None:
        """What the children have read up to this UID goes into the index."""
        assert self._children is not None
        try:
            for answer in self._children.until(uid):
                self._early += unpack(answer)
        except OSError as error:
            log.event("trouble", mailbox=self._folder.directory, why=str(error))
            self.close()
        self._add(uid)
        self._files.refresh(self._folder.uidvalidity)

    def _add(self, uid: int) -> None:
        """Entries up to this UID, in order: then whoever asks of all messages finds theirs one behind the other."""
        self._early.sort(key=_uid)
        count = bisect_right(self._early, uid, key=_uid)
        for begin in range(0, count, _AT_ONCE):
            self._files.add(self._early[begin:min(begin + _AT_ONCE, count)], self._folder.uidvalidity)
        del self._early[:count]

    def _look(self, message: Message, made: list[Packed]) -> Entry | None:
        try:
            data = self._folder.read(message.uid)
            entry = describe(message.uid, data, message.internaldate)
        except LookupError:
            return None
        if not message.expunged:
            made.append(encode(entry, message.base))
        return entry

    def close(self) -> None:
        children, self._children = self._children, None
        if children:
            children.close()
            self._add(UID_MAX)
