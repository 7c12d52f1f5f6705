"""What a power cut may leave: every tree that a recording of durable's calls allows.

A recording is the list of changes durable was asked for, in order, each with the place in the code that asked.  The model of the disk
is the weakest one that a journaling file system keeps:

- A change of names (create, link, rename, unlink, mkdir, rmdir) happens whole or not at all.  Until it is synced it may be missing,
  independently of others, except that a change of a name needs the changes of this name before it.
- sync_dir makes the changes of names in that directory durable (a rename by either of its directories) with all they need.
- Data of a file is durable after sync_file of it; before that nothing, half or all of what was written may be there.
- sync_fs makes everything durable.
"""
from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from pymta import durable

CHANGES = frozenset(("create", "link", "rename", "unlink", "mkdir", "rmdir"))
SYNCS = frozenset(("sync_file", "sync_dir", "sync_fs"))


@dataclass(frozen=True)
class Call:
    """kind: durable's word; args: with absolute paths; site: file:line:function of the caller."""

    kind: str
    args: tuple
    site: str


class Recording:
    """`with Recording(root) as calls:` notes what durable changes below root.  note(x) marks that x was acknowledged by now.

    reached: (file, line) of every place that asked durable for anything."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.calls: list[Call | object] = []
        self.reached: set[tuple[str, int]] = set()

    def __enter__(self) -> Recording:
        durable.tap = self._tap
        return self

    def __exit__(self, *_: object) -> None:
        durable.tap = None

    def note(self, what: object) -> None:
        self.calls.append(what)

    def _tap(self, kind: str, *args: object) -> None:
        self.reached.add(_asker())
        paths = 2 if kind in ("rename", "link") else 1
        whole = tuple(os.path.abspath(os.fsdecode(arg)) if number < paths else arg for number, arg in enumerate(args))     # type: ignore[arg-type]
        if not whole[0].startswith(self.root):
            return
        # what is sure to fail changes nothing
        if kind in ("rename", "link", "unlink", "rmdir", "truncate", "append") and not os.path.lexists(whole[0]):
            return
        if kind == "create" and not os.path.isdir(os.path.dirname(whole[0])):
            return
        if kind == "mkdir" and os.path.lexists(whole[0]) or kind == "rmdir" and os.listdir(whole[0]):
            return
        if kind == "append":
            whole = (whole[0], os.stat(whole[0]).st_size, bytes(args[1]))                   # type: ignore[arg-type]
            kind = "write"
        elif kind == "write":
            whole = (whole[0], args[1], bytes(args[2]))                                     # type: ignore[arg-type]
        self.calls.append(Call(kind, whole, _site()))


def _asker() -> tuple[str, int]:
    """The nearest place that is not durable itself."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename.endswith("durable.py"):
        frame = frame.f_back                                                                # type: ignore[assignment]
    return frame.f_code.co_filename, frame.f_lineno


def _site() -> str:
    frame = sys._getframe(2)
    while frame and frame.f_code.co_filename.endswith("durable.py"):
        frame = frame.f_back                                                                # type: ignore[assignment]
    # Draft.sync and File.sync only pass it on: the place that decides is one further up
    while frame.f_code.co_name in ("sync", "_tap"):
        frame = frame.f_back                                                                # type: ignore[assignment]
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}:{frame.f_code.co_name}"


@dataclass
class _Change:
    effects: dict[str, int | None]
    needs: set[int]
    moved: tuple[str, str] | None = None                # a directory that takes along what is in it


def _move(names: dict[str, int], old: str, new: str) -> None:
    for path in [path for path in names if path.startswith(f"{old}/")]:
        names[new + path[len(old):]] = names.pop(path)


@dataclass
class _File:
    base: bytes | None
    writes: list[tuple[int, bytes | None]] = field(default_factory=list)      # (offset, data), or (size, None): truncated
    synced: int = 0


class Disk:
    """Plays calls and tells which trees may be found after a cut."""

    def __init__(self, files: dict[str, bytes], directories: set[str]) -> None:
        self.live: dict[str, int] = {}
        self.base: dict[str, int] = {}
        self.files: list[_File | None] = []                                   # None: a directory
        self.changes: list[_Change] = []
        self.durable: set[int] = set()
        self.last: dict[str, int] = {}
        for path, data in files.items():
            self.live[path] = len(self.files)
            self.files.append(_File(data))
        for path in directories:
            self.live[path] = len(self.files)
            self.files.append(None)
        self.base = dict(self.live)

    # ---- playing ------------------------------------------------------------------------------------------------------
    def play(self, call: Call) -> None:
        kind, args = call.kind, call.args
        if kind in CHANGES:
            self._change(kind, args)
        elif kind == "write":
            file = self.files[self.live[args[0]]]
            assert file is not None
            file.writes.append((args[1], args[2]))
        elif kind == "truncate":
            file = self.files[self.live[args[0]]]
            assert file is not None
            file.writes.append((args[1], None))
        elif kind == "sync_file":
            file = self.files[self.live[args[0]]]
            assert file is not None
            file.synced = len(file.writes)
        elif kind == "sync_dir":
            for number, change in enumerate(self.changes):
                if any(os.path.dirname(path) == args[0] for path in change.effects):
                    self._make_durable(number)
        elif kind == "sync_fs":
            self.durable.update(range(len(self.changes)))
            for each in self.files:
                if each is not None:
                    each.synced = len(each.writes)

    def _change(self, kind: str, args: tuple) -> None:
        effects: dict[str, int | None]
        if kind in ("create", "mkdir"):
            self.files.append(_File(None) if kind == "create" else None)
            effects = {args[0]: len(self.files) - 1}
        elif kind == "link":
            effects = {args[1]: self.live[args[0]]}
        elif kind == "rename":
            effects = {args[0]: None, args[1]: self.live[args[0]]}
        else:
            effects = {args[0]: None}
        needs = {self.last[path] for path in effects if path in self.last}
        needs |= {self.last[os.path.dirname(path)] for path in effects if os.path.dirname(path) in self.last}
        if kind == "link" and args[0] in self.last:
            needs.add(self.last[args[0]])
        if kind == "rmdir":
            needs |= {self.last[path] for path in self.last if os.path.dirname(path) == args[0]}
        number = len(self.changes)
        moved = (args[0], args[1]) if kind == "rename" and self.files[self.live[args[0]]] is None else None
        self.changes.append(_Change(effects, needs, moved))
        if moved:
            _move(self.live, *moved)
        for path, target in effects.items():
            self.last[path] = number
            if target is None:
                self.live.pop(path, None)
            else:
                self.live[path] = target

    def _make_durable(self, number: int) -> None:
        if number not in self.durable:
            self.durable.add(number)
            for need in self.changes[number].needs:
                self._make_durable(need)

    # ---- trees --------------------------------------------------------------------------------------------------------
    def trees(self) -> Iterator[dict[str, bytes | None]]:
        """Every tree that a cut now may leave: path -> data, None for a directory."""
        pending = [number for number in range(len(self.changes)) if number not in self.durable]
        for kept in self._closed_subsets(pending):
            names = dict(self.base)
            for number, change in enumerate(self.changes):
                if number in self.durable or number in kept:
                    for path, target in change.effects.items():
                        if target is None:
                            names.pop(path, None)
                        else:
                            names[path] = target
                    if change.moved:
                        _move(names, *change.moved)
            yield from self._with_data(names)

    def _closed_subsets(self, pending: list[int]) -> Iterator[frozenset[int]]:
        """Subsets of pending in which every change has what it needs (there are at most 2**n, far fewer in chains)."""
        subsets: list[frozenset[int]] = [frozenset()]
        inside = set(pending)
        for number in pending:                                                # in order: needs come before
            needs = self.changes[number].needs & inside
            subsets += [subset | {number} for subset in subsets if needs <= subset]
        yield from subsets

    def _with_data(self, names: dict[str, int]) -> Iterator[dict[str, bytes | None]]:
        torn = sorted({number for number in names.values()
                       if self.files[number] is not None and self.files[number].synced < len(self.files[number].writes)})     # type: ignore[union-attr]
        for choice in itertools.product(*(self._versions(number) for number in torn)):
            chosen = dict(zip(torn, choice, strict=True))
            tree: dict[str, bytes | None] = {}
            for path, number in names.items():
                file = self.files[number]
                tree[path] = None if file is None else chosen[number] if number in chosen else _content(file, len(file.writes))
            yield tree

    def _versions(self, number: int) -> list[bytes]:
        """What may be found in a file whose last writes are not synced: none of them, half, all."""
        file = self.files[number]
        assert file is not None
        whole, kept = _content(file, len(file.writes)), _content(file, file.synced)
        versions = [kept, whole]
        if len(whole) > len(kept) + 1:
            versions.append(whole[: len(kept) + (len(whole) - len(kept)) // 2])
        return list(dict.fromkeys(versions))


def _content(file: _File, writes: int) -> bytes:
    data = bytearray(file.base or b"")
    for offset, piece in file.writes[:writes]:
        if piece is None:
            del data[offset:]
        else:
            if len(data) < offset:
                data += b"\0" * (offset - len(data))
            data[offset:offset + len(piece)] = piece
    return bytes(data)


def read_tree(*roots: str) -> tuple[dict[str, bytes], set[str]]:
    """(files, directories) below roots as they are on the real disk."""
    files, directories = {}, set()
    for root in roots:
        directories.add(root)
        for top, dirs, names in os.walk(root):
            directories.update(f"{top}/{name}" for name in dirs)
            for name in names:
                with open(f"{top}/{name}", "rb") as file:
                    files[f"{top}/{name}"] = file.read()
    return files, directories


def write_tree(tree: dict[str, bytes | None], *roots: str) -> None:
    """Make the real disk below roots look like tree."""
    for root in roots:
        for top, dirs, names in os.walk(root, topdown=False):
            for name in names:
                if tree.get(f"{top}/{name}") is None:
                    os.unlink(f"{top}/{name}")
            for name in dirs:
                if f"{top}/{name}" not in tree:
                    os.rmdir(f"{top}/{name}")
    for path in sorted(path for path, data in tree.items() if data is None):
        os.makedirs(path, exist_ok=True)
    for path, data in tree.items():
        if data is not None:
            with open(path, "wb") as file:
                file.write(data)
