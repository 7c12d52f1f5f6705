"""Started as root: sessions of pymta-imapd go on as the uid of their mailbox, all of one user in one process.  Needs root."""
from __future__ import annotations

import imaplib
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from tests.daemons import ROOT, START_S, Stage, free_ports
from tests.programs.test_imapd import deliver as _deliver
from tests.programs.test_imapd import done, idle, wait_for
from tests.programs.test_sessions import LAUNCH, processes

pytestmark = pytest.mark.root
ANN, BEN = 21003, 21004
MESSAGE = b"Subject: %b %d\n\nx\n"


class _Box:
    """What deliver wants to know."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def user(self, name: str) -> dict[str, str]:
        return {"maildir": str(self.stage.mail / name / "Maildir")}


@pytest.fixture(scope="module")
def stage():
    with Stage() as stage:
        stage.root.chmod(0o755)
        stage.etc.chmod(0o755)
        lines = []
        for user, uid in (("ann", ANN), ("ben", BEN)):
            home = stage.mail / user
            stage.user(user, "pw")
            stage.fill(home / "Maildir", {f"cur/100000000{n}.M{n}P1Q1.mail:2,": MESSAGE % (user.encode(), n) for n in range(3)})
            subprocess.run(["chown", "-R", f"{uid}:{uid}", str(home)], check=True)
            subprocess.run(["chmod", "-R", "go=", str(home)], check=True)
            lines.append(f"{user}@example.test:{uid}:{uid}:{home}\n")
        (stage.etc / "users").write_text("".join(lines))
        (stage.etc / "passwords").chmod(0o640)
        os.chown(stage.etc / "passwords", 0, 21002)
        os.chown(stage.etc / "tls" / "key.pem", 0, 21001)
        (stage.etc / "tls" / "key.pem").chmod(0o640)
        stage.mail.chmod(0o755)
        for (setting, listener), port in zip((("imap.listen", "imap"), ("imap.listen_tls", "imaps")), free_ports(2)):
            stage.ports[listener] = port
            stage.settings[setting] = f"127.0.0.1:{port}"
        stage.settings["imap.sessions_per_user"] = "3"
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


def client(stage: Stage, user: str, password: str = "pw", *, tls: bool = False) -> imaplib.IMAP4:
    imap: imaplib.IMAP4 = imaplib.IMAP4_SSL("127.0.0.1", stage.ports["imaps"], ssl_context=stage.context, timeout=START_S) if tls else \
        imaplib.IMAP4("127.0.0.1", stage.ports["imap"], timeout=START_S)
    imap.login(user, password)
    return imap


def test_all_sessions_of_a_user_share_one_process_of_theirs(stage: Stage) -> None:
    clients = [client(stage, "ann"), client(stage, "ann", tls=True), client(stage, "ben")]
    for each in clients:
        assert each.select() == ("OK", [b"3"])
    assert b"Subject: ann 1" in clients[1].fetch("2", "(BODY[])")[1][0][1]
    uids = list(processes(stage._processes[0].pid).values())
    assert uids.count(ANN) == uids.count(BEN) == uids.count(0) == 1
    idle(clients[0])
    clients[1].store("1", "+FLAGS", "(\\Flagged)")
    assert b"* 1 FETCH (UID 1 FLAGS (" in wait_for(clients[0], b"Flagged")
    _deliver(_Box(stage), "ann", MESSAGE % (b"ann", 9))                  # type: ignore[arg-type]
    assert b"* 4 EXISTS" in wait_for(clients[0], b"EXISTS")
    done(clients[0])
    for each in clients:
        each.logout()
    owners = {path.stat().st_uid for path in (stage.mail / "ann").rglob("*")}
    assert owners == {ANN}


def test_what_is_said_behind_the_login_is_heard(stage: Stage) -> None:
    imap = imaplib.IMAP4("127.0.0.1", stage.ports["imap"], timeout=START_S)
    imap.send(b"a LOGIN ben {2+}\r\npw\r\nb EXAMINE INBOX\r\nc APPEND INBOX {4+}\r\nx: \n\r\nd LOGOUT\r\n")
    imap.sock.shutdown(socket.SHUT_WR)                  # who says no more still hears the answers
    heard = imap.file.read()
    for wanted in (b"a OK [CAPABILITY ", b"b OK [READ-ONLY]", b"c OK [APPENDUID ", b"d OK "):
        assert wanted in heard


def test_what_users_says_of_capabilities_holds_for_the_next_login(stage: Stage) -> None:
    """Though the process of the mailbox is there already; and what the client said in ID before the login comes along."""
    before = client(stage, "ben")
    users = stage.etc / "users"
    text = users.read_text()
    users.write_text(text.replace("/ben\n", "/ben:without=MOVE\n"))
    try:
        imap = imaplib.IMAP4("127.0.0.1", stage.ports["imap"], timeout=START_S)
        imap.send(b'a ID ("name" "Outlook 16")\r\nb LOGIN ben pw\r\nc LOGOUT\r\n')
        heard = imap.file.read()
        assert b"b OK [CAPABILITY IMAP4rev1" in heard and b" UNSELECT " in heard and b" MOVE " not in heard
        assert b" UIDONLY " not in heard and b" UIDONLY " in before.capability()[1][-1]         # as the defaults have it
        assert b" MOVE " in before.capability()[1][-1]
    finally:
        users.write_text(text)
        before.logout()


def test_a_trace_is_written_by_the_owner_of_the_mailbox(stage: Stage) -> None:
    directory = stage.root / "trace" / "ann@example.test"
    directory.parent.mkdir(mode=0o711)
    directory.mkdir()
    directory.chmod(0o1733)
    try:
        imap = client(stage, "ann", tls=True)
        imap.logout()
        stage.wait(lambda: (directory / "imap-0").read_text().endswith(" - end\n"))
        found = (directory / "imap-0").stat()
        assert (found.st_uid, found.st_mode & 0o777) == (ANN, 0o600)
    finally:
        shutil.rmtree(directory.parent)


def test_wrong_passwords_and_too_many_sessions(stage: Stage) -> None:
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        client(stage, "ann", "wrong")
    three = [client(stage, "ann", tls=bool(number % 2)) for number in range(3)]
    with pytest.raises(imaplib.IMAP4.error, match="LIMIT"):
        client(stage, "ann")
    idle(three[1])
    another = client(stage, "ann")
    assert b"LIMIT" in wait_for(three[1], b"BYE")
    for each in (three[0], three[2], another):
        each.logout()


def test_a_session_process_that_is_killed_takes_only_its_own_sessions(stage: Stage) -> None:
    ann, ben = client(stage, "ann"), client(stage, "ben")
    killed = next(pid for pid, uid in processes(stage._processes[0].pid).items() if uid == ANN)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(imaplib.IMAP4.abort):
        ann.noop()
    assert ben.noop()[0] == "OK"
    ben.logout()
    stage.wait(lambda: not os.path.exists(f"/proc/{killed}"))     # a login in between may still be sent to it, and ends
    again = client(stage, "ann")
    assert again.select()[0] == "OK"
    again.logout()


def test_the_end(stage: Stage) -> None:
    """Last, for it stops the daemon."""
    imap = client(stage, "ann")
    idle(imap)
    below = processes(stage._processes[0].pid)
    stage._processes[0].terminate()
    assert b"* BYE" in wait_for(imap, b"BYE")
    assert stage._processes[0].wait(15) == 0
    stage.wait(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in below))
