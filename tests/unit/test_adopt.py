"""Two lists of UIDs of one mailbox become one, or the mailbox gets a new UIDVALIDITY: no UID ever means another mail."""
from __future__ import annotations

import os

import pytest

from pymta.formats import uidlist
from pymta.upkeep import adopt


def merged(tmp_path, theirs: str, ours: str, files: str) -> uidlist.Uidlist:
    """theirs, ours: `next base=uid ...`; files: those that are there."""
    for sub in ("tmp", "new", "cur"):
        (tmp_path / sub).mkdir()
    for name in files.split():
        (tmp_path / "cur" / f"{name}:2,S").touch()
    for text, path, head in ((theirs, "courierimapuiddb", "1 777 {}\n"), (ours, "dovecot-uidlist", "3 V777 N{} G51f45402de68046b364e000083ecc375 M9\n")):
        following, *pairs = text.split()
        mark = " " if path.startswith("courier") else " :"
        lines = [uid + mark + base + "\n" for base, uid in (pair.split("=") for pair in pairs)]
        (tmp_path / path).write_text(head.format(following) + "".join(lines))
    list(adopt._uids(os.fsencode(tmp_path), os.fsencode(tmp_path), "INBOX"))
    return uidlist.decode((tmp_path / "dovecot-uidlist").read_bytes())


@pytest.mark.parametrize("theirs, ours, files, both", [
    ("4 a=1 b=3", "4 a=1 b=3", "a b", "4 a=1 b=3"),
    ("6 a=1 b=3 c=5", "4 a=1 b=3", "a b c", "6 a=1 b=3 c=5"),           # Courier went on
    ("4 a=1 b=3", "6 a=1 b=3 c=5", "a b c", "6 a=1 b=3 c=5"),           # we went on
    ("6 a=1 c=5", "4 a=1 b=3", "a c", "6 a=1 c=5"),                     # Courier went on, and b is gone
    ("9 a=1", "4 a=1", "a", "9 a=1"),                                   # what it gave has gone again
])
def test_lists_that_agree(tmp_path, theirs, ours, files, both):
    found = merged(tmp_path, theirs, ours, files)
    following, *pairs = both.split()
    assert found.uidvalidity == 777 and found.next == int(following) and [f"{base.decode()}={uid}" for base, uid in found.uids.items()] == pairs
    assert found.guid == b"51f45402de68046b364e000083ecc375" and found.more == [b"M9"]


@pytest.mark.parametrize("theirs, ours, files", [
    ("4 a=1 b=3", "4 a=1 c=3", "a b c"),                                # one UID, two messages
    ("4 a=1 b=3", "4 a=1 b=2", "a b"),                                  # two UIDs, one message
    ("6 a=1 c=5", "6 a=1", "a c"),                                      # ours under 5 has gone since, and our clients knew it
    ("6 a=1", "6 a=1 c=5", "a c"),                                      # theirs under 5 has gone since, and its clients knew it
    ("4 a=1 b=3", "9 a=1 b=7", "a b"),
])
def test_lists_that_contradict_each_other(tmp_path, theirs, ours, files):
    found = merged(tmp_path, theirs, ours, files)
    assert found.uidvalidity not in (0, 777) and found.guid == b"51f45402de68046b364e000083ecc375"
