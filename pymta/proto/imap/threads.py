"""threads: messages as trees of who answers whom.                                               RFC 5256 §3

    ordered_subject(numbers, keys, dates) / references(...) / refs(...) -> the trees as THREAD shows them, bytes

numbers: what to call each message; keys: sortkey.Keys of each; dates: seconds since 1970 of each: the sent date, or
the internal date where there is none.  All in the order of the mailbox.  Nothing here recurses, whatever ancestors a message claims.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_WALK_MAX = 1000                                        # steps up to see whether a link makes a loop; further up it is not made


def ordered_subject(numbers: Sequence[int], keys: Sequence[Any], dates: Sequence[float]) -> bytes:
    groups: dict[str, list[int]] = {}
    for at in sorted(range(len(keys)), key=dates.__getitem__):
        groups.setdefault(keys[at].subject, []).append(at)
    forest = _Forest(len(keys), dates)
    for first, *others in groups.values():
        forest.children[first] = others
    return forest.show([group[0] for group in groups.values()], numbers)


def references(numbers: Sequence[int], keys: Sequence[Any], dates: Sequence[float]) -> bytes:
    forest = _Forest(len(keys), dates)
    roots = forest.link([one.ids for one in keys])
    forest.settle(roots)
    roots = forest.merge(roots, keys)
    forest.settle(roots)
    roots.sort(key=forest.rank)
    return forest.show(roots, numbers)


def refs(numbers: Sequence[int], keys: Sequence[Any], dates: Sequence[float]) -> bytes:
    """draft-ietf-morg-inthread: as they refer to each other; threads stand in the order of their newest message."""
    forest = _Forest(len(keys), dates)
    roots = forest.link([one.ids for one in keys])
    forest.settle(roots)
    newest = forest.newest(roots)
    roots.sort(key=lambda root: (newest[root], forest.rank(root)))
    return forest.show(roots, numbers)


class _Forest:
    """Nodes are numbers: below count the messages, above it what only is referred to."""

    def __init__(self, count: int, dates: Sequence[float]) -> None:
        self.count = count
        self.ranks: list[tuple[float, int]] = [(date, at) for at, date in enumerate(dates)]     # equal dates: as in the mailbox
        self.parents: list[int] = [-1] * count
        self.children: dict[int, list[int]] = {}

    def rank(self, node: int) -> tuple[float, int]:
        return self.ranks[node]

    def _dummy(self) -> int:
        self.parents.append(-1)
        self.ranks.append((0.0, 0))
        return len(self.parents) - 1

    # ---- who refers to whom: steps 1 to 3 -----------------------------------------------------------------------------
    def link(self, ids: Sequence[tuple[int, ...]]) -> list[int]:
        """ids: of each message its own, 0 for none, and its ancestors'.  The roots, dummies pruned."""
        nodes: dict[int, int] = {}
        for at, (own, *_) in enumerate(ids):
            if own:
                nodes.setdefault(own, at)               # of two messages with one id the second has none
        parents, has_children = self.parents, set()
        for at, (own, *ancestors) in enumerate(ids):
            before = -1
            for id in ancestors:
                node = nodes.get(id, -1)
                if node < 0:
                    node = nodes[id] = self._dummy()
                if before >= 0 and parents[node] < 0 and node != before and not (node in has_children and self._above(node, before)):
                    parents[node] = before
                    has_children.add(before)
                before = node
            if parents[at] != before:
                parents[at] = -1                        # what others said of it goes, also where it names itself or makes a loop
                if before >= 0 and before != at and not (at in has_children and self._above(at, before)):
                    parents[at] = before
                    has_children.add(before)
        return self._prune()

    def _above(self, node: int, start: int) -> bool:
        """Whether node is start or above it."""
        for _ in range(_WALK_MAX):
            if start == node:
                return True
            if start < 0:
                return False
            start = self.parents[start]
        return True

    def _prune(self) -> list[int]:
        """Children take the place of what is no message; a root that is none stays where it holds several together."""
        count, parents, children = self.count, self.parents, self.children
        roots = []
        real: dict[int, int] = {}                       # of a dummy: the first message above it, or the dummy at the root
        for at in range(count):
            node, passed = parents[at], []
            while node >= count and node not in real:
                passed.append(node)
                node = parents[node]
            if node >= count:
                node = real[node]
            elif node < 0 and passed:
                node = passed[-1]
            for one in passed:
                real[one] = node
            if node < 0:
                roots.append(at)
            else:
                children.setdefault(node, []).append(at)
        for node in [node for node in children if node >= count]:
            if len(children[node]) == 1:
                roots += children.pop(node)
            else:
                roots.append(node)
        return roots

    def settle(self, roots: Sequence[int]) -> None:
        """Siblings by date, here and all the way down; a dummy has the date of its first child."""
        ranks, children = self.ranks, self.children
        for node, below in children.items():
            if node < self.count and len(below) > 1:
                below.sort(key=ranks.__getitem__)
        # Dummies hold messages and, made by merge, other dummies, which then are older: their numbers are lower.
        for node in sorted(node for node in children if node >= self.count):
            children[node].sort(key=ranks.__getitem__)
            ranks[node] = ranks[children[node][0]]

    # ---- the same subject: step 5 -------------------------------------------------------------------------------------
    def merge(self, roots: list[int], keys: Sequence[Any]) -> list[int]:
        count, children = self.count, self.children
        roots.sort(key=self.ranks.__getitem__)

        def about(node: int) -> tuple[str, bool]:
            one = keys[node if node < count else self._first(node)]
            return one.subject, one.reply
        table: dict[str, int] = {}
        for root in roots:
            subject, reply = about(root)
            if not subject:
                continue
            known = table.setdefault(subject, root)
            if known < count and known != root and (root >= count or about(known)[1] and not reply):
                table[subject] = root
        kept = dict.fromkeys(roots)
        for root in roots:
            subject, reply = about(root)
            known = table.get(subject, root) if subject else root
            if known == root:
                continue
            if known >= count:
                children[known] += children.pop(root) if root >= count else [root]
            elif reply and not about(known)[1]:
                children.setdefault(known, []).append(root)
            else:
                dummy = self._dummy()
                children[dummy] = [known, root]
                del kept[known]
                kept[dummy] = None
                table[subject] = dummy
            del kept[root]
        return list(kept)

    def _first(self, node: int) -> int:
        while node >= self.count:
            node = self.children[node][0]
        return node

    # ---- what becomes of it -------------------------------------------------------------------------------------------
    def newest(self, roots: Sequence[int]) -> dict[int, float]:
        out = {}
        for root in roots:
            left, best = [root], self.ranks[root][0]
            while left:
                node = left.pop()
                best = max(best, self.ranks[node][0])
                left += self.children.get(node, ())
            out[root] = best
        return out

    def show(self, roots: Sequence[int], numbers: Sequence[int]) -> bytes:
        """(1 2 (3)(4 5))((6)(7)): RFC 5256 §4"""
        out: list[bytes] = []
        count, get = self.count, self.children.get
        for root in roots:
            left: list[Any] = [root]
            while left:
                node = left.pop()
                if node is None:
                    out.append(b")")
                    continue
                out.append(b"(")
                left.append(None)
                line = []
                while True:
                    if node < count:
                        line.append(b"%d" % numbers[node])
                    below = get(node)
                    if not below or len(below) > 1:
                        break
                    node = below[0]
                out.append(b" ".join(line))
                if below:
                    if line:
                        out.append(b" ")
                    left += reversed(below)
        return b"".join(out)
