"""Mailboxes of others (RFC 4314): what each right allows, that nothing else is, and that a mailbox nobody may see is not there."""
from __future__ import annotations

import imaplib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemons import Stage
from tests.programs.test_imapd import done, idle, wait_for

ALL = "lrswipkxtea"
MESSAGE = b"Subject: %d\n\nx\n"
THERE, NOT_THERE = "Other Users.ann.Work", "Other Users.ann.Nowhere"


@pytest.fixture(scope="module")
def stage():
    with Stage() as stage:
        shared = stage.mail / "shared"
        stage.settings["imap.shared"] = shared
        for user in ("ann", "ben", "eve.ex"):
            maildir = stage.user(user, "pw")
            stage.fill(maildir, {f"cur/100000000{n}.M{n}P1Q1.mail:2,": MESSAGE % n for n in range(3)})
        stage.fill(shared, {})
        stage.fill(shared / ".News", {"cur/1000000001.M1P1Q1.mail:2,": MESSAGE % 1})
        stage.fill(shared / ".Staff", {})
        (shared / "dovecot-acl").write_text("anyone lr\nuser=ben@example.test lrswite\n")
        (shared / ".Staff" / "dovecot-acl").write_text("user=ann@example.test lrk\n")
        stage.give(shared)
        stage.start("pymta-imapd", {"imap.listen": "imap", "imap.listen_tls": "imaps"})
        yield stage
        stage.stop()
        assert " bug " not in stage.log(), stage.log()


def client(stage: Stage, user: str) -> imaplib.IMAP4:
    imap = imaplib.IMAP4("127.0.0.1", stage.ports["imap"], timeout=30)
    imap.login(user, "pw")
    return imap


def say(imap: imaplib.IMAP4, text: str) -> str:
    """All that is said until the answer is there and perhaps unasked behind it, the tagged reply last and without its tag."""
    imap.send(b"Q " + text.encode() + b"\r\n")
    heard = b""
    imap.sock.settimeout(10)
    while not (found := re.search(rb"^Q [^\r\n]*\r\n", heard, re.M)) or not heard.endswith(b"\r\n"):
        data = imap.sock.recv(1 << 16)
        assert data, heard
        heard += data
    return (heard[:found.start()] + heard[found.end():] + found[0][2:]).decode()


def last(answer: str) -> str:
    return answer.rstrip().splitlines()[-1]


@pytest.fixture
def ann(stage: Stage):
    imap = client(stage, "ann")
    say(imap, "DELETE Work")
    say(imap, "DELETE Work.New")
    say(imap, "DELETE Work2")
    say(imap, "DELETEACL INBOX ben")
    assert say(imap, "CREATE Work").startswith("OK")
    for flags in ("", "\\Deleted"):
        assert last(say(imap, f"APPEND Work ({flags}) {{12+}}\r\nSubject: x\r\n")).startswith("OK")
    yield imap
    imap.logout()


@pytest.fixture
def ben(stage: Stage):
    imap = client(stage, "ben")
    yield imap
    imap.logout()


def grant(ann: imaplib.IMAP4, rights: str, who: str = "ben", mailbox: str = "Work") -> None:
    assert last(say(ann, f'SETACL {mailbox} {who} "{rights}"')).startswith("OK")


def selected(imap: imaplib.IMAP4, command: str) -> str:
    answer = say(imap, f'SELECT "{THERE}"')
    return say(imap, command) if last(answer).startswith("OK") else answer


def if_told(answer: str, what: str) -> str:
    """Of a command that passes over what may not be read."""
    return "OK" if what in answer else "NO [NOPERM]" if last(answer).startswith("OK") else answer


# what ben says to ann's Work, the rights it takes, and what is granted besides so that he can come so far
COMMANDS: list[tuple[str, str, str, Callable[[imaplib.IMAP4], str]]] = [
    ("SELECT", "r", "l", lambda imap: say(imap, f'SELECT "{THERE}"')),
    ("EXAMINE", "r", "l", lambda imap: say(imap, f'EXAMINE "{THERE}"')),
    ("STATUS", "r", "l", lambda imap: say(imap, f'STATUS "{THERE}" (MESSAGES)')),
    ("STATUS modseq", "r", "l", lambda imap: say(imap, f'STATUS "{THERE}" (HIGHESTMODSEQ)')),
    ("APPEND", "i", "l", lambda imap: say(imap, f'APPEND "{THERE}" {{12+}}\r\nSubject: y\r\n')),
    ("COPY to", "i", "l", lambda imap: say(imap, "SELECT INBOX") and say(imap, f'COPY 1 "{THERE}"')),
    ("MOVE to", "i", "l", lambda imap: say(imap, "APPEND INBOX {12+}\r\nSubject: m\r\n") and say(imap, "SELECT INBOX") and say(imap, f'MOVE * "{THERE}"')),
    ("STORE seen", "s", "lrw", lambda imap: selected(imap, "STORE 1 +FLAGS (\\Seen)")),
    ("STORE deleted", "t", "lrs", lambda imap: selected(imap, "STORE 1 +FLAGS (\\Deleted)")),
    ("STORE flagged", "w", "lrs", lambda imap: selected(imap, "STORE 1 +FLAGS (\\Flagged)")),
    ("STORE keyword", "w", "lrt", lambda imap: selected(imap, "STORE 1 +FLAGS ($x)")),
    ("STORE conditionally", "w", "lrt", lambda imap: selected(imap, "STORE 1 (UNCHANGEDSINCE 99999999999) +FLAGS (\\Flagged)")),
    ("EXPUNGE", "e", "lrts", lambda imap: selected(imap, "EXPUNGE")),
    ("UID EXPUNGE", "e", "lrts", lambda imap: selected(imap, "UID EXPUNGE 1:*")),
    ("MOVE from", "te", "lrs", lambda imap: selected(imap, "MOVE 1 INBOX")),
    ("REPLACE", "te", "lrsi", lambda imap: selected(imap, "REPLACE 1 INBOX {12+}\r\nSubject: z\r\n")),
    ("CREATE", "k", "l", lambda imap: say(imap, f'CREATE "{THERE}.New"')),
    ("DELETE", "x", "l", lambda imap: say(imap, f'DELETE "{THERE}"')),
    ("RENAME", "x", "l", lambda imap: say(imap, f'RENAME "{THERE}" "Other Users.ann.Work2"')),
    ("GETACL", "a", "l", lambda imap: say(imap, f'GETACL "{THERE}"')),
    ("SETACL", "a", "l", lambda imap: say(imap, f'SETACL "{THERE}" anyone lr')),
    ("DELETEACL", "a", "l", lambda imap: say(imap, f'DELETEACL "{THERE}" anyone')),
    ("LISTRIGHTS", "a", "l", lambda imap: say(imap, f'LISTRIGHTS "{THERE}" anyone')),
    ("GETMETADATA", "r", "l", lambda imap: say(imap, f'GETMETADATA "{THERE}" /shared/comment')),
    ("SETMETADATA", "w", "lr", lambda imap: say(imap, f'SETMETADATA "{THERE}" (/shared/comment "x")')),
    ("FETCH", "r", "l", lambda imap: selected(imap, "FETCH 1:* (ENVELOPE BODY.PEEK[])")),
    ("SEARCH", "r", "l", lambda imap: selected(imap, "SEARCH TEXT x")),
    ("SORT", "r", "l", lambda imap: selected(imap, "SORT (SUBJECT) UTF-8 ALL")),
    ("THREAD", "r", "l", lambda imap: selected(imap, "THREAD REFERENCES UTF-8 ALL")),
    ("COPY from", "r", "l", lambda imap: selected(imap, "COPY 1 INBOX")),
    ("REPLACE to", "i", "l", lambda imap: say(imap, "APPEND INBOX {12+}\r\nSubject: m\r\n") and say(imap, "SELECT INBOX")
     and say(imap, f'REPLACE * "{THERE}" {{12+}}\r\nSubject: z\r\n')),
    ("CATENATE", "r", "l", lambda imap: say(imap, f'APPEND INBOX CATENATE (URL "/{THERE.replace(" ", "%20")}/;UID=1")')),
    ("GETMETADATA depth", "r", "l", lambda imap: say(imap, f'GETMETADATA (DEPTH infinity) "{THERE}" /shared')),
    ("LIST metadata", "r", "l", lambda imap: if_told(say(imap, f'LIST "" "{THERE}" RETURN (METADATA (/shared/comment))'), "* METADATA")),
    ("LIST status", "r", "l", lambda imap: if_told(say(imap, f'LIST "" "{THERE}" RETURN (STATUS (MESSAGES))'), "* STATUS")),
    ("ESEARCH", "r", "l", lambda imap: if_told(say(imap, f'ESEARCH IN (mailboxes "{THERE}") ALL'), "* ESEARCH")),
    ("ESEARCH subtree", "r", "l", lambda imap: if_told(say(imap, 'ESEARCH IN (subtree "Other Users") ALL'), "* ESEARCH")),
    ("NOTIFY", "r", "l", lambda imap: if_told(say(imap, f'NOTIFY SET STATUS (mailboxes "{THERE}" (MessageNew MessageExpunge))'), "* STATUS")),
]


@pytest.mark.parametrize(("wanted", "besides", "act"), [row[1:] for row in COMMANDS], ids=[row[0] for row in COMMANDS])
def test_a_command_takes_its_right(ann: imaplib.IMAP4, ben: imaplib.IMAP4, wanted: str, besides: str,
                                   act: Callable[[imaplib.IMAP4], str]) -> None:
    grant(ann, "lk", mailbox="INBOX")                                   # where RENAME goes
    grant(ann, "".join(set(ALL) - set(wanted)))
    assert last(act(ben)).startswith("NO [NOPERM]"), "all rights but the one"
    for missing in wanted if len(wanted) > 1 else "":
        grant(ann, "".join(set(ALL) - set(missing)))
        assert last(act(ben)).startswith("NO [NOPERM]")
    grant(ann, wanted + besides)
    assert last(act(ben)).startswith("OK"), "the right alone"


HIDDEN = ["SELECT {}", "EXAMINE {}", "STATUS {} (MESSAGES)", "APPEND {} {{12+}}\r\nSubject: y\r\n", "DELETE {}", "RENAME {} Mine", "GETACL {}", "MYRIGHTS {}",
          "SETACL {} ben lr", "DELETEACL {} ben", "LISTRIGHTS {} ben", "GETMETADATA {} /shared/comment", "SETMETADATA {} (/shared/comment \"x\")", "CREATE {}",
          "CREATE {}.x", "RENAME Drafts {}.x", 'LIST "" {}', 'LIST "" {} RETURN (MYRIGHTS STATUS (MESSAGES))', "SUBSCRIBE {}", "UNSUBSCRIBE {}",
          "GETQUOTAROOT {}", "SETQUOTA {} ()", 'LSUB "" {}', 'LIST (SUBSCRIBED) "" {}', 'LIST "" {} RETURN (METADATA (/shared/comment))',
          "NOTIFY SET STATUS (mailboxes {} (MessageNew MessageExpunge MailboxName SubscriptionChange))", "REPLACE 1 {} {{12+}}\r\nSubject: z\r\n",
          "NOTIFY SET STATUS (subtree {} (MessageNew MessageExpunge MailboxMetadataChange))", "ESEARCH IN (mailboxes {}) ALL", "COPY 1 {}", "MOVE 1 {}"]


@pytest.mark.parametrize("command", HIDDEN)
def test_who_may_not_see_a_mailbox_cannot_tell_that_it_is_there(ann: imaplib.IMAP4, ben: imaplib.IMAP4, command: str) -> None:
    say(ben, "SELECT INBOX")
    answers = {say(ben, command.format(f'"{name}"')).replace(name, "NAME") for name in (THERE, NOT_THERE)}
    assert len(answers) == 1, answers
    user = say(ben, command.format('"Other Users.nobody.Work"')).replace("Other Users.nobody.Work", "NAME")
    assert user in answers


def test_a_shared_mailbox_is_listed_and_others_are_not(ann: imaplib.IMAP4, ben: imaplib.IMAP4, stage: Stage) -> None:
    assert "Other Users" not in say(ben, 'LIST "" "Other*"') or "Work" not in say(ben, 'LIST "" *')
    grant(ann, "lr")
    listed = say(ben, 'LIST "" * RETURN (MYRIGHTS)')
    assert f'"{THERE}"\r\n* MYRIGHTS "{THERE}" "lr"' in listed and "ann.Drafts" not in listed and "Staff" not in listed
    assert '"Shared.News"' in listed
    assert last(say(ben, f'SELECT "{THERE}"')).startswith("OK [READ-ONLY]")
    grant(ann, "-r")
    assert last(say(ben, f'SELECT "{THERE}"')).startswith("NO [NOPERM]")
    assert say(ben, 'LIST "" *').count(THERE) == 1
    assert last(say(ann, "DELETEACL Work ben")).startswith("OK")
    assert THERE not in say(ben, 'LIST "" *')


def test_the_file_is_one_that_dovecot_reads_and_others_lines_stay(ann: imaplib.IMAP4, ben: imaplib.IMAP4, stage: Stage) -> None:
    file = stage.mail / "example.test" / "ann" / "Maildir" / ".Work" / "dovecot-acl"
    file.write_text("# by hand\ngroup=staff lr\nanyone :lookup read write-seen\n")
    stage.give(file.parent)
    grant(ann, "lrk")
    grant(ann, "r", "-eve.ex@example.test")
    assert file.read_text() == "# by hand\ngroup=staff lr\nanyone :lookup read write-seen\nuser=ben@example.test lrk\n-user=eve.ex@example.test r\n"
    assert '* ACL "Work" "ann@example.test" "lrswipkxteacd" "$staff" "lr" "anyone" "lrs" "ben@example.test" "lrkc" "-eve.ex@example.test" "r"' \
        in say(ann, "GETACL Work")
    assert f'* MYRIGHTS "{THERE}" "lrkc"' in say(ben, f'MYRIGHTS "{THERE}"')
    eve = client(stage, "eve.ex")
    assert f'* MYRIGHTS "{THERE}" "ls"' in say(eve, f'MYRIGHTS "{THERE}"')
    eve.logout()
    assert '* LISTRIGHTS "Work" "ann" "lrswipkxtea"\r\n' in say(ann, "LISTRIGHTS Work ann")
    assert '* LISTRIGHTS "Work" "ben" "" l r s w i p k x t e a\r\n' in say(ann, "LISTRIGHTS Work ben")
    for refused in ("SETACL Work ann lr", "SETACL Work nobody lr", "DELETEACL Work owner"):
        assert last(say(ann, refused)).startswith("NO [CANNOT]")
    assert last(say(ann, "SETACL Work ben lrQ")).startswith("BAD")
    file.write_text("anyone lr\n-user=ben@example.test huh\n")
    assert last(say(ben, f'SELECT "{THERE}"')).startswith("NO [NONEXISTENT]")


def test_flags_that_may_not_be_set_stay_as_they_are(ann: imaplib.IMAP4, ben: imaplib.IMAP4) -> None:
    """RFC 4314 §4: STORE changes what it may; APPEND and COPY leave the others out."""
    grant(ann, "lrsi")
    answer = say(ben, f'SELECT "{THERE}"')
    assert "[PERMANENTFLAGS (\\Seen)]" in answer and last(answer).startswith("OK [READ-WRITE]")
    assert "FLAGS (\\Deleted \\Seen)" in say(ben, "STORE 2 FLAGS (\\Seen \\Flagged)")
    assert last(say(ben, f'APPEND "{THERE}" (\\Seen \\Flagged) {{12+}}\r\nSubject: y\r\n')).startswith("OK")
    say(ben, "NOOP")
    assert re.search(r"\* 3 FETCH \(FLAGS \((\\Recent )?\\Seen\)\)", say(ben, "FETCH 3 FLAGS"))
    assert last(say(ben, "CLOSE")).startswith("OK")
    assert "(MESSAGES 3)" in say(ann, "STATUS Work (MESSAGES)")         # one is \Deleted, and e was not given
    grant(ann, "lr")
    say(ben, f'SELECT "{THERE}"')
    assert "BODY[]" in say(ben, "FETCH 1 BODY[]")
    assert "\\Seen" not in say(ann, "SELECT Work") or "FLAGS ()" in say(ann, "FETCH 1 FLAGS")


def test_a_mailbox_made_below_has_the_rights_of_the_one_above(ann: imaplib.IMAP4, ben: imaplib.IMAP4) -> None:
    grant(ann, "lrk")
    assert last(say(ben, f'CREATE "{THERE}.New"')).startswith("OK")
    assert f'* MYRIGHTS "{THERE}.New" "lrkc"' in say(ben, f'MYRIGHTS "{THERE}.New"')
    assert '"Work.New"' in say(ann, 'LIST "" *')
    assert last(say(ben, f'RENAME "{THERE}.New" Mine')).startswith("NO [NOPERM]")
    grant(ann, "lrkx", mailbox="Work.New")
    assert last(say(ben, f'RENAME "{THERE}.New" Mine')).startswith("NO [CANNOT]")
    assert last(say(ben, f'RENAME "{THERE}.New" "{THERE}.Newer"')).startswith("OK")
    assert last(say(ann, "DELETE Work.Newer")).startswith("OK")


def test_pushes_reach_the_sessions_of_both(ann: imaplib.IMAP4, ben: imaplib.IMAP4) -> None:
    grant(ann, "lrswite")
    for one, name in ((ann, "Work"), (ben, THERE)):
        assert last(say(one, f'SELECT "{name}"')).startswith("OK [READ-WRITE]")
    idle(ben)
    say(ann, "STORE 1 +FLAGS (\\Flagged)")
    assert b"* 1 FETCH" in wait_for(ben, b"\\Flagged")
    done(ben)
    idle(ann)
    assert last(say(ben, f'APPEND "{THERE}" {{12+}}\r\nSubject: y\r\n')).startswith("OK")
    assert b"* 3 EXISTS" in wait_for(ann, b"EXISTS")
    say(ben, "STORE 1 +FLAGS (\\Deleted)")
    say(ben, "EXPUNGE")
    assert b"EXPUNGE" in wait_for(ann, b"* 1 EXPUNGE")
    done(ann)
    grant(ann, "lr")                                                    # counts at once, also for who has it open
    assert last(say(ben, "STORE 1 +FLAGS (\\Flagged)")).startswith("NO [NOPERM]")


def test_what_belongs_to_all(stage: Stage, ann: imaplib.IMAP4, ben: imaplib.IMAP4) -> None:
    assert '* NAMESPACE (("" ".")) (("Other Users." ".")) (("Shared." "."))' in say(ann, "NAMESPACE")
    assert last(say(ann, "SELECT Shared.News")).startswith("OK [READ-ONLY]") and last(say(ben, "SELECT Shared.News")).startswith("OK [READ-WRITE]")
    assert last(say(ann, "SELECT Shared.Staff")).startswith("OK") and last(say(ben, "SELECT Shared.Staff")).startswith("NO [NONEXISTENT]")
    assert last(say(ann, "CREATE Shared.Mine")).startswith("NO [NOPERM]") and last(say(ann, "CREATE Shared.Staff.Mine")).startswith("OK")
    assert '* MYRIGHTS "Shared.Staff.Mine" "lrkc"' in say(ann, "MYRIGHTS Shared.Staff.Mine")
    assert last(say(ann, "SELECT Shared")).startswith("NO [NONEXISTENT]")


def test_the_list_of_who_shares_is_made_anew(stage: Stage, ann: imaplib.IMAP4, ben: imaplib.IMAP4) -> None:
    grant(ann, "lr")
    file = stage.mail / "pymta-shares"
    assert "ann@example.test user=ben@example.test\n" in file.read_text()
    os.unlink(file)
    assert THERE in say(ben, 'LIST "" *')
    assert "ann@example.test user=ben@example.test\n" in file.read_text()


def test_it_is_the_owners_room_that_counts(stage: Stage, ben: imaplib.IMAP4) -> None:
    maildir = stage.user("full", "pw", options="quota=4K")
    stage.fill(maildir, {})
    (maildir / "dovecot-acl").write_text("user=ben@example.test lri\n")
    stage.give(maildir)
    name = '"Other Users.full"'
    for octets, answer in ((3000, "OK"), (3000, "NO [OVERQUOTA]"), (500, "OK")):
        assert last(say(ben, f"APPEND {name} {{{octets}+}}\r\n{'x' * octets}")).startswith(answer)
    say(ben, "SELECT INBOX")
    say(ben, f"APPEND INBOX {{3000+}}\r\n{'x' * 3000}")
    for command in (f"COPY * {name}", f"MOVE * {name}", f"REPLACE * {name} {{3000+}}\r\n{'x' * 3000}"):
        assert last(say(ben, command)).startswith("NO [OVERQUOTA]"), command
    say(ben, "APPEND INBOX {200+}\r\n" + "x" * 200)
    assert last(say(ben, f"MOVE * {name}")).startswith("OK")
    full = client(stage, "full")
    assert say(full, "CREATE Junk").startswith("OK")
    assert "(STORAGE 4 4)" in say(full, "GETQUOTA \"\"")               # 3000 + 500 + 200
    assert last(say(full, "SELECT INBOX")).startswith("OK") and last(say(full, "MOVE 1 Junk")).startswith("OK")
    for octets, answer in ((3000, "NO [OVERQUOTA]"), (100, "OK")):
        assert last(say(ben, f"APPEND {name} {{{octets}+}}\r\n{'x' * octets}")).startswith(answer)
    full.logout()
    assert f"* QUOTAROOT {name}\r\n" in say(ben, f"GETQUOTAROOT {name}")
    assert last(say(ben, 'SETQUOTA "" ()')).startswith("NO [NOPERM]")


def test_names_of_users_with_dots(stage: Stage, ann: imaplib.IMAP4) -> None:
    eve = client(stage, "eve.ex")
    assert last(say(eve, "SETACL INBOX ann lr")).startswith("OK")
    assert '"Other Users.eve^ex"' in say(ann, 'LIST "" *')
    assert last(say(ann, 'SELECT "Other Users.eve^ex"')).startswith("OK [READ-ONLY]")
    assert last(say(ann, 'SELECT "Other Users.ann"')).startswith("NO [NONEXISTENT]")
    eve.logout()


def test_paths_do_not_leave_the_maildir(stage: Stage, ann: imaplib.IMAP4) -> None:
    for name in ("Other Users.../../ben", "Other Users.ben/../eve", "Shared../../../etc", "Shared.a/b"):
        for command in ("SELECT {}", "CREATE {}", "DELETE {}", "GETACL {}"):
            assert last(say(ann, command.format(f'"{name}"'))).startswith("NO")
    assert not list(Path(stage.mail).glob("**/etc"))
