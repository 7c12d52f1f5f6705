"""What a host may do to a mail system: a full disk, strange mailboxes, missing directories, two of one program, huge messages."""
from __future__ import annotations

import os
import shutil
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from tests.load import ALIASES, Load, copies, debris, in_maildir, queued, wait_empty
from tests.running import ROOT, Sandbox, Sandboxes, new_directory, wait_until

MIB = 1 << 20
QUICK = ["queue.retry=0s,1s,1s,2s", "queue.retry_max=3s"]


def as_sandbox() -> dict[str, object]:
    """What subprocess needs to run something as the sandbox's own uid."""
    return {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


def memory_kib(sandbox: Sandbox, daemon: str) -> int:
    """The most memory that any process of a daemon has ever had."""
    most = 0
    for pid in sandbox.ends["pids"][daemon]:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            most = max(most, *(int(line.split()[1]) for line in file if line.startswith("VmHWM:")))
    return most


def no_bug(sandbox: Sandbox) -> None:
    assert " bug " not in sandbox.log(), [line for line in sandbox.log().splitlines() if " bug " in line][:3]


# ---- a full disk ------------------------------------------------------------------------------------------------------
@pytest.fixture
def small_disk():
    """The path of a file system of 48 MiB, for root only."""
    top = new_directory()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=0755", "tmpfs", top], capture_output=True).returncode:
        os.rmdir(top)
        pytest.skip("cannot mount a small file system here: needs root")
    try:
        yield top
    finally:
        for _ in range(50):
            if subprocess.run(["umount", top], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        os.rmdir(top)


class Hog(threading.Thread):
    """Fills a file system to the last octet, gives way, fills it again."""

    def __init__(self, top: str) -> None:
        super().__init__(daemon=True)
        self.path = f"{top}/hog"
        self.ending = threading.Event()
        self.times = 0

    def run(self) -> None:
        while not self.ending.is_set():
            with open(self.path, "wb", buffering=0) as file:
                for size in (MIB, 4096, 1):
                    try:
                        while not self.ending.is_set():
                            file.write(b"x" * size)
                            if size == 1:
                                self.ending.wait(0.02)  # somebody else may have made room
                                if os.fstat(file.fileno()).st_mtime < time.time() - 1:
                                    break
                    except OSError:
                        continue
            self.times += 1
            self.ending.wait(1.0)
            os.unlink(self.path)
            self.ending.wait(0.7)


@pytest.mark.root
def test_a_disk_that_is_full_now_and_then(small_disk):
    """Refused with 452 or 451, by sendmail with 75; what was taken arrives once, and no program ends."""
    with Sandboxes() as sandboxes:
        sandbox = sandboxes.start(small_disk, set=[*QUICK, "queue.free_min=0"])
        with open(sandbox.ends["etc"] + "/aliases", "w", encoding="utf-8") as file:
            file.write(ALIASES.replace(", far@remote.test", ""))
        time.sleep(1.1)
        pids = {name: found[0] for name, found in sandbox.ends["pids"].items()}
        load, hog = Load(sandbox, sessions=4, injectors=1, pause_s=0.02, kinds=LOCAL_KINDS), Hog(small_disk)
        load.start()
        hog.start()
        time.sleep(8)
        hog.ending.set()
        hog.join()
        if os.path.exists(hog.path):
            os.unlink(hog.path)
        time.sleep(0.5)
        load.stop()
        assert hog.times >= 3 and load.refused, "the disk was never full"
        assert len(load.ledger.promised) > 50
        assert {name: found[0] for name, found in sandbox.ends["pids"].items()} == pids, sandbox.log()[-3000:]
        no_bug(sandbox)
        assert sandbox.stop() == 0
        again = sandboxes.start(small_disk, set=QUICK)  # at once, where the look of every minute would do it too
        wait_empty(again)
        lost, twice = load.ledger.faults(copies(f"{small_disk}/home"))
        assert not lost and not twice, (lost[:5], twice[:5])
        wait_until(lambda: not debris(small_disk), 20, lambda: str(debris(small_disk)))
        assert again.stop() == 0


LOCAL_KINDS = ((("alice@example.test",), ("alice",)), (("team@example.test",), ("alice", "bob")), (("bob+x@example.test",), ("bob",)))


def test_below_the_free_space_that_must_stay_mail_is_put_off(sandbox_factory):
    sandbox = sandbox_factory(set=["queue.free_min=900000G"])
    with sandbox.smtp() as client:
        client.ehlo()
        code, text = client.mail("ann@client.test")
        assert code == 452 and text.startswith(b"4.3.1 ")
    done = sandbox.sendmail("alice@example.test")
    assert done.returncode == 75 and b"not enough disk space" in done.stderr


# ---- strange mailboxes ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("strange", ["a file", "a dangling link", "closed", "new is a file", "tmp is missing and closed"])
def test_a_mailbox_that_cannot_be_written_keeps_its_mail_waiting(sandbox_factory, strange):
    """The others have theirs; it has its own, once, as soon as it is in order again."""
    sandbox = sandbox_factory(set=QUICK)
    box = sandbox.user("alice")["maildir"]
    aside = box + ".aside"
    match strange:
        case "a file":
            os.rename(box, aside)
            open(box, "wb").close()
        case "a dangling link":
            os.rename(box, aside)
            os.symlink("/nowhere/at/all", box)
        case "closed":
            os.chmod(box, 0)
        case "new is a file":
            os.rename(f"{box}/new", aside)
            open(f"{box}/new", "wb").close()
        case "tmp is missing and closed":
            os.rmdir(f"{box}/tmp")
            os.chmod(box, 0o500)
            os.chmod(f"{box}/new", 0o500)
    with sandbox.smtp() as client:
        client.sendmail("ann@client.test", ["alice@example.test", "bob@example.test"], "Subject: both\r\n\r\nx\r\n")
    sandbox.send("alice@example.test", "Subject: one\n\nx\n")
    sandbox.wait_mail(1, "bob")
    wait_until(lambda: sandbox.log().count("defer ") >= 4, 30, lambda: sandbox.log()[-3000:])    # each of them twice at least
    assert len(queued(sandbox.ends["spool"])) == 2
    match strange:
        case "a file" | "a dangling link":
            os.unlink(box)
            os.rename(aside, box)
        case "closed":
            os.chmod(box, 0o700)
        case "new is a file":
            os.unlink(f"{box}/new")
            os.rename(aside, f"{box}/new")
        case "tmp is missing and closed":
            os.chmod(box, 0o700)
            os.chmod(f"{box}/new", 0o700)
    sandbox.wait_mail(2, "alice")
    wait_empty(sandbox)
    assert len(sandbox.inbox("alice")) == 2 and len(sandbox.inbox("bob")) == 1
    no_bug(sandbox)
    sandbox.stop()
    sandbox_factory(sandbox.directory)
    assert not debris(sandbox.directory)


# ---- the spool --------------------------------------------------------------------------------------------------------
def test_missing_directories_of_the_spool_are_made_at_the_start(sandbox_factory):
    sandbox = sandbox_factory(set=QUICK)
    sandbox.stop()
    spool = f"{sandbox.directory}/spool"
    for name in ("todo", "report/remote/new", "later", "publishing", "state/local", "in/qrun/tmp", "in/inject/new", "in/smtpd/tmp"):
        shutil.rmtree(f"{spool}/{name}")
    again = sandbox_factory(sandbox.directory, set=QUICK)
    again.send("alice@example.test")
    assert again.sendmail("bob@example.test").returncode == 0
    again.wait_mail(1, "alice")
    again.wait_mail(1, "bob")


@pytest.mark.parametrize("program", ["pymta-qrun", "pymta-local", "pymta-remote"])
def test_a_second_one_on_the_same_spool_does_not_start(sandbox, program):
    done = subprocess.run([sys.executable, f"{ROOT}/bin/{program}", "--etc", sandbox.ends["etc"]], capture_output=True, text=True, timeout=30,
                          **as_sandbox())                                                    # type: ignore[call-overload]
    assert done.returncode == 69
    assert f"another {program} works on this spool" in done.stderr and "stop it first" in done.stderr
    assert str(sandbox.ends["pids"][program][0]) in done.stderr


# ---- big things -------------------------------------------------------------------------------------------------------
def stream(sandbox: Sandbox, octets: int, *, size: str = "") -> str:
    """The reply to a message of that many octets, told beforehand or not."""
    line = b"x" * 998 + b"\r\n"
    with socket.create_connection((sandbox.ends["host"], sandbox.ends["smtp"]), timeout=60) as sock, sock.makefile("rb") as replies:
        def ask(words: bytes) -> str:
            sock.sendall(words)
            while (reply := replies.readline())[3:4] == b"-":
                pass
            return reply.decode()
        replies.readline()
        ask(b"EHLO client.test\r\n")
        reply = ask(f"MAIL FROM:<ann@client.test>{size}\r\n".encode())
        if not reply.startswith("250"):
            return reply
        assert ask(b"RCPT TO:<alice@example.test>\r\n").startswith("250")
        assert ask(b"DATA\r\n").startswith("354")
        sock.sendall(b"Subject: big\r\n\r\n")
        for _ in range(octets // (1000 * 100)):
            sock.sendall(line * 100)
        return ask(b".\r\n")


def test_a_message_over_the_limit_is_refused_and_costs_no_memory(sandbox_factory):
    sandbox = sandbox_factory()
    before = memory_kib(sandbox, "pymta-smtpd")
    assert stream(sandbox, 100_000_000, size=" SIZE=100000000").startswith("552 5.3.4 ")
    assert stream(sandbox, 100_000_000).startswith("552 5.3.4 ")
    assert memory_kib(sandbox, "pymta-smtpd") - before < 16_000
    assert not queued(sandbox.ends["spool"]) and not debris(sandbox.directory)
    done = sandbox.sendmail("alice@example.test", message="Subject: x\n\n" + "x" * 60_000_000)
    assert done.returncode == 65 and b"queue.size_max" in done.stderr
    assert not debris(sandbox.directory)


def test_the_biggest_message_goes_through_in_bounded_memory(sandbox_factory):
    sandbox = sandbox_factory()
    with open(sandbox.ends["etc"] + "/aliases", "w", encoding="utf-8") as file:
        file.write("alice: \\alice, bob\n")             # a copy for each, so that it is read and written again
    time.sleep(1.1)
    before = {name: memory_kib(sandbox, name) for name in ("pymta-smtpd", "pymta-qrun", "pymta-local")}
    assert stream(sandbox, 45_000_000).startswith("250 ")
    for user in ("alice", "bob"):
        path, = sandbox.wait_mail(1, user, seconds=60)
        assert os.path.getsize(path) > 44_000_000
    for name, kib in before.items():
        assert memory_kib(sandbox, name) - kib < 16_000, name


def test_ten_thousand_recipients_of_one_message(sandbox_factory):
    """Each is delivered once, or named in the bounce; memory stays bounded."""
    count = 10_000
    sandbox = sandbox_factory(set=QUICK)
    before = {name: memory_kib(sandbox, name) for name in ("pymta-qrun", "pymta-local")}
    people = [f"alice+{n}@example.test" if n % 3 else f"nobody-{n}@example.test" for n in range(count)]
    done = subprocess.run([sandbox.ends["sendmail"], "-f", "bob@example.test", *people], input=b"Subject: all\n\nhello\n", env={}, timeout=60)
    assert done.returncode == 0
    local = [address for address in people if address.startswith("alice")]
    paths = sandbox.wait_mail(len(local), "alice", seconds=150)
    wait_empty(sandbox)
    found: Counter[bytes] = Counter()
    for path in paths:
        with open(path, "rb") as file:
            found.update(line for line in file.read(2000).split(b"\n") if line.startswith(b"Delivered-To: "))
    assert found == {f"Delivered-To: {address}".encode(): 1 for address in local}
    bounce, = sandbox.inbox("bob")
    with open(bounce, "rb") as file:
        text = file.read()
    assert all(address.encode() in text for address in people if not address.startswith("alice"))
    grown = {name: memory_kib(sandbox, name) - kib for name, kib in before.items()}
    print(f"{count} recipients: memory grew by {grown} KiB")
    assert max(grown.values()) < 40_000
    no_bug(sandbox)


def test_over_smtp_there_is_a_limit_and_the_rest_is_put_off(sandbox_factory):
    sandbox = sandbox_factory(set=["smtp.recipients_max=100"])
    with sandbox.smtp() as client:
        client.ehlo()
        client.mail("ann@client.test")
        replies = [client.rcpt(f"alice+{n}@example.test") for n in range(105)]
        assert [code for code, _ in replies] == [250] * 100 + [452] * 5
        assert replies[-1][1].startswith(b"4.5.3 ")
        assert client.data("Subject: x\r\n\r\nx\r\n")[0] == 250
    sandbox.wait_mail(100)
    assert len(in_maildir(sandbox.user("alice")["maildir"])) == 100


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(sandbox):
    before = len(sandbox.inbox("alice"))
    client = smtplib.SMTP(sandbox.ends["host"], sandbox.ends["smtp"], timeout=30)
    client.ehlo()
    client.mail("ann@client.test")
    client.rcpt("alice@example.test")
    client.docmd("DATA")
    client.send(b"Subject: x\r\n\r\n" + b"half a line\r\n" * 50_000)
    client.close()
    wait_until(lambda: not debris(sandbox.directory), 20, lambda: str(debris(sandbox.directory)))
    assert len(sandbox.inbox("alice")) == before
