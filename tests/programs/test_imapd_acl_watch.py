"""Mailboxes of others under NOTIFY and ESEARCH, and what becomes of a session whose rights are taken away (RFC 5465, RFC 7377, RFC 4314)."""
from __future__ import annotations

import imaplib
import re
import socket
from collections.abc import Iterator

import pytest

from tests.daemons import Stage
from tests.programs.test_imapd import done, idle, wait_for
from tests.programs.test_imapd_acl import MESSAGE, client, grant, last, say

THERE = "Other Users.ann.Work"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        shared = stage.mail / "shared"
        stage.settings["imap.shared"] = shared
        for user in ("ann", "ben"):
            maildir = stage.user(user, "pw")
            stage.fill(maildir, {f"cur/100000000{n}.M{n}P1Q1.mail:2,": MESSAGE % n for n in range(3)})
        stage.fill(shared, {})
        stage.fill(shared / ".News", {"cur/1000000001.M1P1Q1.mail:2,": MESSAGE % 1})
        (shared / "dovecot-acl").write_text("anyone lr\nuser=ann@example.test lrswitekx\n")
        stage.give(shared)
        stage.start("pymta-imapd", {"imap.listen": "imap", "imap.listen_tls": "imaps"})
        yield stage
        stage.stop()
        assert " bug " not in stage.log(), stage.log()


@pytest.fixture
def ann(stage: Stage) -> Iterator[imaplib.IMAP4]:
    imap = client(stage, "ann")
    for name in ("Work", "Work.New", "Plans"):
        say(imap, f"DELETE {name}")
    say(imap, "DELETEACL INBOX ben")
    assert say(imap, "CREATE Work").startswith("OK")
    assert last(say(imap, "APPEND Work {12+}\r\nSubject: x\r\n")).startswith("OK")
    yield imap
    imap.logout()


@pytest.fixture
def ben(stage: Stage) -> Iterator[imaplib.IMAP4]:
    imap = client(stage, "ben")
    say(imap, f'UNSUBSCRIBE "{THERE}"')
    yield imap
    imap.sock.close()


EVENTS = "(MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)"
APPEND = "APPEND Work {12+}\r\nSubject: y\r\n"


def quiet(imap: imaplib.IMAP4) -> str:
    """What has been told until now, and all that is told by a NOOP."""
    return say(imap, "NOOP")


def heard(imap: imaplib.IMAP4, wanted: str) -> str:
    return wait_for(imap, wanted.encode()).decode()


@pytest.mark.parametrize("filter_", [f'(mailboxes "{THERE}"', f'(mailboxes (INBOX "{THERE}" "Shared.News")', '(subtree "Other Users"', '(subtree "Other Users.ann"',
                                     '(subtree ("Other Users" Shared)', "(subscribed"])
def test_a_filter_that_names_them_tells_of_them(ann: imaplib.IMAP4, ben: imaplib.IMAP4, filter_: str) -> None:
    grant(ann, "lr")
    if "subscribed" in filter_:
        assert last(say(ben, f'SUBSCRIBE "{THERE}"')).startswith("OK")
    answer = say(ben, f"NOTIFY SET STATUS {filter_} {EVENTS})")
    assert f'* STATUS "{THERE}" (MESSAGES 1 ' in answer and last(answer).startswith("OK")
    assert last(say(ann, APPEND)).startswith("OK")
    assert "MESSAGES 2" in heard(ben, f'* STATUS "{THERE}"')
    grant(ann, "l")                                     # it is there, and its numbers are nobody's business
    say(ann, APPEND)
    assert last(say(ben, f'STATUS "{THERE}" (MESSAGES)')).startswith("NO [NOPERM]")
    assert "STATUS" not in quiet(ben)
    grant(ann, "lr")
    assert re.search(r"STATUS .*MESSAGES 3", heard(ben, f'* STATUS "{THERE}"'))


def test_others_are_not_personal(ann: imaplib.IMAP4, ben: imaplib.IMAP4, stage: Stage) -> None:
    grant(ann, "lrswite")
    for filter_ in ("personal", "inboxes"):
        answer = say(ben, f"NOTIFY SET STATUS ({filter_} {EVENTS})")
        assert "* STATUS" in answer and THERE not in answer and "Shared" not in answer
        assert last(say(ann, APPEND)).startswith("OK") and last(say(ann, "CREATE Shared.More")).startswith("OK")
        assert last(say(ann, "DELETE Shared.More")).startswith("OK")
        assert last(say(ben, "APPEND INBOX {12+}\r\nSubject: z\r\n")).startswith("OK")
        told = quiet(ben)
        assert THERE not in told and "Shared" not in told
        found = say(ben, f"ESEARCH IN ({filter_}) ALL")
        assert "* ESEARCH" in found and THERE not in found and "Shared" not in found


def test_names_come_and_go_with_the_rights(ann: imaplib.IMAP4, ben: imaplib.IMAP4) -> None:
    assert last(say(ben, f'NOTIFY SET (subtree ("Other Users" Shared) {EVENTS})')).startswith("OK")
    grant(ann, "lr")
    assert re.search(rf'\* LIST \([^)]*\) "\." "{THERE}"', heard(ben, f'"{THERE}"'))
    say(ann, APPEND)
    heard(ben, f'* STATUS "{THERE}"')
    assert last(say(ann, "CREATE Work.New")).startswith("OK")            # it has the rights of the one above
    assert "\\NonExistent" not in heard(ben, f'"{THERE}.New"')
    assert last(say(ann, "CREATE Shared.More")).startswith("OK")
    heard(ben, '"Shared.More"')
    assert last(say(ann, "DELETE Shared.More")).startswith("OK")
    assert "\\NonExistent" in heard(ben, '"Shared.More"')
    assert last(say(ann, "CREATE Plans")).startswith("OK")               # ben may not see this one
    assert last(say(ann, "DELETEACL Work.New ben")).startswith("OK")
    gone = heard(ben, f'"{THERE}.New"')
    assert re.search(rf'\* LIST \(\\NonExistent[^)]*\) "\." "{THERE}.New"', gone) and "Plans" not in gone
    assert last(say(ann, "DELETEACL Work ben")).startswith("OK")
    assert "\\NonExistent" in heard(ben, f'"{THERE}"')
    say(ann, APPEND)
    assert "Plans" not in (told := quiet(ben)) and "STATUS" not in told


def test_esearch_finds_in_them_what_may_be_read(ann: imaplib.IMAP4, ben: imaplib.IMAP4) -> None:
    grant(ann, "lr")
    for filter_ in (f'mailboxes "{THERE}"', 'subtree "Other Users"', 'subtree-one "Other Users.ann"', f'subscribed subtree "{THERE}"'):
        assert f'MAILBOX "{THERE}"' in say(ben, f"ESEARCH IN ({filter_}) ALL"), filter_
    assert 'MAILBOX "Shared.News"' in say(ben, "ESEARCH IN (subtree Shared) ALL")
    grant(ann, "l")
    assert "ESEARCH" not in say(ben, 'ESEARCH IN (subtree "Other Users") ALL').replace("OK", "")


@pytest.mark.parametrize("command", ["NOOP", "FETCH 1 BODY[]", "UID FETCH 1:* (FLAGS)", "SEARCH ALL", "STORE 1 +FLAGS (\\Seen)", "COPY 1 INBOX", "IDLE",
                                     f'STATUS "{THERE}" (MESSAGES)', "ESEARCH ALL", "EXPUNGE"])
@pytest.mark.parametrize("left", ["l", ""])
def test_who_may_read_no_more_is_sent_away(ann: imaplib.IMAP4, ben: imaplib.IMAP4, command: str, left: str) -> None:
    grant(ann, "lrswite")
    assert last(say(ben, f'SELECT "{THERE}"')).startswith("OK")
    say(ann, APPEND)
    grant(ann, left)
    ben.send(f"x {command}\r\n".encode())
    assert rest(ben) == "* BYE The mailbox that was selected is gone\r\n"


def rest(imap: imaplib.IMAP4) -> str:
    """All that comes until the server hangs up."""
    out = b""
    imap.sock.settimeout(20)
    while data := imap.sock.recv(1 << 16):
        out += data
    return out.decode()


@pytest.mark.parametrize("notify", [False, True])
def test_who_listens_hears_nothing_of_it_any_more(ann: imaplib.IMAP4, ben: imaplib.IMAP4, notify: bool) -> None:
    grant(ann, "lr")
    assert last(say(ben, f'SELECT "{THERE}"')).startswith("OK")
    if notify:
        assert last(say(ben, "NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge FlagChange))")).startswith("OK")
    else:
        idle(ben)
    grant(ann, "l")
    say(ann, APPEND)
    assert rest(ben) == "* BYE The mailbox that was selected is gone\r\n"


@pytest.mark.parametrize("command", ["SELECT INBOX", "UNSELECT", "CLOSE"])
def test_who_leaves_it_stays(ann: imaplib.IMAP4, ben: imaplib.IMAP4, command: str) -> None:
    grant(ann, "lrte")
    assert last(say(ben, f'SELECT "{THERE}"')).startswith("OK")
    grant(ann, "l")
    assert last(say(ben, command)).startswith("OK") and last(say(ben, "NOOP")).startswith("OK")


def test_an_idle_session_may_go_on_after_a_right_that_is_not_reading(ann: imaplib.IMAP4, ben: imaplib.IMAP4) -> None:
    grant(ann, "lrs")
    assert last(say(ben, f'SELECT "{THERE}"')).startswith("OK")
    idle(ben)
    grant(ann, "lr")
    say(ann, APPEND)
    assert b"* 2 EXISTS" in wait_for(ben, b"EXISTS")
    done(ben)
    assert isinstance(ben.sock, socket.socket) and last(say(ben, "NOOP")).startswith("OK")
