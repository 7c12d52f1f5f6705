"""Whatever a power cut leaves of a Maildir: what was stored is there under its UID, and no UID ever means another mail.

As in test_crash: each scenario is recorded once, every tree that a cut may leave is put on disk and opened.  What was told before the
cut (mailbox, UIDVALIDITY, UID, text) is the promise; what the step under way was going to tell is allowed, and nothing else.
The last test takes away one sync after the other: each time some tree must break the law.
"""
from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator

import pytest

from pymta import durable, mailbox
from pymta.formats import maildir
from pymta.mailbox import folder as folder_module
from pymta.mailbox import opened, storing, tidying
from tests.crash.model import SYNCS, Call, Disk, Recording, read_tree, write_tree

View = dict[tuple[str, int, int], bytes]                # (mailbox, UIDVALIDITY, UID) -> text
NAMES = ("INBOX", "T")


def text(number: int) -> bytes:
    return b"Subject: %d\n\nThis is message %d, long enough to be torn in the middle.\n" % (number, number)


WHOLE = {text(number) for number in range(30)}


class Box:
    """A Maildir with two mailboxes; told() after each step is what clients know then."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root) + "/Maildir"
        mailbox.make(self.root, ("T",))
        self.store = mailbox.MailStore(self.root)
        self.inbox, self.target = self.store.open("INBOX"), self.store.open("T")

    def told(self) -> View:
        return {(folder.name, folder.uidvalidity, message.uid): folder.read(message.uid)
                for folder in (self.inbox, self.target) for message in folder.messages}

    def deliver(self, number: int) -> None:
        """As pymta-local does, without any lock."""
        name = f"{1000000000 + number}.M1P1.host"
        durable.create(f"{self.root}/tmp/{name}", text(number))
        durable.rename(f"{self.root}/tmp/{name}", f"{self.root}/new/{name}")
        durable.sync_dir(f"{self.root}/new")

    def close(self) -> None:
        self.store.close(self.inbox)
        self.store.close(self.target)
        opened.forget_all()


# ---- the scenarios: each yield is a moment at which clients know all that is -----------------------------------------------------
def append(box: Box) -> Iterator[None]:
    box.inbox.append(text(1), ["\\Seen"])
    yield
    box.inbox.append(text(2))
    yield
    box.inbox.append_all([(text(3), ["\\Seen"], 1e9), (text(4), ["$Junk"], None)])
    yield


def joined(box: Box) -> Iterator[None]:
    """What three sessions store at once, one of them two messages."""
    box.inbox.append(text(1))
    yield
    drafts = [storing.Draft(messages, None) for messages in ([(text(2), ["\\Seen"], None)], [(text(3), [], None), (text(4), ["$Junk"], None)],
                                                             [(text(5), [], 1e9)])]
    for draft in drafts:
        draft.write(box.inbox)
    storing.take_in(box.inbox, drafts)
    assert [draft.uids for draft in drafts] == [[2], [3, 4], [5]]
    yield


def delivery(box: Box) -> Iterator[None]:
    box.deliver(1)
    box.deliver(2)
    box.inbox.sync()
    yield
    box.inbox.claim_recent()
    box.deliver(3)
    box.inbox.append(text(4))
    yield


def copy_and_move(box: Box) -> Iterator[None]:
    box.inbox.append_all([(text(number), ["\\Seen", "work"], None) for number in (1, 2)])
    yield
    box.inbox.copy([1, 2], box.target)
    yield
    box.inbox.move([1], box.target)
    yield
    box.target.move([2], box.inbox)
    yield


def flags_and_expunge(box: Box) -> Iterator[None]:
    box.inbox.append_all([(text(number), ["\\Seen"], None) for number in (1, 2, 3)])
    yield
    box.inbox.set_flags([1, 3], "add", ["\\Deleted", "work"])
    yield
    box.inbox.expunge([1, 3])
    yield
    box.inbox.append(text(4))
    yield


def rewritten(box: Box) -> Iterator[None]:
    """The last UIDs go, their lines too: they must not be given again."""
    box.inbox.append_all([(text(number), ["\\Seen"], None) for number in (1, 2, 3)])
    yield
    box.inbox.expunge([2, 3])
    yield
    with box.inbox.lock:
        box.inbox.sync_locked()
        tidying.rewrite_uidlist(box.inbox)
    yield
    box.inbox.append(text(4), ["\\Seen"])
    yield


def replaced(box: Box) -> Iterator[None]:
    box.inbox.append_all([(text(number), ["\\Seen"], None) for number in (21, 2)])
    yield
    box.inbox.replace(1, box.inbox, (text(22), ["\\Draft"], None))
    yield
    box.inbox.replace(3, box.target, (text(23), [], None))
    yield


SCENARIOS = [append, joined, delivery, copy_and_move, flags_and_expunge, rewritten, replaced]


REACHED: set[tuple[str, int]] = set()                   # places that asked durable for anything, while something was recorded


def record(scenario, tmp_path, box_type=Box) -> tuple[Box, tuple, list]:
    box = box_type(str(tmp_path))
    before = read_tree(box.root)
    with Recording(box.root) as recording:
        recording.note(box.told())
        for _ in scenario(box):
            recording.note(box.told())
    box.close()
    REACHED.update(recording.reached)
    # a lock that a cut leaves is a matter of test_locks; here it would only multiply the trees
    return box, before, [call for call in recording.calls if not (isinstance(call, Call) and ".lock" in str(call.args))]


def look(root: str, names: Iterable[str] = NAMES) -> View:
    """What a process that starts now shows, after an older mail has come that would take the UID of any that has lost its own."""
    found: View = {}
    for name in names:
        folder = folder_module.Folder(os.fsencode(root), name, watched=False)
        os.makedirs(folder.directory + b"/new", exist_ok=True)
        with open(folder.directory + b"/new/1.older", "wb") as file:
            file.write(b"new\n")
        folder.open()
        for message in folder.messages:
            letters = maildir.letters_of(message.name)
            known = maildir.flags_of(letters, folder.letters.keywords)
            found[name, folder.uidvalidity, message.uid] = folder.read(message.uid) if len(known) == len(letters) else b"what is this letter?"
        found[name, folder.uidvalidity, folder.append(b"new\n")] = b"new\n"
        folder.users = 0
        folder.forget()
    return found


def broken(found: View, told: View, coming: View, history: View) -> str | None:
    """Which law does not hold."""
    for key, data in found.items():
        if data not in WHOLE and data != b"new\n":
            return f"torn: {key}: {data!r}"
        if key in history and history[key] != data:
            return f"another mail under {key}: {data!r}, it was {history[key]!r}"
        if key in history and key not in told:
            return f"expunged and here again: {key}"
    for key, data in told.items():
        if key in coming and found.get(key) != data:
            return f"lost: {key}"
        if data in coming.values() and data not in found.values():
            return f"lost while it was moved: {key}"
    for new, old in SUCCEEDS.items():
        if old in told.values() and not {new, old} & set(found.values()):
            return f"neither {old!r} nor what takes its place"
    return None


SUCCEEDS = {text(22): text(21), text(23): text(22)}     # of `replaced`


@pytest.fixture
def tmp_path():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as path:
        yield pathlib.Path(path)


def violations(scenario, tmp_path, without: str | None = None, *, box_type=Box, look=look) -> tuple[list[str], set[str], int]:
    """(laws broken, places that sync, trees tried).  without: the place whose syncs are taken away."""
    box, before, calls = record(scenario, tmp_path, box_type)
    disk, told, history, sites, seen, laws = Disk(*before), {}, {}, set(), set(), []
    for number, call in enumerate(calls):
        if not isinstance(call, Call):
            told = call
            history.update(told)
        elif call.kind in SYNCS and call.site == without:
            continue
        else:
            disk.play(call)
            sites |= {call.site} if call.kind in SYNCS else set()
        coming = next((later for later in calls[number + 1:] if not isinstance(later, Call)), told)
        for tree in disk.trees():
            key = hash((frozenset(tree.items()), frozenset(told)))
            if key in seen:
                continue
            seen.add(key)
            write_tree(tree, box.root)
            if law := broken(look(box.root), told, coming, history):
                laws.append(f"{scenario.__name__} after {call if isinstance(call, Call) else 'a promise'}: {law}")
                if without:
                    return laws, sites, len(seen)
    return laws, sites, len(seen)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The recording says what is synced; the disk of this machine need not do it."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_cut(scenario, tmp_path):
    laws, _, trees = violations(scenario, tmp_path)
    assert not laws, laws[:5]
    assert trees > 20


def test_no_sync_is_needless(tmp_path):
    sites: set[str] = set()
    for scenario in SCENARIOS:
        (tmp_path / scenario.__name__).mkdir()
        _, _, calls = record(scenario, tmp_path / scenario.__name__)
        sites |= {call.site for call in calls if isinstance(call, Call) and call.kind in SYNCS}
    ours = {site for site in sites if not site.startswith("test_")}
    assert len(ours) >= 5
    needless = []
    for site in sorted(ours):
        for number, scenario in enumerate(SCENARIOS):
            directory = tmp_path / f"{site.replace(':', '-')}-{number}"
            directory.mkdir()
            if violations(scenario, directory, without=site)[0]:
                break
        else:
            needless.append(site)
    assert not needless
