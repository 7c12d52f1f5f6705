"""Started as root: two users of one uid have a process each, share mailboxes, and see at once what the other one does.  Needs root."""
from __future__ import annotations

import imaplib
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.daemons import ROOT, Stage, free_ports
from tests.programs.test_imapd import done, idle, wait_for
from tests.programs.test_imapd_acl import MESSAGE, client, grant, last, say
from tests.programs.test_sessions import AUTH_UID, LAUNCH, LOGIN_UID, processes

pytestmark = pytest.mark.root
VMAIL, EVE = 21003, 21004
THERE = "Other Users.ann.Work"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        for path in (stage.root, stage.etc):
            path.chmod(0o755)
        homes = stage.mail / "example.test"
        for user in ("ann", "ben", "eve"):
            maildir = stage.user(user, "pw")
            stage.fill(maildir, {f"cur/100000000{n}.M{n}P1Q1.mail:2,": MESSAGE % n for n in range(3)})
        subprocess.run(["chown", "-R", f"{VMAIL}:{VMAIL}", stage.mail], check=True)
        subprocess.run(["chown", "-R", f"{EVE}:{EVE}", homes / "eve"], check=True)
        subprocess.run(["chmod", "-R", "go=", *homes.iterdir()], check=True)
        (stage.etc / "users").write_text(f"ann@example.test\nben@example.test\neve@example.test:{EVE}:{EVE}:{homes / 'eve'}\n")
        for name, group in (("passwords", AUTH_UID), ("tls/key.pem", LOGIN_UID)):
            (stage.etc / name).chmod(0o640)
            os.chown(stage.etc / name, 0, group)
        stage.ports["imap"], tls = free_ports(2)
        stage.settings.update({"imap.listen": f"127.0.0.1:{stage.ports['imap']}", "imap.listen_tls": f"127.0.0.1:{tls}", "local.virtual_uid": VMAIL})
        (stage.etc / "pymta.conf").write_text("".join(f"{name} = {value}\n" for name, value in stage.settings.items()))
        with open(stage.log_path, "ab") as log:
            process = subprocess.Popen([sys.executable, "-c", LAUNCH.replace("pop3d", "imapd"), str(stage.etc)], cwd=ROOT,
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        stage._processes.append(process)
        stage.wait(lambda: "pymta-imapd: start" in stage.log() or process.poll() is not None)
        assert process.poll() is None, stage.log()
        yield stage
        stage.stop()
        assert " bug " not in stage.log(), stage.log()


@pytest.fixture
def ann(stage: Stage) -> Iterator[imaplib.IMAP4]:
    imap = client(stage, "ann")
    say(imap, "DELETE Work")
    assert say(imap, "CREATE Work").startswith("OK")
    assert last(say(imap, "APPEND Work {12+}\r\nSubject: x\r\n")).startswith("OK")
    yield imap
    imap.logout()


@pytest.fixture
def ben(stage: Stage) -> Iterator[imaplib.IMAP4]:
    imap = client(stage, "ben")
    yield imap
    imap.sock.close()


def test_what_one_process_does_the_other_sees_and_hears(stage: Stage, ann: imaplib.IMAP4, ben: imaplib.IMAP4) -> None:
    assert list(processes(stage._processes[0].pid).values()).count(VMAIL) == 2
    assert THERE not in say(ben, 'LIST "" *')
    grant(ann, "lrswite")
    assert f'"{THERE}"' in say(ben, 'LIST "" *')        # at once
    for one, name in ((ann, "Work"), (ben, THERE)):
        assert last(say(one, f'SELECT "{name}"')).startswith("OK [READ-WRITE]")
    idle(ben)
    say(ann, "STORE 1 +FLAGS (\\Flagged)")
    assert b"* 1 FETCH" in wait_for(ben, b"\\Flagged")
    say(ann, "APPEND Work {12+}\r\nSubject: y\r\n")
    assert b"* 2 EXISTS" in wait_for(ben, b"EXISTS")
    done(ben)
    idle(ann)
    assert last(say(ben, f'APPEND "{THERE}" {{12+}}\r\nSubject: z\r\n')).startswith("OK")
    assert b"* 3 EXISTS" in wait_for(ann, b"EXISTS")
    say(ben, "STORE 1 +FLAGS (\\Deleted)")
    say(ben, "EXPUNGE")
    assert b"* 1 EXPUNGE" in wait_for(ann, b"EXPUNGE")
    done(ann)
    owners = {path.stat().st_uid for path in (stage.mail / "example.test" / "ann").rglob("*")} | {(stage.mail / "pymta-shares").stat().st_uid}
    assert owners == {VMAIL}
    grant(ann, "l")
    ben.send(b"x NOOP\r\n")
    assert b"* BYE" in wait_for(ben, b"BYE")


def test_rights_and_names_are_told_to_who_watches(ann: imaplib.IMAP4, ben: imaplib.IMAP4) -> None:
    events = "(MessageNew MessageExpunge FlagChange MailboxName)"
    assert last(say(ben, f'NOTIFY SET (subtree "Other Users" {events})')).startswith("OK")
    grant(ann, "lr")
    assert re.search(rb'\* LIST \([^)]*\) "\." "%b"' % THERE.encode(), wait_for(ben, THERE.encode()))
    assert last(say(ann, "APPEND Work {12+}\r\nSubject: y\r\n")).startswith("OK")
    assert b"* STATUS" in wait_for(ben, b"MESSAGES 2")
    grant(ann, "lrw")
    assert last(say(ben, f'MYRIGHTS "{THERE}"')).startswith("OK") and '"lrw"' in say(ben, f'MYRIGHTS "{THERE}"')
    assert last(say(ann, "DELETEACL Work ben")).startswith("OK")
    assert b"\\NonExistent" in wait_for(ben, THERE.encode())


def test_one_of_another_uid_shares_nothing(stage: Stage, ann: imaplib.IMAP4) -> None:
    eve = client(stage, "eve")
    assert last(say(ann, "SETACL Work eve lr")).startswith("NO [CANNOT]")
    assert "ACL" not in say(eve, "CAPABILITY") and "Other Users" not in say(eve, "NAMESPACE")
    assert last(say(eve, f'SELECT "{THERE}"')).startswith("NO [NONEXISTENT]")
    eve.logout()
