"""Started as root: every part of pymta-pop3d has the uid it should, and a session that of the mailbox.  Needs root."""
import contextlib
import os
import poplib
import signal
import subprocess
import sys
import time

import pytest

from tests.daemons import ROOT, START_S, Stage, free_ports

pytestmark = pytest.mark.root
LOGIN_UID, AUTH_UID, ANN, BEN = 21001, 21002, 21003, 21004
# The accounts of layout.ACCOUNTS as this host might have them
LAUNCH = f"""
import pwd, sys
sys.path.insert(0, {str(ROOT)!r})
real = pwd.getpwnam
uids = {{"pymta-login": {LOGIN_UID}, "pymta-auth": {AUTH_UID}}}
def getpwnam(name):
    if name in uids:
        return pwd.struct_passwd((name, "x", uids[name], uids[name], "", "/", "/bin/false"))
    return real(name)
pwd.getpwnam = getpwnam
from pymta.programs.pop3d import main
sys.exit(main(["--etc", sys.argv[1]]))
"""


@contextlib.contextmanager
def running():
    with Stage() as stage:
        stage.root.chmod(0o755)
        stage.etc.chmod(0o755)
        lines = []
        for user, uid in (("ann", ANN), ("ben", BEN)):
            home = stage.mail / user
            stage.user(user, "pw")
            stage.fill(home / "Maildir", {f"cur/100000000{n}.M{n}P1Q1.mail:2,": f"Subject: {user} {n}\n\nx\n".encode() for n in range(3)})
            subprocess.run(["chown", "-R", f"{uid}:{uid}", str(home)], check=True)
            subprocess.run(["chmod", "-R", "go=", str(home)], check=True)
            lines.append(f"{user}@example.test:{uid}:{uid}:{home}\n")
        (stage.etc / "users").write_text("".join(lines))
        (stage.etc / "passwords").chmod(0o640)
        os.chown(stage.etc / "passwords", 0, AUTH_UID)
        os.chown(stage.etc / "tls" / "key.pem", 0, LOGIN_UID)
        (stage.etc / "tls" / "key.pem").chmod(0o640)
        stage.mail.chmod(0o755)
        for (setting, listener), port in zip((("pop3.listen", "pop3"), ("pop3.listen_tls", "pop3s")), free_ports(2)):
            stage.ports[listener] = port
            stage.settings[setting] = f"127.0.0.1:{port}"
        (stage.etc / "pymta.conf").write_text("".join(f"{name} = {value}\n" for name, value in stage.settings.items()))
        with open(stage.log_path, "ab") as log:
            process = subprocess.Popen([sys.executable, "-c", LAUNCH, str(stage.etc)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        stage._processes.append(process)
        stage.wait(lambda: "pymta-pop3d: start" in stage.log() or process.poll() is not None)
        assert process.poll() is None, stage.log()
        yield stage
        stage.stop()
        assert " bug " not in stage.log(), stage.log()


@pytest.fixture(scope="module")
def stage():
    with running() as stage:
        yield stage


def client(stage, user, password="pw", *, tls=False):
    pop = poplib.POP3_SSL("127.0.0.1", stage.ports["pop3s"], context=stage.context, timeout=START_S) if tls else \
        poplib.POP3("127.0.0.1", stage.ports["pop3"], timeout=START_S)
    pop.user(user)
    pop.pass_(password)
    return pop


def processes(pid) -> dict[int, int]:
    """pid -> uid of everything below pid."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        below = [int(word) for word in file.read().split()]
    out = {}
    for each in below:
        try:
            with open(f"/proc/{each}/status") as file:
                out[each] = int(next(line for line in file if line.startswith("Uid:")).split()[2])
            out |= processes(each)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return out


@pytest.mark.parametrize("tls", [False, True])
def test_each_part_has_its_uid(stage, tls):
    with_ann, with_ben = client(stage, "ann", tls=tls), client(stage, "ben", tls=tls)
    try:
        assert with_ann.stat()[0] == 3 and b"Subject: ann 1" in with_ann.retr(2)[1] and b"Subject: ben 1" in with_ben.retr(2)[1]
        below = processes(stage._processes[0].pid)
        uids = sorted(below.values())
        assert uids == [0, LOGIN_UID, AUTH_UID, ANN, BEN]                   # root: the starter alone; one worker
        for pid, uid in below.items():
            with open(f"/proc/{pid}/status") as file:
                facts = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            if uid:
                assert facts["Uid"] == "\t".join([str(uid)] * 4) and facts["NoNewPrivs"] == "1"
                assert "0" not in facts["Groups"].split() and int(facts["CapEff"], 16) == 0
    finally:
        with_ann.quit()
        with_ben.quit()


def test_a_session_process_holds_no_descriptor_of_another(stage):
    with_ann, with_ben = client(stage, "ann"), client(stage, "ben")
    below = {uid: pid for pid, uid in processes(stage._processes[0].pid).items()}

    def inodes(pid):
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2]
        return {link for link in links if link.startswith("socket:") or "Maildir" in link}
    assert not inodes(below[ANN]) & inodes(below[BEN])
    assert not inodes(below[ANN]) & inodes(below[AUTH_UID])
    with_ann.quit()
    with_ben.quit()


def test_pipelined_behind_the_login_and_deleted_at_quit(stage):
    maildir = stage.mail / "ben" / "Maildir"
    pop = poplib.POP3("127.0.0.1", stage.ports["pop3"], timeout=START_S)
    pop.sock.sendall(b"USER ben\r\nPASS pw\r\nSTAT\r\nRETR 1\r\nDELE 3\r\nQUIT\r\n")
    said = pop.file.read()
    assert said.split(b"\r\n")[:3] == [b"+OK", b"+OK 3 messages (63 octets)", b"+OK 3 63"] and said.endswith(b"+OK message 3 deleted\r\n+OK bye\r\n")
    assert len(list((maildir / "cur").iterdir())) == 2
    (maildir / "cur" / "1000000002.M2P1Q1.mail:2,").write_bytes(b"Subject: ben 2\n\nx\n")
    os.chown(maildir / "cur" / "1000000002.M2P1Q1.mail:2,", BEN, BEN)


def test_utf8_and_what_is_shown_go_along(stage):
    """What was said before the login, and what users says at each login, though the process is there already."""
    maildir, users = stage.mail / "ann" / "Maildir", stage.etc / "users"
    new = maildir / "cur" / "1000000009.M9P1Q1.mail:2,S"
    octets = "Subject: größer\n\nx\n".encode()
    new.write_bytes(octets)
    os.chown(new, ANN, ANN)
    before = users.read_text()
    try:
        pop = client(stage, "ann")
        assert pop.stat()[0] == 4 and pop.retr(4)[1][0] == b"Subject: =?utf-8?B?Z3LDtsOfZXI=?="
        pop.quit()
        users.write_text(before.replace(f"{stage.mail}/ann\n", f"{stage.mail}/ann:pop3=unseen\n"))
        pop = client(stage, "ann")
        assert pop.stat()[0] == 3
        pop.quit()
        users.write_text(before)
        pop = poplib.POP3("127.0.0.1", stage.ports["pop3"], timeout=START_S)
        pop.utf8()
        pop.user("ann")
        pop.pass_("pw")
        assert pop.retr(4)[1][0] == octets.split(b"\n")[0]
        pop.quit()
    finally:
        users.write_text(before)
        new.unlink()


def test_wrong_passwords_and_a_second_session(stage):
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        client(stage, "ann", "wrong")
    first = client(stage, "ann")
    with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
        client(stage, "ann")
    first.quit()
    client(stage, "ann").quit()


def test_a_session_process_that_is_killed_takes_only_its_own_sessions(stage):
    with_ann, with_ben = client(stage, "ann"), client(stage, "ben")
    victim = next(pid for pid, uid in processes(stage._processes[0].pid).items() if uid == ANN)
    os.kill(victim, signal.SIGKILL)
    with pytest.raises((poplib.error_proto, ConnectionError)):
        with_ann.noop()
    assert with_ben.stat()[0] >= 2
    with_ben.quit()
    stage.wait(lambda: not os.path.exists(f"/proc/{victim}"))
    client(stage, "ann").quit()                         # another one is started


def test_a_password_child_that_is_killed_ends_no_session(stage):
    """It and the starter are started again; the processes of the old one end when their sessions do."""
    pop = client(stage, "ann")
    old = {uid: pid for pid, uid in processes(stage._processes[0].pid).items()}
    os.kill(old[AUTH_UID], signal.SIGKILL)
    stage.wait(lambda: {uid: pid for pid, uid in processes(stage._processes[0].pid).items()}.get(AUTH_UID, old[AUTH_UID]) != old[AUTH_UID])
    assert pop.stat()[0] == 3
    with pytest.raises(poplib.error_proto, match=r"IN-USE|SYS/TEMP"):
        client(stage, "ann")
    pop.quit()
    client(stage, "ann").quit()
    stage.wait(lambda: not os.path.exists(f"/proc/{old[ANN]}"))


def test_a_client_that_just_goes_leaves_no_lock(stage):
    pop = client(stage, "ann")
    pop.dele(1)
    pop.close()
    end = time.monotonic() + START_S
    while True:
        try:
            again = client(stage, "ann")
            break
        except poplib.error_proto:
            assert time.monotonic() < end
    assert again.stat()[0] == 3
    again.quit()


def test_a_big_answer_and_a_slow_reader(stage):
    """Octets wait in the session process, not in the worker."""
    maildir = stage.mail / "ben" / "Maildir"
    octets = b"Subject: big\n\n" + (b"y" * 76 + b"\n") * 40000
    path = maildir / "new" / "1000000009.M9P1Q1.mail"
    path.write_bytes(octets)
    os.chown(path, BEN, BEN)
    pop = client(stage, "ben")
    number = pop.stat()[0]
    pop.sock.sendall(b"RETR %d\r\n" % number * 20)
    time.sleep(0.2)
    for _ in range(20):
        assert pop._getlongresp()[2] == len(octets) + octets.count(10)
    pop.quit()
    path.unlink(missing_ok=True)


def test_kill_9_of_the_parent_leaves_no_process():
    with running() as stage:
        pop = client(stage, "ann")
        below = processes(stage._processes[0].pid)
        assert ANN in below.values()
        stage._processes[0].kill()
        stage.wait(lambda: not any(_lives(pid) for pid in below))
        pop.close()


def _lives(pid) -> bool:
    """Whether a process is there and no zombie that waits for its new parent."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_end(stage):
    """Last, for it stops the daemon: clients are told, and nothing is left running."""
    pop = client(stage, "ann")
    pop.dele(1)
    below = processes(stage._processes[0].pid)
    stage._processes[0].terminate()
    assert pop.file.readline() == b"-ERR [SYS/TEMP] the server is shutting down\r\n"
    assert stage._processes[0].wait(15) == 0

    def all_gone():
        return not any(_lives(pid) for pid in below)
    stage.wait(all_gone)
    assert len(list((stage.mail / "ann" / "Maildir" / "cur").iterdir())) == 3
