"""Several sessions store at once: each is answered when its own is durable, and they share the syncs."""
import os
import threading
import time

import pytest

from pymta import durable
from pymta.mailbox import MailStore, opened


@pytest.fixture
def inbox(tmp_path):
    store = MailStore(tmp_path / "Maildir")
    folder = store.open("INBOX")
    yield folder
    durable.tap = None
    store.close(folder)
    opened.forget_all()


def at_once(folder, count, flags=()):
    """What count sessions have from an append of one or two messages, all of them ready before the first is taken in."""
    had = {}

    def session(number):
        try:
            had[number] = folder.append_all([(b"%d.%d\n" % (number, one), flags, None) for one in range(1 + number % 2)])
        except OSError as error:
            had[number] = error
    threads = [threading.Thread(target=session, args=(number,)) for number in range(count)]
    with folder.mutex:
        for thread in threads:
            thread.start()
        end = time.monotonic() + 20
        while len(folder.drafts) < count and time.monotonic() < end:
            time.sleep(0.001)
        assert len(folder.drafts) == count and not had
    for thread in threads:
        thread.join(20)
    return had


def test_they_share_the_syncs(inbox):
    calls = []
    told = []
    inbox.add_listener(told.append)
    durable.tap = lambda call, path, *_: calls.append((call, os.path.basename(os.fsencode(path))))
    had = at_once(inbox, 6)
    durable.tap = None
    assert calls.count(("sync_file", b"dovecot-uidlist")) == 1 and calls.count(("sync_dir", b"new")) == 1
    assert sorted(uid for uids in had.values() for uid in uids) == list(range(1, 10)) and [len(changes.arrived) for changes in told] == [9]
    for number, uids in had.items():
        assert [inbox.read(uid) for uid in uids] == [b"%d.%d\n" % (number, one) for one in range(1 + number % 2)] and uids == sorted(uids)


@pytest.mark.parametrize("where", ["rename", "sync_dir", "sync_file"])
def test_when_it_fails_all_hear_of_it_and_nothing_stays(inbox, where):
    inbox.append(b"before\n")
    seen = []

    def fails(call, path, *_):
        if call == where and (where != "sync_file" or os.fsencode(path).endswith(b"dovecot-uidlist")):
            seen.append(call)
            if len(seen) == (3 if where == "rename" else 1):
                raise OSError(5, "EIO")
    inbox.append(b"again\n")
    durable.tap = fails
    had = at_once(inbox, 4, ["\\Seen"])
    durable.tap = None
    assert [had[number].errno for number in range(4)] == [5] * 4
    assert [message.uid for message in inbox.messages] == [1, 2] and not inbox.drafts
    assert os.listdir(inbox.directory + b"/tmp") == [] == os.listdir(inbox.directory + b"/cur")
    uid = inbox.append(b"after\n")
    assert uid > 2 and inbox.read(uid) == b"after\n"
