"""Who did what to a message: by IMAP, by POP3, by nobody we know, over a restart; and by its Message-ID across mailboxes."""
from __future__ import annotations

import imaplib
import os
import time

from tests.programs.test_maildir import run


imaplib.Commands["ID"] = ("NONAUTH", "AUTH", "SELECTED")


def test_the_story_of_a_message(sandbox_factory):
    box = sandbox_factory()
    box.send("alice@example.test", "Message-ID: <one@client.test>\nSubject: one\n\nx\n")
    box.wait_mail()
    maildir = box.user("alice")["maildir"]
    with box.imap() as client:
        client._simple_command("ID", '("name" "Some Mail")')
        client.select()
        client.store("1", "+FLAGS", "(\\Flagged work)")
        (name,) = os.listdir(maildir + "/cur")
        os.rename(f"{maildir}/cur/{name}", f"{maildir}/cur/{name.partition(':')[0]}:2,Sa")
        client.noop()
        client.copy("1", "Archive")
        time.sleep(1.1)
        client.store("1", "+FLAGS", "(\\Deleted)")
        client.expunge()
    story = run("who", maildir, "INBOX", "1", "--json")
    assert [one["what"] for one in story][-4:] == ["+\\Flagged +work", "+\\Seen -\\Flagged", "+\\Deleted", "expunged, or moved to another mailbox"]
    assert [one["who"] for one in story][-4:] == ["imap,127.0.0.1,Some Mail", None, "imap,127.0.0.1,Some Mail", "imap,127.0.0.1,Some Mail"]
    both = run("who", maildir, "--message-id", "<one@client.test>", "--json")
    assert {(one["mailbox"], one["uid"]) for one in both} == {("INBOX", 1), ("Archive", 1)}
    assert [one["who"] for one in both if one["mailbox"] == "Archive"] == ["imap,127.0.0.1,Some Mail"]
    assert "nothing is known" in run("who", maildir, "INBOX", "99")
    assert "no such message" in run("who", maildir, "--message-id", "<two@client.test>")
    run("who", maildir, "Nowhere", "1", status=66)
    run("who", maildir, status=64)


def test_pop3_and_undelete_say_who_they_are(sandbox_factory):
    box = sandbox_factory()
    box.send("bob@example.test", "Message-ID: <one@client.test>\nSubject: one\n\nx\n")
    box.wait_mail(name="bob")
    maildir = box.user("bob")["maildir"]
    client = box.pop3("bob")
    client.dele(1)
    client.quit()
    (gone,) = [one for one in run("who", maildir, "INBOX", "1", "--json") if one["what"].startswith("expunged")]
    assert gone["who"] == "pop3,127.0.0.1"
    run("undelete", maildir)
    (came,) = run("who", maildir, "INBOX", "2", "--json")
    assert came["who"] == "pymta-maildir"
