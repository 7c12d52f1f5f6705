"""Every other write of the store, cut anywhere: mailboxes that come and go, annotations, limbo, repairs, indexes, POP3's QUIT, adoption.

The laws are those of test_store: no mail that was told is lost, no UID means another mail, what was expunged does not come back under its UID.
The last test reads the source: a call of durable in the store that no scenario reaches fails it.
"""
from __future__ import annotations

import ast
import os
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from pymta import clock, durable, mailbox
from pymta.drop import open_drop
from pymta.formats import courier, maildir, maildirsize, subscriptions, uidlist, uidvalidity
from pymta.index.describe import describe
from pymta.mailbox import changelog, mending, opened, restoring, tidying
from pymta.mailbox import folder as folder_module
from pymta.upkeep import adopt, check, leave
from pymta.upkeep.looked import mailboxes
from tests.crash import test_changelog, test_rights, test_store
from tests.crash.test_store import REACHED, Box, View, quick, record, text, violations  # noqa: F401
from tests.running import ROOT

WHOLE = test_store.WHOLE


class Every(Box):
    """The same, and all of its mailboxes are told."""

    def told(self) -> View:
        found: View = {}
        for name in self.store.list():
            folder = self.store.open(name)
            found.update({(name, folder.uidvalidity, message.uid): folder.read(message.uid) for message in folder.messages})
            self.store.close(folder)
        return found

    def reopen(self) -> None:
        """Close what is open, which tidies, and open it again."""
        for folder in (self.inbox, self.target):
            folder.tidied_at = 0.0
            self.store.close(folder)
        self.inbox, self.target = self.store.open("INBOX"), self.store.open("T")


def look(root: str) -> View:
    return test_store.look(root, [name for name, _ in mailboxes(os.fsencode(root))])


# ---- the scenarios ------------------------------------------------------------------------------------------------------
def mailboxes_come_and_go(box: Every) -> Iterator[None]:
    box.target.append(text(1))
    yield
    box.store.create("N")
    yield
    box.store.rename("T", "N.T")
    yield
    box.store.delete("N.T")
    yield


def a_mailbox_goes_with_all_in_it(box: Every) -> Iterator[None]:
    box.store.create("N.T", b"\\Junk")
    folder = box.store.open("N.T")
    folder.append(text(2), ["\\Seen", "work"])
    box.store.close(folder)
    yield
    os.mkdir(f"{box.root}/.N.T/sub")
    os.symlink("/", f"{box.root}/.N.T/link")
    box.store.delete("N.T")
    yield


def inbox_is_renamed(box: Every) -> Iterator[None]:
    box.inbox.append_all([(text(1), ["\\Seen"], None), (text(2), [], None)])
    yield
    box.store.rename("INBOX", "Old")
    yield


def subscribed_and_annotated(box: Every) -> Iterator[None]:
    box.target.append(text(1))
    yield
    box.store.subscribe("N")
    box.store.unsubscribe("T")
    yield
    box.store.annotate("T", {"/private/comment": b"x"})
    box.store.annotate("T", {"/private/comment": None})
    yield


def replaced(box: Every) -> Iterator[None]:
    uid = box.inbox.append(text(1))
    yield
    uid = box.inbox.replace(uid, box.inbox, (text(2), ["\\Draft"], None))
    yield
    box.inbox.copy([uid], box.inbox)
    yield


def limbo_and_back(box: Every) -> Iterator[None]:
    box.inbox.append_all([(text(number), ["\\Seen", "work"], None) for number in (1, 2)])
    yield
    box.inbox.expunge([1, 2])
    yield
    restoring.restore(box.inbox, [one.name for one in restoring.expunged(box.inbox.directory)])
    yield


def tidied(box: Every) -> Iterator[None]:
    maildirsize.held(box.root, 1 << 20)
    box.inbox.append_all([(text(number), ["\\Seen"], None) for number in (1, 2)])
    yield
    box.inbox.expunge([2])
    durable.create(f"{box.root}/tmp/left", b"x")
    yield
    tidying.make_room(box.inbox)
    yield
    os.rmdir(f"{box.root}/.T/tmp")
    box.reopen()


    maildirsize.forget(box.root)
    yield


def twins(box: Every) -> Iterator[None]:
    """A second name of one file, and another file under the name of a second."""
    box.inbox.append_all([(text(1), ["\\Seen"], None), (text(2), ["\\Seen"], None)])
    first, second = (os.fsdecode(message.base) for message in box.inbox.messages)
    yield
    durable.link(f"{box.root}/cur/{first}:2,S", f"{box.root}/new/{first}")
    foreign(box, f"new/{second}", 3)
    box.inbox.sync()
    mending.part_twins(box.inbox, clock.now() + 60)
    yield


def foreign(box: Every, name: str, number: int) -> None:
    """Another program delivers."""
    durable.create(f"{box.root}/tmp/x", text(number))
    durable.rename(f"{box.root}/tmp/x", f"{box.root}/{name}")
    durable.sync_dir(os.path.dirname(f"{box.root}/{name}"))


def counted(box: Every) -> Iterator[None]:
    """A size that no name says is written into the uidlist."""
    box.deliver(1)
    box.inbox.sync()
    yield
    assert box.inbox.messages[0].vsize
    box.reopen()
    yield


def a_size_is_corrected(box: Every) -> Iterator[None]:
    name = "1000000001.M1P1.host,S=7,W=9"
    foreign(box, f"cur/{name}:2,S", 1)
    box.inbox.sync()
    yield
    assert mending.correct_size(box.inbox, name.encode())
    yield


def repaired(box: Every) -> Iterator[None]:
    """What check finds is put right."""
    box.inbox.append_all([(text(number), ["\\Seen"], None) for number in (1, 2)])
    box.inbox.describing(box.inbox.messages).some(box.inbox.messages)
    yield
    box.store.close(box.inbox)
    opened.forget_all()
    durable.append(f"{box.root}/dovecot-uidlist", b"what is this?\n")
    durable.unlink(f"{box.root}/.T/maildirfolder")
    durable.append(f"{box.root}/pymta-index", b"x")
    durable.create(f"{box.root}/pymta-search-texts", b"nonsense")
    for found in list(check.everything(os.fsencode(box.root))):
        if found.mend and not found.path.endswith(b".lock"):
            found.mend()
    box.inbox, box.target = box.store.open("INBOX"), box.store.open("T")
    yield


def the_counter_is_raised(box: Every) -> Iterator[None]:
    box.inbox.append(text(1), ["\\Seen"])
    yield
    root = os.fsencode(box.root)
    uidvalidity.raise_to(root, uidvalidity.last(root) + 7)
    box.store.create("N")
    yield
    for name in os.listdir(root):
        if name.startswith(uidvalidity.NAME + b"."):
            durable.unlink(os.path.join(root, name))
    uidvalidity.raise_to(root, uidvalidity.last(root) + 7)
    yield
    for name in os.listdir(root):
        if name.startswith(uidvalidity.NAME + b"."):
            durable.unlink(os.path.join(root, name))
    box.store.create("M")
    yield
    durable.create(root + b"/dovecot-uidvalidity.00000007", b"")
    box.store.create("L")
    yield


def made_once_more(box: Every) -> Iterator[None]:
    """tmp/ is missing, and a mailbox that everybody gets."""
    durable.rmdir(f"{box.root}/tmp")
    box.inbox.append(text(1))
    yield
    mailbox.make(box.root, ("T", "N"))
    yield


def pop3_quit(box: Every) -> Iterator[None]:
    box.inbox.append_all([(text(number), [], None) for number in (1, 2, 3)])
    yield
    drop = open_drop(box.root)
    yield
    drop.remove((0, 2))
    yield
    drop.close()
    box.inbox.append(text(4))
    yield


def put_aside_long_ago(box: Every) -> Iterator[None]:
    box.inbox.append(text(1), ["\\Seen"])
    yield
    durable.mkdir(f"{box.root}/..pymta-gone.1.2")
    durable.create(f"{box.root}/..pymta-gone.1.2/x", b"x")
    real = clock.now
    clock.now = lambda: real() + 7200
    try:
        box.store.list()
    finally:
        clock.now = real
    yield


SCENARIOS = [mailboxes_come_and_go, a_mailbox_goes_with_all_in_it, inbox_is_renamed, subscribed_and_annotated, replaced, limbo_and_back, tidied,
             twins, counted, a_size_is_corrected, repaired, the_counter_is_raised, made_once_more, pop3_quit, put_aside_long_ago]


@pytest.fixture
def tmp_path():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as path:
        yield pathlib.Path(path)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_cut(scenario, tmp_path):
    laws, _, trees = violations(scenario, tmp_path, box_type=Every, look=look)
    assert not laws, laws[:5]
    assert trees > 5


# ---- what was found out about messages ------------------------------------------------------------------------------------
def indexed(box: Every) -> Iterator[None]:
    box.inbox.append_all([(text(number), ["\\Seen"], None) for number in (1, 2, 3)])
    yield
    box.inbox.describing(box.inbox.messages[:2]).some(box.inbox.messages[:2])
    search(box.inbox)
    yield
    box.inbox.describing(box.inbox.messages).some(box.inbox.messages)
    yield
    with open(f"{box.root}/pymta-search-texts", "rb") as file:
        damaged = file.read()[:-2] + b"!!"
    box.inbox.forget()
    durable.replace(f"{box.root}/pymta-search-texts", damaged)
    search(box.inbox)
    yield


def search(folder) -> list[int]:
    looking = folder.searching(folder.messages, ("TEXT", "message 2,"))
    try:
        while looking.step():
            pass
        return sorted(looking.found)
    finally:
        looking.close()


def look_into(root: str) -> View:
    """What is told of messages without reading them is what reading them tells."""
    folder = folder_module.Folder(os.fsencode(root), "INBOX", watched=False)
    folder.open()
    try:
        for message, entry in zip(folder.messages, folder.describing(folder.messages).some(folder.messages)):
            fresh = describe(message.uid, folder.read(message.uid), message.internaldate)
            if entry is None or (entry.envelope, entry.bodystructure, entry.vsize) != (fresh.envelope, fresh.bodystructure, fresh.vsize):
                return {("INBOX", 0, message.uid): b"another message's index"}
        if search(folder) != [message.uid for message in folder.messages if b"message 2," in folder.read(message.uid)]:
            return {("INBOX", 0, 0): b"not found"}
    finally:
        folder.users = 0
        folder.forget()
    return look(root)


def test_every_cut_of_an_index(tmp_path, monkeypatch):
    from pymta.index import searching
    monkeypatch.setattr(searching, "KEEP_FROM", 1)
    laws, _, trees = violations(indexed, tmp_path, box_type=Every, look=look_into)
    assert not laws, laws[:5]
    assert trees > 5


# ---- to and from Courier --------------------------------------------------------------------------------------------------
class Couriers(Every):
    """What Courier told its clients is told, until we have taken over."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root) + "/Maildir"
        for sub in ("tmp", "new", "cur", ".N\u00fc/tmp", ".N\u00fc/new", ".N\u00fc/cur", "courierimapkeywords"):
            os.makedirs(f"{self.root}/{sub}")
        for number in (1, 2, 3):
            for place in (("cur", ".N\u00fc/cur") if number < 3 else ("cur",)):
                with open(f"{self.root}/{place}/100000000{number}.M1P1.host:2,S", "wb") as file:
                    file.write(text(number))
        self._write("courierimapuiddb", b"1 777 9\n5 1000000001.M1P1.host\n8 1000000002.M1P1.host\n")
        self._write(".N\u00fc/courierimapuiddb", b"1 778 3\n1 1000000002.M1P1.host\n2 1000000001.M1P1.host\n")
        self._write("courierimapkeywords/:list", b"work\n\n1000000001.M1P1.host:0\n")
        self._write("courierimapsubscribed", "INBOX.N\u00fc\n".encode())
        self._write("courierpop3dsizelist", b"/3 9 9\n1000000002.M1P1.host:2,S 5 2:9:0\n1000000001.M1P1.host:2,S 5 7:9:0\n")
        self._write("dovecot-uidvalidity", b"00000309")

    def _write(self, name: str, data: bytes) -> None:
        with open(f"{self.root}/{name}", "wb") as file:
            file.write(data)

    def told(self) -> View:
        return {("INBOX", 777, 5): text(1), ("INBOX", 777, 8): text(2), ("N\u00fc", 778, 1): text(2), ("N\u00fc", 778, 2): text(1)}

    def close(self) -> None:
        opened.forget_all()


def over(box: Couriers) -> Iterator[None]:
    for _ in adopt.from_courier(os.fsencode(box.root)):
        pass
    yield


def look_at_adopted(root: str) -> View:
    """Whatever was cut, adoption is done again, and everything is there."""
    for _ in adopt.from_courier(os.fsencode(root)):
        pass
    opened.forget_all()
    folder = folder_module.Folder(os.fsencode(root), "INBOX", watched=False)
    folder.open()
    first = folder.get(5)
    keys = folder.uidlist.list.keys
    right = first is not None and first.flags == {"\\Seen", "work"} and b"PUID7-9" in keys[5] and b"PUID2-9" in keys[8] and b"O1" in keys[8]
    folder.users = 0
    folder.forget()
    with open(root + "/subscriptions", "rb") as file:
        right &= subscriptions.decode(file.read()) == ["N\u00fc"]
    return look(root) if right else {("INBOX", 777, 5): b"keywords, UIDLs or subscriptions are lost"}


def test_every_cut_of_an_adoption(tmp_path):
    laws, _, trees = violations(over, tmp_path, box_type=Couriers, look=look_at_adopted)
    assert not laws, laws[:5]
    assert trees > 20


def back(box: Every) -> Iterator[None]:
    box.store.create("N\u00fc")
    box.inbox.append_all([(text(1), ["\\Seen", "work"], None), (text(2), [], None)])
    yield
    leaving(box.root)
    yield


def leaving(root: str) -> None:
    directory = os.path.join(root, "courierimapkeywords")
    durable.mkdir(directory)
    if not os.path.exists(directory + "/:list") and not os.path.exists(directory + "/older"):
        durable.create(directory + "/older", b"stale\n")
    for _ in leave.to_dovecot(root, None):
        pass
    for _ in leave.to_courier(root):
        pass
    opened.forget_all()


def look_at_left(root: str) -> View:
    """Leaving is done again: Courier finds the UIDs that clients know; and we, coming back, too."""
    for _ in adopt._folder_names(os.fsencode(root)):
        pass
    leaving(root)
    with open(root + "/courierimapuiddb", "rb") as file:
        theirs = uidlist.decode(file.read())
    names = {maildir.base_of(os.fsencode(name)): place for place in ("cur", "new") for name in os.listdir(f"{root}/{place}")}
    if not set(names) == set(theirs.uids):
        return {("INBOX", 0, 0): b"not all have a UID for Courier"}
    files = [(os.fsencode(name), pathlib.Path(root, "courierimapkeywords", name).read_bytes()) for name in os.listdir(root + "/courierimapkeywords")]
    words = courier.decode_keywords(files)
    if any(words.get(maildir.base_of(os.fsencode(name))) != ["work"] for name in os.listdir(root + "/cur") if name.endswith("a")):
        return {("INBOX", 0, 0): b"keywords are lost"}
    for _ in adopt._folder_names(os.fsencode(root)):
        pass
    return look(root)


def test_every_cut_of_leaving(tmp_path):
    laws, _, trees = violations(back, tmp_path, box_type=Every, look=look_at_left)
    assert not laws, laws[:5]
    assert trees > 20


# ---- the list ---------------------------------------------------------------------------------------------------------
_STORE = ("mailbox", "index", "upkeep")
_FORMATS = ("acl", "changes", "courier", "index", "keywords", "maildir", "maildirsize", "metadata", "searchtext", "shares", "subscriptions", "uidlist", "uidvalidity")
# (module, function, what of durable): why no scenario reaches it
ELSEWHERE = {
    ("mailbox/storing.py", "undo", "unlink_if_there"): "after an error: nothing of it was told; tests/unit/test_refused_calls",
    ("mailbox/actions.py", "_link", "rename"): "a target on another file system: a copy, published as an append is",
    ("mailbox/actions.py", "shift", "unlink_if_there"): "the same: the copy is in place before",
    ("mailbox/store.py", "_rename_all", "rename"): "its second call undoes the first after an error",
    ("mailbox/making.py", "make_root", "*"): "before there is any mail: tests/programs/test_kill",
    ("mailbox/making.py", "_make_above", "*"): "before there is any mail",
    ("upkeep/copying.py", "copied", "*"): "a copy that nobody relies on: it is removed, now or later",
    ("upkeep/copying.py", "_copy", "*"): "the same",
    ("upkeep/copying.py", "_copy_file", "*"): "the same",
    ("upkeep/check_mail.py", "remove", "unlink_if_there"): "what was left in tmp/ 36 hours ago, as tidying removes it",
}


def places() -> Iterator[tuple[str, str, str, int, int]]:
    """(module below pymta, function, what is called of durable, first and last line) of every call in the store."""
    modules = [f"{directory}/{name}" for directory in _STORE for name in sorted(os.listdir(f"{ROOT}/pymta/{directory}")) if name.endswith(".py")]
    for module in [*modules, *(f"formats/{name}.py" for name in _FORMATS), "drop.py", "programs/maildir.py"]:
        with open(f"{ROOT}/pymta/{module}", encoding="utf-8") as file:
            tree = ast.parse(file.read())
        within: dict[ast.AST, str] = {}
        for function in ast.walk(tree):                 # outer functions come first, so the innermost one stays
            if isinstance(function, ast.FunctionDef):
                within.update(dict.fromkeys(ast.walk(function), function.name))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) \
                    and node.func.value.id == "durable":
                yield module, within.get(node, ""), node.func.attr, node.lineno, node.end_lineno or node.lineno


def test_every_write_of_the_store_is_cut_somewhere(tmp_path, monkeypatch):
    from pymta.index import searching
    monkeypatch.setattr(searching, "KEEP_FROM", 1)
    monkeypatch.setattr(tidying, "LIMBO_KEEP_S", -1.0)
    for number, (scenario, box_type) in enumerate([*((one, Box) for one in test_store.SCENARIOS), *((one, Every) for one in SCENARIOS),
                                                   (indexed, Every), (over, Couriers), (back, Every),
                                                   (test_rights.given_and_taken, test_rights.Sharer)]):
        directory = tmp_path / str(number)
        directory.mkdir()
        record(scenario, directory, box_type)
        monkeypatch.setattr(tidying, "LIMBO_KEEP_S", -1.0)
    for number, scenario in enumerate(test_changelog.SCENARIOS):
        REACHED.update(test_changelog.record(scenario, str(tmp_path / f"c{number}"))[2])
    reached = {(os.path.relpath(path, f"{ROOT}/pymta"), line) for path, line in REACHED}
    missing, known = [], set()
    for module, function, what, first, last in places():
        if any((module, line) in reached for line in range(first, last + 1)):
            continue
        why = next((key for key in ((module, function, what), (module, function, "*")) if key in ELSEWHERE), None)
        known.add(why)
        if why is None:
            missing.append(f"{module}:{first}: {function} durable.{what}")
    assert not missing, "no scenario cuts here:\n" + "\n".join(missing)
    assert known >= set(ELSEWHERE), f"reached after all: {set(ELSEWHERE) - known}"


def test_the_list_would_notice():
    """A call that is nowhere reached is seen as such: the list is made of real lines."""
    found = list(places())
    assert len(found) > 80 and all(first <= last for *_, first, last in found)
    assert ("mailbox/changelog.py", "_compact", "replace") in {place[:3] for place in found} and changelog.STRIDE
