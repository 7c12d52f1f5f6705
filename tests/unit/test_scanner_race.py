"""DESIGN, law 2 of the Maildir: with foreign renames at full speed no message is ever reported gone, new or doubled.

The long form is the size at which a plain listing practically always loses names: 20,000 messages, thousands of looks.  The naive scan runs
beside, over the same folder at the same time: where it loses nothing, the test proves nothing, and fails.
"""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from pymta import mailbox
from pymta.formats.maildir import base_of
from pymta.mailbox.folder import Folder

# Renames its share of the messages without a pause and without a lock: flags come and go, and mail goes from cur/ to new/ and back.
RENAMER = """
import os, random, sys
root, share, of = os.fsencode(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
draw = random.Random(share)
names = sorted((place, name) for place in (b"new", b"cur") for name in os.listdir(root + b"/" + place))
mine = [[place, name] for number, (place, name) in enumerate(sorted(names, key=lambda one: one[1])) if number % of == share]
states = [(b"cur", b":2,"), (b"cur", b":2,S"), (b"cur", b":2,FS"), (b"cur", b":2,F"), (b"new", b"")]
print("on", flush=True)
parent = os.getppid()
while os.getppid() == parent:
    for one in mine:
        place, name = draw.choice(states)
        name = one[1].partition(b":")[0] + name
        try:
            os.rename(b"%s/%s/%s" % (root, *one), b"%s/%s/%s" % (root, place, name))
        except FileNotFoundError:
            sys.exit("somebody took " + repr(one))
        one[:] = place, name
"""


@dataclass
class Size:
    messages: int
    warm: int                                           # looks at a folder that is watched already: events are replayed
    cold: int                                           # looks of a folder that has just been opened: the directories are listed
    renamers: int


SHORT = Size(messages=2000, warm=300, cold=20, renamers=1)
LONG = Size(messages=20_000, warm=4000, cold=300, renamers=2)


@contextmanager
def renaming(root: str, size: Size) -> Iterator[None]:
    """A Maildir of so many messages, and strangers at work in it."""
    mailbox.make(root, ())
    for number in range(size.messages):
        with open(f"{root}/cur/1000000000.M{number}P1.host:2,", "xb") as file:
            file.write(b"x\n")
    store = mailbox.MailStore(root)
    store.close(store.open("INBOX"))                    # everything has its UID before anybody begins
    strangers = [subprocess.Popen([sys.executable, "-IS", "-c", RENAMER, root, str(share), str(size.renamers)], stdout=subprocess.PIPE)
                 for share in range(size.renamers)]
    try:
        for one in strangers:
            assert one.stdout.readline() == b"on\n"
        yield
        assert all(one.poll() is None for one in strangers), "a renamer has given up, so nothing was proved"
    finally:
        for one in strangers:
            one.kill()
            one.communicate()


def naive(root: str) -> int:
    """How many messages a plain listing sees."""
    names = [os.fsencode(name) for place in ("cur", "new") for name in os.listdir(f"{root}/{place}")]
    return len({base_of(name) for name in names})


def look(root: str, size: Size) -> int:
    """Look as often as size says; every look must find what is there.  How many naive scans lost messages meanwhile."""
    expected = list(range(1, size.messages + 1))
    lost = 0
    for number in range(size.cold):
        folder = Folder(os.fsencode(root), "INBOX")
        folder.open()
        assert folder.scanner.watched
        assert [message.uid for message in folder.messages] == expected and not folder.scanner.twins, f"cold look {number}"
        folder.users = 0
        folder.forget()
        lost += naive(root) < size.messages
    folder = Folder(os.fsencode(root), "INBOX")
    told = []
    folder.add_listener(told.append)
    folder.open()
    flags = 0
    for number in range(size.warm):
        changes = folder.sync()
        flags += len(changes.flags)
        assert not changes.expunged and not changes.arrived, f"look {number}: {changes.expunged[:5]} went, {changes.arrived[:5]} came"
        assert len(folder.messages) == size.messages and not folder.scanner.twins
    assert [message.uid for message in folder.messages] == expected and folder.uidnext == size.messages + 1
    assert not [changes for changes in told if changes.expunged or changes.arrived] and flags > size.warm
    folder.users = 0
    folder.forget()
    return lost


def test_nothing_is_gone_new_or_doubled(tmp_path):
    root = str(tmp_path / "Maildir")
    with renaming(root, SHORT):
        assert look(root, SHORT) > 0, "a plain listing lost nothing: this proves nothing"


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_is_gone_new_or_doubled_at_full_size(tmp_path):
    root = str(tmp_path / "Maildir")
    with renaming(root, LONG):
        lost = look(root, LONG)
    assert lost > LONG.cold // 2, f"only {lost} of {LONG.cold} plain listings lost something"
