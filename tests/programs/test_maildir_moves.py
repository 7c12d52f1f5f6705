"""A Maildir goes over from Courier or Dovecot, and back: clients notice nothing, and the other server's own program says so.

The dry run is a test of its own: what it foretells is compared with what the other server then says.
"""
from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pymta import mailbox
from pymta.formats import courier, uidlist
from pymta.mailbox import opened
from pymta.upkeep import servers
from pymta.upkeep.talk import Talk
from pymta.upkeep.view import View, differences, ours
from tests.courier import courier_programs, dovecot_programs, needs_courier, needs_dovecots
from tests.dovecot import directory
from tests.running import ROOT

PROGRAM = os.path.join(ROOT, "bin", "pymta-maildir")


def text(number):
    return b"Subject: %d\nMessage-ID: <%d@a.example>\n\nhello %d\n" % (number, number, number)


def run(*words, status=0):
    """As whoever owns the Maildirs: root is nobody meanwhile."""
    identity = {"user": os.geteuid(), "group": os.getegid()} if os.getuid() != os.geteuid() else {}
    done = subprocess.run([sys.executable, PROGRAM, *words], capture_output=True, text=True, timeout=120, **identity)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def top():
    with directory() as path:
        os.chmod(path, 0o755)
        yield path


def deliver(maildir, number, text, place="new", flags=""):
    with open(f"{maildir}/{place}/{1000000000 + number}.M1P{number}.host{flags}", "wb") as file:
        file.write(text)
    os.utime(file.name, (1e9 + number, 1e9 + number))


def snapshot(path):
    """Everything below path: path -> contents, or None for a directory."""
    found = {}
    for where, directories, files in os.walk(path):
        found.update((os.path.join(where, name), None) for name in directories)
        for name in files:
            with open(os.path.join(where, name), "rb") as file:
                found[os.path.join(where, name)] = file.read()
    return found


def our_view(maildir) -> View:
    opened.forget_all()
    return ours(maildir)


# ---- Courier ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def theirs(top):
    found = servers.courier((courier_programs(top + "/courier"),))
    assert found
    return found


def talk(server: servers.Courier, maildir: str, *commands: bytes) -> None:
    with server.talk(server.imapd, maildir) as session:
        while not session.line().startswith(b"* PREAUTH"):
            pass
        for command in commands:
            session.ok(command)
        session.command(b"LOGOUT")


@pytest.fixture
def courier_box(top, theirs):
    """A Maildir that Courier has served for a while."""
    maildir = top + "/Maildir"
    for sub in ("", "/tmp", "/new", "/cur"):
        os.mkdir(maildir + sub, 0o700)
    for number in (5, 3, 8, 1):
        deliver(maildir, number, text(number))
    deliver(maildir, 9, b"Subject: no end\n\nlast line", "cur", ":2,F")
    with theirs.talk(theirs.pop3d, maildir) as session:
        session.line()
        session.say(b"QUIT")
    talk(theirs, maildir, b"SELECT INBOX", b"STORE 1:2 +FLAGS ($Junk work \\Seen)", b"STORE 2 -FLAGS (work)", b'CREATE "INBOX.N&APw-u.x"',
         b'COPY 1,5 "INBOX.N&APw-u.x"', b"STORE 3 +FLAGS (\\Deleted)", b"EXPUNGE", b'SUBSCRIBE "INBOX.N&APw-u.x"', b"CREATE INBOX.Sent")
    deliver(maildir, 20, text(20))
    talk(theirs, maildir, b"SELECT INBOX")
    deliver(maildir, 15, text(15))                      # comes later, and stands before it in POP3's order
    theirs.view(maildir)
    return maildir


@needs_courier
def test_from_courier_nothing_is_noticed(courier_box, theirs, top):
    said, before = theirs.view(courier_box), snapshot(courier_box)
    assert set(said.boxes) == {"INBOX", "Nüu.x", "Sent"} and len(said.boxes["INBOX"].mails) == 6 and said.drop[0][0].startswith(b"UID")
    assert {"$Junk", "work"} <= {flag for mail in said.boxes["INBOX"].mails.values() for flag in mail.flags}
    out = run("adopt", courier_box, "--from", "courier", "--dry-run", "--programs", top + "/courier")
    assert "compared with Courier: 3 mailboxes, 8 messages, 6 of POP3: clients notice nothing\n" in out
    assert snapshot(courier_box) == before, "a dry run changes nothing"
    out = run("adopt", courier_box, "--from", "courier", "--programs", top + "/courier")
    assert "INBOX: UIDVALIDITY" in out and "Nüu.x: its directory is named .N&APw-u.x" in out
    assert not [one for one in differences(said, our_view(courier_box)) if one.grade == "fault"]
    run("check", courier_box)
    again = run("adopt", courier_box, "--from", "courier", "--programs", top + "/courier", status=1)
    assert "has worked here since" in again


@needs_courier
def test_adoption_can_be_repeated(courier_box, theirs, top):
    said = theirs.view(courier_box)
    run("adopt", courier_box, "--from", "courier", "--programs", top + "/courier")
    before = our_view(courier_box)
    out = run("adopt", courier_box, "--from", "courier", "--anyway", "--programs", top + "/courier")
    assert our_view(courier_box) == before and "UIDs" not in out
    assert not list(differences(said, before))


@needs_courier
def test_to_courier_and_back(top, theirs):
    maildir = top + "/Maildir"
    mailbox.make(maildir, ("Sent", "Entwürfe.A&B"))
    store = mailbox.MailStore(maildir)
    inbox, other = store.open("INBOX"), store.open("Entwürfe.A&B")
    inbox.append_all([(text(1), ["\\Seen", "$Junk", "work"], 1e9), (text(2), [], None), (text(3), ["\\Flagged"], None), (b"no end", ["x"], None)])
    inbox.copy([1, 3], other)
    inbox.expunge([3])
    deliver(maildir, 77, text(77))
    inbox.sync()
    store.close(inbox), store.close(other)
    before = our_view(maildir)
    assert "clients notice nothing" in run("leave", maildir, "--to", "courier", "--dry-run", "--programs", top + "/courier")
    assert not os.path.exists(maildir + "/courierimapuiddb")
    run("leave", maildir, "--to", "courier", "--programs", top + "/courier")
    said = theirs.view(maildir)
    assert not [one for one in differences(before, said) if one.grade == "fault"]
    # Courier works there for a while: it drops our letters from names, and gives UIDs
    deliver(maildir, 90, text(90))
    talk(theirs, maildir, b"SELECT INBOX", b"STORE 1 +FLAGS (later)", b"STORE 2 +FLAGS (\\Deleted)", b"EXPUNGE", b'UNSUBSCRIBE "INBOX.Sent"')
    said = theirs.view(maildir)
    with open(maildir + "/dovecot-uidlist", "rb") as file:
        guid = uidlist.decode(file.read()).guid
    out = run("adopt", maildir, "--from", "courier", "--programs", top + "/courier")
    assert "clients notice nothing" in out
    now = our_view(maildir)
    assert not [one for one in differences(said, now) if one.grade == "fault"]
    assert now.boxes["INBOX"].uidvalidity == before.boxes["INBOX"].uidvalidity and 2 not in now.boxes["INBOX"].mails
    assert now.boxes["INBOX"].mails[1].flags == {"\\Seen", "$Junk", "work", "later"}
    with open(maildir + "/dovecot-uidlist", "rb") as file:
        assert uidlist.decode(file.read()).guid == guid


@needs_courier
def test_both_gave_one_uid_to_two_messages(courier_box, theirs, top):
    """Somebody let both servers work on it: no UID may mean another mail than it did to either one's clients."""
    run("adopt", courier_box, "--from", "courier", "--programs", top + "/courier")
    before = our_view(courier_box)
    for number in (30, 31):
        deliver(courier_box, number, text(number))
    store = mailbox.MailStore(courier_box)
    store.close(store.open("INBOX"))                    # UIDs in the order 30, 31
    os.rename(f"{courier_box}/new/1000000030.M1P30.host", f"{courier_box}/tmp/x")
    talk(theirs, courier_box, b"SELECT INBOX")          # Courier gives the first of them to 31
    os.rename(f"{courier_box}/tmp/x", f"{courier_box}/new/1000000030.M1P30.host")
    for folder in ("", "/.Sent", "/.N&APw-u.x"):
        os.utime(courier_box + folder + "/courierimapuiddb")
    out = run("adopt", courier_box, "--from", "courier", "--programs", top + "/courier", status=1)
    assert "every message is fetched again" in out and "nothing was done" in out
    run("adopt", courier_box, "--from", "courier", "--anyway", "--programs", top + "/courier")
    assert our_view(courier_box).boxes["INBOX"].uidvalidity > before.boxes["INBOX"].uidvalidity


@needs_courier
def test_uidls_that_courier_cannot_show_are_told(top, theirs):
    maildir = top + "/Maildir"
    mailbox.make(maildir, ())
    store = mailbox.MailStore(maildir)
    inbox = store.open("INBOX")
    inbox.append(text(1))
    with inbox.lock:
        inbox.sync_locked()
        inbox.uidlist.list.keys[1] = b"P0000000100000309"
        inbox.uidlist.rewrite()
    store.close(inbox)
    out = run("leave", maildir, "--to", "courier", "--programs", top + "/courier", status=1)
    assert "POP3: 1 of 1 UIDLs are others" in out and not os.path.exists(maildir + "/courierimapuiddb")
    assert "1 are of a form that Courier cannot show" in run("leave", maildir, "--to", "courier", "--anyway", "--programs", top + "/courier")


# ---- Dovecot ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def dovecot(top):
    found = servers.dovecot((dovecot_programs(top + "/dovecot"),))
    assert found
    return found


@pytest.fixture
def dovecot_box(top, dovecot):
    maildir = top + "/Maildir"
    for sub in ("", "/tmp", "/new", "/cur"):
        os.mkdir(maildir + sub, 0o700)
    for number in (5, 3, 8):
        deliver(maildir, number, text(number))
    with dovecot.talk(dovecot.imap, maildir) as session:
        session.line()
        many = b" ".join(b"k%d" % number for number in range(29))
        for command in (b"SELECT INBOX", b"STORE 1 +FLAGS (%b \\Seen)" % many, b'CREATE "N&APw-u.x"', b'SUBSCRIBE "N&APw-u.x"', b'COPY 1 "N&APw-u.x"',
                        b"STORE 2 +FLAGS (\\Deleted)", b"EXPUNGE", b"STATUS INBOX (HIGHESTMODSEQ)"):
            session.ok(command)
        session.command(b"LOGOUT")
    return maildir


@needs_dovecots
def test_from_dovecot_and_back(dovecot_box, dovecot, top):
    said, before = dovecot.view(dovecot_box), snapshot(dovecot_box)
    assert len(said.boxes["INBOX"].mails[1].flags) == 30 and said.boxes["INBOX"].modseq and said.drop[0][0] == b"%08x%08x" % (1, said.boxes["INBOX"].uidvalidity)
    out = run("adopt", dovecot_box, "--from", "dovecot", "--dry-run", "--programs", top + "/dovecot")
    assert "compared with Dovecot: 2 mailboxes, 3 messages, 2 of POP3: clients notice nothing" in out and snapshot(dovecot_box) == before
    out = run("adopt", dovecot_box, "--from", "dovecot", "--programs", top + "/dovecot")
    assert "keywords without a letter, of 1 messages" in out and "UIDLs as %08Xu%08Xv" in out
    now = our_view(dovecot_box)
    assert not list(differences(said, now)) and now.boxes["INBOX"].modseq > said.boxes["INBOX"].modseq
    # and back, from where its index knows nothing of keywords
    store = mailbox.MailStore(dovecot_box)
    inbox = store.open("INBOX")
    inbox.append(text(40), ["last"])
    store.close(inbox)
    for where in (dovecot_box, dovecot_box + "/.N&APw-u.x"):
        for name in os.listdir(where):
            if name.startswith("dovecot.index"):
                os.unlink(os.path.join(where, name))
    before = our_view(dovecot_box)
    assert "clients notice nothing" in run("leave", dovecot_box, "--to", "dovecot", "--dry-run", "--programs", top + "/dovecot")
    out = run("leave", dovecot_box, "--to", "dovecot", "--programs", top + "/dovecot")
    assert "4 keywords without a letter are in Dovecot's index" in out and "--min-highest-modseq" in out
    found = [one for one in differences(before, dovecot.view(dovecot_box)) if one.grade == "fault"]
    assert all("HIGHESTMODSEQ falls" in one.why for one in found), found     # what the command that was printed is for


@needs_dovecots
def test_our_own_uidls_go_along_to_dovecot(top, dovecot):
    maildir = top + "/Maildir"
    mailbox.make(maildir, ())
    store = mailbox.MailStore(maildir)
    inbox = store.open("INBOX")
    inbox.append_all([(text(number), ["\\Seen"], None) for number in (1, 2)])
    store.close(inbox)
    run("leave", maildir, "--to", "dovecot", "--programs", top + "/dovecot")
    assert dovecot.view(maildir).drop == our_view(maildir).drop


# ---- where the other server is not installed ------------------------------------------------------------------------------
def test_without_the_other_server_it_says_so(top):
    maildir = top + "/Maildir"
    mailbox.make(maildir, ())
    store = mailbox.MailStore(maildir)
    inbox = store.open("INBOX")
    inbox.append(text(1), ["\\Seen", "work"])
    store.close(inbox)
    for words in (("adopt", "--from", "dovecot"), ("adopt", "--from", "courier"), ("leave", "--to", "dovecot"), ("leave", "--to", "courier")):
        out = run(words[0], maildir, *words[1:], "--dry-run", "--programs", top)
        assert out.startswith(f"nothing was compared: {words[2].capitalize()} is not installed here")
    run("leave", maildir, "--to", "courier", "--programs", top)
    with open(maildir + "/courierimapkeywords/:list", "rb") as file:
        assert courier.decode_keywords([(b":list", file.read())])
    assert "UIDLs" in run("leave", maildir, "--to", "dovecot", "--programs", top)


def test_a_program_that_hangs_up_is_no_traceback(top):
    with open(top + "/imap", "w") as file:
        file.write("#!/bin/sh\necho '* BYE no'\n")
    os.chmod(top + "/imap", 0o755)
    mailbox.make(top + "/Maildir", ())
    run("adopt", top + "/Maildir", "--from", "dovecot", "--programs", top, status=74)
    assert not [name for name in os.listdir(top + "/Maildir") if name.startswith("..")]


def test_talk_ends_what_it_started(top):
    with pytest.raises(OSError), Talk(["/bin/cat"], {}) as session:
        session.say(b"hello")
        assert session.line() == b"hello"
        raise OSError("enough")
