"""guarded: a Folder of somebody else, who has given some rights and kept others.                    RFC 4314 §4

Reading is passed on; what changes anything is looked at first, against the rights of that moment.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pymta.mailbox.counts import Status
from pymta.mailbox.folder import Folder
from pymta.mailbox.message import Message
from pymta.mailbox.monitor import Watch
from pymta.mailbox.rights import NoRight

_RIGHT_OF = {"\\Seen": "s", "\\Deleted": "t"}           # all other flags: w
ToStore = tuple[bytes, Iterable[str], float | None]


def right_of(flag: str) -> str:
    return _RIGHT_OF.get("\\" + flag[1:].capitalize() if flag[:1] == "\\" else flag, "w")


class GuardedFolder:
    """inner: the Folder; ask: the rights there are now."""

    def __init__(self, inner: Folder, ask: Callable[[], frozenset[str]]) -> None:
        self.inner = inner
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def rights(self) -> frozenset[str]:
        return self._ask()

    def need(self, wanted: str) -> None:
        """Raises NoRight."""
        if missing := set(wanted) - self.rights:
            raise NoRight(f"{self.inner.name}: no right to {''.join(sorted(missing))}")

    def _may(self, flags: Iterable[str]) -> list[str]:
        rights = self.rights
        return [flag for flag in flags if right_of(flag) in rights]

    # ---- flags --------------------------------------------------------------------------------------------------------
    def claim_recent(self, by: object = None) -> list[int]:
        return self.inner.claim_recent(by)

    def set_flags(self, uids: Iterable[int], mode: str, flags: Iterable[str], by: object = None) -> list[Message]:
        """Those flags that may be changed; NoRight where that is none.  RFC 4314 §4"""
        wanted, rights = list(flags), self.rights
        may = self._may(wanted)
        if not rights & set("stw") or wanted and not may:
            raise NoRight(f"{self.inner.name}: no right to change these flags")
        if mode != "replace" or rights >= set("stw"):
            return self.inner.set_flags(uids, mode, may, by)
        numbers = list(uids)
        changed = {message.uid: message for message in self.inner.set_flags(numbers, "add", may, by)}
        low = {flag.lower() for flag in may}
        groups: dict[frozenset[str], list[int]] = {}
        for message in filter(None, map(self.inner.get, numbers)):
            groups.setdefault(frozenset(flag for flag in self._may(message.flags) if flag.lower() not in low), []).append(message.uid)
        for less, some in groups.items():
            if less:
                changed.update((message.uid, message) for message in self.inner.set_flags(some, "remove", less, by))
        return list(changed.values())

    def set_flags_unchanged(self, uids: Iterable[int], mode: str, flags: Iterable[str], since: int, by: object = None) -> list[int]:
        numbers, wanted = list(uids), list(flags)
        if self.rights >= set("stw"):
            return self.inner.set_flags_unchanged(numbers, mode, wanted, since, by)
        if not self.rights & set("stw") or wanted and not self._may(wanted):
            raise NoRight(f"{self.inner.name}: no right to change these flags")
        with self.inner.mutex:
            changed = self.inner.set_flags_unchanged(numbers, "add", [], since, by)
            self.set_flags([uid for uid in numbers if uid not in set(changed)], mode, wanted, by)
        return changed

    # ---- messages that come ---------------------------------------------------------------------------------------------
    def append(self, data: bytes, flags: Iterable[str] = (), internaldate: float | None = None, by: object = None) -> int:
        return self.append_all([(data, flags, internaldate)], by)[0]

    def append_all(self, messages: Sequence[ToStore], by: object = None) -> list[int]:
        """Without the flags that may not be set: RFC 4314 §4."""
        self.need("i")
        return self.inner.append_all([(data, self._may(flags), when) for data, flags, when in messages], by)

    def take_in(self, put: Callable[[Folder], list[tuple[int, int]]], by: object) -> list[tuple[int, int]]:
        """Let put copy or move something here; the flags that may not be set are gone then."""
        self.need("i")
        pairs = put(self.inner)
        groups: dict[frozenset[str], list[int]] = {}
        for message in filter(None, (self.inner.get(new) for _, new in pairs)):
            groups.setdefault(frozenset(flag for flag in message.flags if right_of(flag) not in self.rights), []).append(message.uid)
        for less, uids in groups.items():
            if less:
                self.inner.set_flags(uids, "remove", less, by)
        return pairs

    def take_one_in(self, put: Callable[[Folder, ToStore], int], message: ToStore) -> int:
        """The same for one new message."""
        self.need("i")
        data, flags, when = message
        return put(self.inner, (data, self._may(flags), when))

    # ---- messages that go -----------------------------------------------------------------------------------------------
    def copy(self, uids: Iterable[int], target: Any, by: object = None) -> list[tuple[int, int]]:
        return self.inner.copy(uids, target, by)

    def move(self, uids: Iterable[int], target: Any, by: object = None) -> list[tuple[int, int]]:
        self.need("te")
        return self.inner.move(uids, target, by)

    def replace(self, uid: int, target: Any, message: ToStore, by: object = None) -> int:
        self.need("te")
        return self.inner.replace(uid, target, message, by)

    def expunge(self, uids: Iterable[int], by: object = None) -> list[int]:
        self.need("e")
        return self.inner.expunge(uids, by)


class GuardedWatch:
    """A Watch of a mailbox of somebody else: its numbers are told as long as they may be read."""

    def __init__(self, inner: Watch, need: Callable[[], object]) -> None:
        self.inner = inner
        self._need = need

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def status(self, *, with_modseq: bool = False) -> tuple[Status, int]:
        """Raises NoRight, NoSuchMailbox, OSError."""
        self._need()
        return self.inner.status(with_modseq=with_modseq)
