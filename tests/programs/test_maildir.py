"""pymta-maildir check and undelete: each thing that can be wrong is said, with its remedy, and put right without a loss."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

from pymta import mailbox
from pymta.formats import maildirsize, searchtext, uidlist
from pymta.index.describe import describe
from tests.running import ROOT

PROGRAM = os.path.join(ROOT, "bin", "pymta-maildir")


def text(number):
    return b"Subject: =?utf-8?q?n=C3=BA?=%d\nFrom: ann@a.example\n\nhello\n" % number


def run(*words, status=0):
    """Its output; with --json, the objects."""
    done = subprocess.run([sys.executable, PROGRAM, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()] if "--json" in words else done.stdout


@pytest.fixture
def box(tmp_path):
    """A Maildir with three messages in INBOX, and two mailboxes; its path."""
    root = str(tmp_path / "Maildir")
    mailbox.make(root, ("Sent", "Lists.x"))
    store = mailbox.MailStore(root)
    inbox = store.open("INBOX")
    inbox.append_all([(text(1), ["\\Seen", "work"], None), (text(2), ["\\Flagged"], 1e9), (text(3), [], None)])
    inbox.describing(inbox.messages).some(inbox.messages)
    store.close(inbox)
    return root


def opened(root, name="INBOX"):
    """uid -> (text, flags), and UIDVALIDITY, as a process sees it that starts now."""
    code = "import sys, json; sys.path.insert(0, sys.argv[1])\n" \
           "from pymta.mailbox import MailStore\n" \
           "f = MailStore(sys.argv[2]).open(sys.argv[3])\n" \
           "print(json.dumps([f.uidvalidity, {m.uid: [f.read(m.uid).decode(), sorted(m.flags)] for m in f.messages}]))\n"
    done = subprocess.run([sys.executable, "-c", code, ROOT, root, name], capture_output=True, text=True, timeout=60, check=True)
    validity, messages = json.loads(done.stdout)
    return validity, {int(uid): tuple(both) for uid, both in messages.items()}


def names(root, *place):
    return sorted(name for name in os.listdir(os.path.join(root, *place)) if name[0] != ".")


def write(path, data, mode="wb"):
    with open(path, mode) as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def test_a_mailbox_in_order(box):
    assert run("check", box).splitlines() == [f"{box}: nothing wrong"]
    assert run("check", box, "--json") == []


def lock_of_the_dead(root):
    process = subprocess.Popen(["true"])
    process.wait()
    write(root + "/dovecot-uidlist.lock", f"{process.pid}:{os.uname().nodename}".encode())


def wrong_size(root):
    """A name that says another size than the file has."""
    name = names(root, "cur")[0]
    os.rename(f"{root}/cur/{name}", f"{root}/cur/1.M1.host,S=7,W=9:2,S")
    write(root + "/dovecot-uidlist", read(root + "/dovecot-uidlist").replace(name.partition(":")[0].encode(), b"1.M1.host,S=7,W=9"))


def wrong_vsize_of_key(root):
    name = names(root, "cur")[0]
    os.rename(f"{root}/cur/{name}", f"{root}/cur/1.host:2,S")
    write(root + "/dovecot-uidlist", read(root + "/dovecot-uidlist").replace(b" :" + name.partition(":")[0].encode(), b" W17 Pkept :1.host"))


def old(path):
    os.utime(path, (1, 1))


def leftover(root):
    os.makedirs(root + "/..pymta-gone.1.2/cur")
    write(root + "/..pymta-gone.1.2/cur/1.host", b"x")


# (what is done, what check says of it, whether --repair puts it right)
WRONG = [
    (lambda root: os.chmod(root, 0o755), "open to everybody", True),
    (lambda root: os.chmod(f"{root}/cur/{names(root, 'cur')[0]}", 0o200), "its owner cannot read it", True),
    (lambda root: os.rmdir(root + "/.Sent/tmp"), "missing", True),
    (lambda root: os.unlink(root + "/.Sent/maildirfolder"), "who delivers here", True),
    (lambda root: [os.makedirs(root + "/.a&AGE-/" + sub) for sub in ("tmp", "new", "cur")], "could not be made under this name", False),
    (lambda root: write(root + "/dovecot-uidlist", b"nonsense\n9 :mine\n"), "version b'nonsense'", True),
    (lambda root: write(root + "/dovecot-uidlist", b"what is this?\n", "ab"), "not an entry", True),
    (lambda root: write(root + "/dovecot-uidlist", b"1 :1.other\n1 :2.other\n", "ab"), "contradicts another line", True),
    (lambda root: write(root + "/dovecot-uidlist", b"77 :torn", "ab"), "the line has no end", True),
    (lambda root: write(root + "/dovecot-keywords", b"99 much\n", "ab"), "not a number from 0 to 25", False),
    (lambda root: write(root + "/dovecot-keywords", b"0 again\n", "ab"), "stands there twice", False),
    (lambda root: write(root + "/cur/5.host:2,Sz", b"x\n"), "have the letter z, and nobody knows", False),
    (lambda root: os.mkdir(root + "/cur/sub"), "not a plain file", False),
    (lambda root: write(root + "/new/a\nb", b"x\n"), "a line feed in its name", False),
    (lambda root: write(root + "/cur/5.host:1,S", b"x\n"), "it has no flags", False),
    (lambda root: write(root + "/subscriptions", b"Gone", "ab"), "has no end", False),
    (lambda root: write(root + "/subscriptions", b"a\t*\n", "ab"), "holds a character", False),
    (lambda root: write(root + "/maildirsize", b"1000000S\n5 7\n"), "says 5 octets in 7 messages", True),
    (lambda root: write(root + "/maildirsize", b"rubbish\n"), "not a maildirsize file", True),
    (lambda root: write(root + "/pymta-index", b"x", "ab"), "torn", True),
    (wrong_size, "its name says 7 octets", True),
    (wrong_vsize_of_key, "UID 1: W is '17'", True),
]


@pytest.mark.parametrize("spoil, says, mends", WRONG, ids=[says for _, says, _ in WRONG])
def test_what_is_wrong_is_said_and_put_right(box, spoil, says, mends):
    if says == "torn":
        assert os.path.exists(box + "/pymta-index"), "the index was not made"
    spoil(box)
    found = run("check", box, "--json", status=1)
    assert [one for one in found if says in one["why"]] and all(one["repair"] in (None, "--repair") for one in found)
    assert all(one["remedy"] or one["grade"] == "note" for one in found)
    after = run("check", box, "--json", "--repair", status=0 if mends else 1)
    assert [one["repair"] for one in after if says in one["why"]][0] == ("repaired" if mends else None)
    if mends:
        assert not [one for one in run("check", box, "--json") if one["grade"] != "note"]
    if says == "not a plain file":
        os.rmdir(box + "/cur/sub")
    assert {one[0] for one in opened(box)[1].values()} >= {text(number).decode() for number in (1, 2, 3)}


# (what is done, what check says: worth knowing, but nothing is wrong)
NOTES = [
    (lambda root: os.unlink(root + "/dovecot-uidlist"), "missing"),
    (lambda root: write(root + "/new/9.host", b"x\n"), "1 messages have no UID yet"),
    (lambda root: (write(root + "/tmp/1.x", b"x"), old(root + "/tmp/1.x")), None),       # ctime is young: being written
    (lock_of_the_dead, "left behind by"),
    (lambda root: write(root + "/subscriptions", b"Gone\n", "ab"), "Gone: subscribed, but"),
    (lambda root: write(root + "/cur/5.host:2,SF", b"x\n"), "not in order"),
    (lambda root: write(root + "/cur/5.host:2,FQ", b"x\n"), "letters nobody knows: 'Q'"),
    (lambda root: write(root + "/pymta-index", b"x" * 64), "another UIDVALIDITY, or by another version"),
    (lambda root: write(root + "/pymta-changes", b"nonsense\n"), "its first line cannot be read"),
]


@pytest.mark.parametrize("spoil, says", NOTES, ids=[str(says) for _, says in NOTES])
def test_what_is_only_worth_knowing(box, spoil, says):
    spoil(box)
    found = run("check", box, "--json")
    assert ([one for one in found if says in one["why"]] if says else not found)
    assert all(one["grade"] == "note" for one in found)


def test_check_changes_nothing_and_repair_loses_no_line(box):
    damaged = read(box + "/dovecot-uidlist") + b"what is this?\n9 :x.gone\n"
    write(box + "/dovecot-uidlist", damaged)
    before = {path: read(os.path.join(top, path)) for top, _, files in os.walk(box) for path in files}
    uids = {uid: both for uid, both in opened(box)[1].items()}
    run("check", box, status=1)
    run("check", box, "--quick", status=1)
    assert {path: read(os.path.join(top, path)) for top, _, files in os.walk(box) for path in files} == before
    run("check", box, "--repair")
    (kept,) = [name for name in os.listdir(box) if name.startswith("dovecot-uidlist.damaged-")]
    assert read(os.path.join(box, kept)) == damaged
    assert opened(box)[1] == uids and b"what" not in read(box + "/dovecot-uidlist")
    assert uidlist.decode(read(box + "/dovecot-uidlist")).next > 9


def test_a_size_put_right_keeps_the_uid_and_its_keys(box):
    before = opened(box)
    wrong_size(box)
    write(box + "/dovecot-uidlist", read(box + "/dovecot-uidlist").replace(b"1 :1.M1", b"1 Pold W9 :1.M1"))
    run("check", box, "--repair")
    assert opened(box)[0] == before[0]
    assert {uid: both[0] for uid, both in opened(box)[1].items()} == {uid: both[0] for uid, both in before[1].items()}
    assert b"\n1 Pold :1.M1.host,E=" in read(box + "/dovecot-uidlist")


def test_the_counter_of_uidvalidities_is_raised(box):
    store = mailbox.MailStore(box)
    store.create("New")
    (old_name,) = [name for name in os.listdir(box) if name.startswith("dovecot-uidvalidity.")]
    os.rename(f"{box}/{old_name}", f"{box}/dovecot-uidvalidity.00000005")
    assert "one that has been given" in run("check", box, status=1)
    run("check", box, "--repair")
    store.create("Newer")
    assert store.status("Newer").uidvalidity > store.status("New").uidvalidity


def test_a_damaged_index_is_found_entry_by_entry(box):
    store = mailbox.MailStore(box)
    inbox = store.open("INBOX")
    assert inbox.describing(inbox.messages).some(inbox.messages)[0].envelope == describe(1, text(1), 0.0).envelope
    store.close(inbox)
    data = bytearray(read(box + "/pymta-index-text"))
    data[-3] ^= 1
    write(box + "/pymta-index-text", bytes(data))
    assert "is damaged" in run("check", box, status=1)
    run("check", box, "--repair")
    assert not os.path.exists(box + "/pymta-index")


def test_a_damaged_search_text_is_found(box):
    validity = opened(box)[0]
    data = searchtext.new_head(validity) + searchtext.encode([searchtext.Said(1, b"x", b"some", b"text")])
    write(box + "/pymta-search-texts", data)
    assert "nothing wrong" in run("check", box)
    write(box + "/pymta-search-texts", data[:-2] + b"!!")
    assert "is damaged" in run("check", box, status=1)
    run("check", box, "--repair")
    assert not os.path.exists(box + "/pymta-search-texts")


def test_two_files_of_one_name(box):
    name = names(box, "new")[0]
    write(f"{box}/cur/{name}:2,S", b"Subject: another\n\nmail\n")
    assert "it gets a name of its own" in run("check", box, status=1)
    if sys.platform == "linux":                         # both must have been quiet for half a minute before anybody touches them
        run("check", box, "--repair")
        assert len(names(box, "new")) + len(names(box, "cur")) == 4


def test_who_is_meant(tmp_path, box):
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "pymta.conf").write_text(f"host.name = a.example\nlocal.virtual_home = {tmp_path}\nlocal.virtual_uid = {os.getuid() or 65534}\n")
    (etc / "users").write_text(f"ann@a.example:{os.getuid() or 65534}::{tmp_path}\n")
    assert run("--etc", str(etc), "check", "ann@a.example").startswith(box)
    run("--etc", str(etc), "check", "bob@a.example", status=67)
    run("--etc", str(etc), "check", str(tmp_path / "nowhere"), status=66)
    run("check", status=64)


# ---- undelete ---------------------------------------------------------------------------------------------------------
def expunge(root, uids, name="INBOX"):
    store = mailbox.MailStore(root)
    folder = store.open(name)
    folder.expunge(uids)
    store.close(folder)


def test_what_was_expunged_comes_back_under_a_new_uid(box):
    store = mailbox.MailStore(box)
    inbox = store.open("INBOX")
    inbox.set_flags([1], "add", ["\\Deleted"])
    validity, before = opened(box)
    maildirsize.room(box, 1 << 20)
    inbox.expunge([1, 2])
    listed = run("undelete", box, "--list", "--json")
    assert [(one["mailbox"], one["uid"], one["subject"], one["from"]) for one in listed] \
        == [("INBOX", None, "nú1", "ann@a.example"), ("INBOX", None, "nú2", "ann@a.example")]
    assert set(opened(box)[1]) == {3}
    back = run("undelete", box, "INBOX", "--json")
    assert [one["uid"] for one in back] == [4, 5]
    after = opened(box)
    assert after[0] == validity and set(after[1]) == {3, 4, 5}
    assert after[1][4] == (before[1][0], ["\\Seen", "work"]) and after[1][5] == before[2]
    inbox.sync()
    assert inbox.get(5).internaldate == 1e9 and [message.uid for message in inbox.messages] == [3, 4, 5]
    store.close(inbox)
    assert run("check", box).splitlines() == [f"{box}: nothing wrong"]
    assert "nothing" in run("undelete", box)


def test_what_was_moved_is_not_lost(box):
    store = mailbox.MailStore(box)
    inbox, sent = store.open("INBOX"), store.open("Sent")
    inbox.move([1, 2], sent)
    assert run("undelete", box, "--list", "--json") == []
    expunge(box, [1], "Sent")
    store.close(inbox), store.close(sent)
    assert [(one["mailbox"], one["subject"]) for one in run("undelete", box, "--list", "--json")] == [("Sent", "nú1")]
    run("undelete", box)
    assert {uid: both[0] for uid, both in opened(box, "Sent")[1].items()} == {2: text(2).decode(), 3: text(1).decode()}
    assert set(opened(box)[1]) == {3}


def test_only_what_went_since(box):
    expunge(box, [1])
    time.sleep(0.05)
    since = time.time()
    time.sleep(0.05)
    expunge(box, [2])
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since)) + f"{since % 1:.6f}"[1:]
    assert [one["subject"] for one in run("undelete", box, "--since", moment, "--list", "--json")] == ["nú2"]
    assert len(run("undelete", box, "--since", "yesterday", "--list", "--json")) == 2
    assert len(run("undelete", box, "--since", "1h", "--list", "--json")) == 2
    run("undelete", box, "--since", "soon", status=64)


@pytest.mark.root
def test_root_becomes_the_owner_first(box):
    """What is made belongs to the owner, and a link to what only root may read leads nowhere."""
    with tempfile.TemporaryDirectory(prefix="pymta-test-") as top:
        os.chmod(top, 0o755)                            # the owner of the mailbox has to get there
        root = shutil.copytree(box, top + "/Maildir")
        write(top + "/secret", b"INBOX\n")
        os.chmod(top + "/secret", 0o600)
        for where, directories, files in os.walk(root):
            for name in (where, *(os.path.join(where, one) for one in [*directories, *files])):
                os.chown(name, 65534, 65534)
        os.unlink(root + "/.Sent/maildirfolder")
        os.unlink(root + "/subscriptions")
        os.symlink(top + "/secret", root + "/subscriptions")
        run("check", root, status=77)
        os.unlink(root + "/subscriptions")
        run("check", root, "--repair")
        assert os.stat(root + "/.Sent/maildirfolder").st_uid == 65534
