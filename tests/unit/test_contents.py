"""What a folder keeps of its messages is what a first look would find, whoever has changed what."""
import os
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from pymta import durable
from pymta.mailbox import MailStore, opened
from pymta.mailbox.folder import Folder

FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "blue", "\\Answered")
INFOS = (b"", b":2,", b":2,S", b":2,ST", b":2,T", b":2,Fa", b":2,S,x", b":1,odd")
one = st.integers(0, 30)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.sets(st.sampled_from(FLAGS)), st.integers(0, 3000)),
    st.tuples(st.just("flags"), st.sets(one, max_size=9), st.sampled_from(("add", "remove", "replace")), st.sets(st.sampled_from(FLAGS), max_size=3)),
    st.tuples(st.just("expunge"), st.sets(one, max_size=5)),
    st.tuples(st.just("copy"), st.sets(one, max_size=5)),
    st.tuples(st.just("move"), st.sets(one, max_size=5)),
    st.tuples(st.just("claim")),
    st.tuples(st.just("size")),
    st.tuples(st.just("deliver"), st.booleans(), st.sampled_from(INFOS), st.booleans()),
    st.tuples(st.just("rename"), one, st.booleans(), st.sampled_from(INFOS)),
    st.tuples(st.just("remove"), one),
    st.tuples(st.just("link"), one, st.sampled_from(INFOS)))


@contextmanager
def two_folders():
    top = tempfile.mkdtemp(prefix="pymta-contents-")
    try:
        store = MailStore(top + "/Maildir")
        store.create("Other")
        yield store, store.open("INBOX"), store.open("Other")
    finally:
        opened.forget_all()
        shutil.rmtree(top)


def files(folder):
    return sorted((in_new, name) for in_new in (False, True) for name in os.listdir(folder.scanner.paths[in_new]))


def do(step, number, store, folder, other):
    kind, *rest = step
    paths = folder.scanner.paths
    uids = [folder.messages[at].uid for at in sorted(rest[0]) if at < len(folder.messages)] if kind in ("flags", "expunge", "copy", "move") else []
    match kind:
        case "append":
            folder.append(b"Subject: x\n\n" + b"x\n" * rest[1], rest[0])
        case "flags":
            folder.set_flags(uids, *rest[1:])
        case "expunge":
            folder.expunge(uids)
        case "copy":
            folder.copy(uids, (folder, other)[number % 2])
        case "move":
            folder.move(uids, other)
        case "claim":
            folder.claim_recent()
        case "size":
            assert store.status("INBOX", size=True).size == sum(len(folder.read(one.uid).replace(b"\n", b"\r\n")) for one in folder.messages)
        case "deliver":
            in_new, info, sized = rest
            name = b"%d.M%d.host%b" % (1_700_000_000 + number // 2, number, b",S=10,W=13" if sized else b"")
            with open(os.path.join(paths[in_new], name + info), "wb") as file:
                file.write(b"Subject:\n\n" if not sized else b"abc\n\ndefg\n")
        case "rename" | "remove" | "link" if there := files(folder):
            in_new, name = there[rest[0] % len(there)]
            path = os.path.join(paths[in_new], name)
            if kind == "remove":
                return os.unlink(path)
            to = os.path.join(paths[rest[1] if kind == "rename" else False], name.partition(b":")[0] + rest[-1])
            if not os.path.lexists(to):
                (os.rename if kind == "rename" else os.link)(path, to)


def seen(folder, twins):
    """Which of two names of one message is the message's is left open."""
    return [(message.uid, message.base, *((message.place, message.flags, message.new) if message.base not in twins else ()))
            for message in folder.messages]


def check(folder, store, name):
    contents = folder.contents
    folder.sync()
    fresh = Folder(folder.root, name, watched=False)
    fresh.sync()
    twins = {*folder.scanner.twins, *fresh.scanner.twins}
    assert seen(folder, twins) == seen(fresh, twins)
    for one in (folder, fresh):
        kept = one.contents
        assert kept.by_uid == {message.uid: message for message in one.messages} and not kept.unknown
        assert kept.places == Counter(message.place for message in one.messages) and 0 not in kept.places.values()
        assert kept.in_new == {message.uid for message in one.messages if message.new}
    flags = [message.flags for message in folder.messages]
    assert contents.unseen_and_deleted() == (sum("\\Seen" not in some for some in flags), sum("\\Deleted" in some for some in flags))
    assert folder.first_unseen(folder.messages) == next((at for at, some in enumerate(flags) if "\\Seen" not in some), -1)
    octets = sum(message.vsize for message in fresh.messages)
    status = store.status(name, size=True)
    assert (status.messages, status.recent, status.size) == (len(fresh.messages), sum(message.new for message in folder.messages), octets) and contents.octets() == octets
    assert status.deleted_octets == sum(message.vsize for message in fresh.messages if "\\Deleted" in message.flags) or twins
    fresh.forget()


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=25), st.booleans())
def test_what_is_kept_is_what_is_there(steps, look_each_time):
    with two_folders() as (store, folder, other):
        folder.append(b"Subject: first\n\nx\n")
        for number, step in enumerate(steps):
            do(step, number, store, folder, other)
            if look_each_time:
                check(folder, store, "INBOX")
        check(folder, store, "INBOX")
        check(other, store, "Other")
        store.close(folder)
        store.close(other)


def test_an_expunge_that_looks_again_in_the_middle(tmp_path):
    """One of many is renamed by another program just then: what has gone already is no news in that look."""
    store = MailStore(tmp_path / "Maildir")
    folder = store.open("INBOX")
    folder.append_all([(b"%d\n" % number, ("\\Seen",), None) for number in range(6)])
    third, told = folder.messages[2], []
    folder.add_listener(told.append)

    def meanwhile(call, path, *_):
        if call == "rename" and path == third.path:
            durable.tap = None
            os.rename(path, path + b"F")
    durable.tap = meanwhile
    try:
        assert folder.expunge([message.uid for message in folder.messages]) == [1, 2, 3, 4, 5, 6]
    finally:
        durable.tap = None
    assert sorted(uid for changes in told for uid in changes.expunged) == [1, 2, 3, 4, 5, 6] and not folder.messages
    check(folder, store, "INBOX")
    store.close(folder)
    opened.forget_all()
