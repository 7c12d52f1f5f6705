"""What a user may do who hands in mail, asked of the real daemon: senders, Received, limits, and mail that is held."""
from __future__ import annotations

import os
import re
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pymta.login import hashes
from pymta.formats.queuefile import LOCAL
from tests.alone import Alone
from tests.running import ROOT, Sandboxes, wait_until

INTAKE = "in/smtpd"
HASH = hashes.make(hashes.prepare("secret"))
FILES = {"users": "alice\nbob\n", "aliases": "sales: alice, bob\nroot: bob\n", "senders": "bob: *\n",
         "passwords": f"alice@example.test:{HASH}\nbob@example.test:{HASH}\n"}
LISTENERS = ("smtp", "submission", "submissions")


def start(**given: str) -> Alone:
    return Alone("pymta-smtpd", LISTENERS, {"login.failures": "0", **{key.replace("__", "."): value for key, value in given.items()}}, FILES, with_tls=True)


@pytest.fixture(scope="module")
def usual() -> Iterator[Alone]:
    with start() as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def emptied(request: pytest.FixtureRequest) -> None:
    if "usual" in request.fixturenames:
        request.getfixturevalue("usual").empty(INTAKE)


def log_in(daemon: Alone, login: str = "alice@example.test", listener: str = "submission") -> smtplib.SMTP:
    context = ssl.create_default_context(cafile=os.path.join(daemon.etc, "tls", "ca.pem"))
    if listener == "submissions":
        client: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", daemon.port[listener], "pc.home.example", timeout=30, context=context)
    else:
        client = smtplib.SMTP("127.0.0.1", daemon.port[listener], "pc.home.example", timeout=30)
        client.starttls(context=context)
    client.ehlo()
    client.login(login, "secret")
    return client


def hand_in(client: smtplib.SMTP, sender: str, recipients: list[str], text: str) -> tuple[int, bytes]:
    """The first reply that refuses, or the last."""
    client.ehlo_or_helo_if_needed()
    for command in (lambda: client.mail(sender), *(lambda one=one: client.rcpt(one) for one in recipients)):
        if (reply := command())[0] >= 400:
            client.rset()
            return reply
    return client.data(text.replace("\n", "\r\n"))


# ---- senders ----------------------------------------------------------------------------------------------------------
ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.mark.parametrize("listener", ["submission", "submissions"])
@pytest.mark.parametrize("login, sender, author, wanted", [
    (ALICE, ALICE, ALICE, 250), (ALICE, "alice+x@example.test", "Alice <ALICE@example.test>", 250), (ALICE, "sales@example.test", "sales@example.test", 250),
    (ALICE, "", ALICE, 250), (ALICE, ALICE, None, 250),
    (ALICE, BOB, ALICE, 553), (ALICE, "ann@elsewhere.test", ALICE, 553), (ALICE, "postmaster@example.test", ALICE, 553),
    (ALICE, ALICE, BOB, 553), (ALICE, ALICE, "ann@elsewhere.test", 553), (ALICE, "", BOB, 553), (ALICE, ALICE, "Alice Smith", 553),
    (ALICE, ALICE, f"{ALICE}, {BOB}", 553),
    (BOB, "ann@elsewhere.test", "president@government.test", 250), (BOB, "postmaster@example.test", "root@example.test", 250),
])
def test_the_sender_is_bound_to_the_login(usual: Alone, listener: str, login: str, sender: str, author: str | None, wanted: int) -> None:
    text = "" if author is None else f"From: {author}\n"
    with log_in(usual, login, listener) as client:
        code, reply = hand_in(client, sender, ["x@elsewhere.test"], text + "Subject: x\nBcc: secret@elsewhere.test\n\ntext\n")
        assert code == wanted and (wanted == 250 or reply.startswith(b"5.7.1 ")), reply
        assert client.noop()[0] == 250
    queued = usual.queued(INTAKE)
    assert len(queued) == (wanted == 250)
    for envelope, message in queued:
        assert envelope.sender == sender.encode() and b"secret@" not in message.lower()
        assert re.search(rb"(?m)^Date: ", message) and re.search(rb"(?m)^Message-ID: <", message)
        assert message.count(b"\nFrom: ") == 1 and (author is not None or f"\nFrom: {login}\n".encode() in message)
    if wanted != 250:
        assert "status=5.7.1" in usual.log("refuse")[-1]


def test_where_nothing_is_checked_anything_goes() -> None:
    with start(smtp__sender_check="no") as daemon, log_in(daemon) as client:
        assert hand_in(client, "x@elsewhere.test", [BOB], "From: y@elsewhere.test\n\n")[0] == 250


def test_strangers_on_the_mx_port_are_not_asked(usual: Alone) -> None:
    with smtplib.SMTP("127.0.0.1", usual.port["smtp"], "mx.example", timeout=30) as client:
        assert hand_in(client, "alice@example.test", [BOB], "From: bob@example.test\n\n")[0] == 250


def test_an_edit_of_senders_counts_at_once(usual: Alone) -> None:
    with log_in(usual) as client:
        assert hand_in(client, "press@brand.test", [BOB], "From: press@brand.test\n\n")[0] == 553
        with open(os.path.join(usual.etc, "senders"), "a") as file:
            file.write("alice: @brand.test\nnonsense\n")
        assert hand_in(client, "press@brand.test", [BOB], "From: press@brand.test\n\n")[0] == 250
    wait_until(lambda: any("senders:3" in line for line in usual.log("config")), 10)


def test_a_login_is_logged_as_elsewhere(usual: Alone) -> None:
    log_in(usual, listener="submissions").quit()
    assert re.search(r"login service=submissions user=<alice@example\.test> client=127\.0\.0\.1 tls=TLSv1\.3", usual.log("login")[-1])


# ---- Received ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("hide", ["no", "yes"])
def test_the_clients_address_is_hidden_when_asked(hide: str) -> None:
    with start(smtp__hide_client=hide) as daemon:
        with log_in(daemon) as client:
            client.sendmail(ALICE, [BOB], "Subject: x\r\n\r\n")
        with smtplib.SMTP("127.0.0.1", daemon.port["smtp"], "mx.example", timeout=30) as client:
            client.sendmail("x@y.test", [BOB], "Subject: x\r\n\r\n")
        (_, mine), (_, strangers) = daemon.queued(INTAKE)
        received = mine.partition(b"\nSubject")[0]
        assert (b"127.0.0.1" in received) == (b"pc.home.example" in received) == (hide == "no")
        assert b"by mx.example.test with ESMTPSA id " in received
        assert b"127.0.0.1" in strangers and b"mx.example" in strangers
        assert all("client=127.0.0.1" in line for line in daemon.log("accept"))


# ---- limits -----------------------------------------------------------------------------------------------------------
def test_a_login_has_a_rate_over_all_workers_and_the_admin_hears_of_it_once() -> None:
    with start(smtp__login_rate="5/h", smtp__workers="2") as daemon:
        codes = []
        for _ in range(4):                              # sessions fall to either worker
            with log_in(daemon) as client:
                for number in range(2):
                    codes.append(hand_in(client, ALICE, [f"x{number}@elsewhere.test"], "Subject: x\n\n")[0])
        assert codes == [250] * 5 + [452] * 3
        with log_in(daemon, BOB) as client:
            assert hand_in(client, BOB, ["y@elsewhere.test"], "Subject: x\n\n")[0] == 250
        wait_until(lambda: len(daemon.queued(INTAKE)) == 7, 10)
        alarms = [(envelope, message) for envelope, message in daemon.queued(INTAKE) if envelope.sender == b""]
        [(envelope, message)] = alarms
        assert [(one.kind, one.address) for one in envelope.recipients] == [(LOCAL, b"bob@example.test")]       # postmaster is root is bob
        assert b"Subject: alice@example.test: unusual sending" in message and b"5 recipients within an hour" in message
        assert len(daemon.log("trouble")) == 1 and "status=4.7.1" in daemon.log("refuse")[-1] and not daemon.log("bug")


def test_mail_to_many_strangers_is_held_and_friends_get_theirs() -> None:
    with start(smtp__new_recipients_per_day="3") as daemon:
        with log_in(daemon) as client:
            for number in range(3):
                assert hand_in(client, ALICE, [f"Friend{number}@elsewhere.test"], "Subject: friend\n\n")[0] == 250
            daemon.empty(INTAKE)
            assert hand_in(client, ALICE, ["friend0@elsewhere.test", "stranger@elsewhere.test"], "Subject: spam\n\n")[0] == 250
            assert hand_in(client, ALICE, ["stranger@elsewhere.test", BOB], "Subject: spam\n\n")[0] == 250
            assert hand_in(client, ALICE, ["friend1@elsewhere.test"], "Subject: friend\n\n")[0] == 250
        wait_until(lambda: len(daemon.names(f"{INTAKE}/new")) == 4, 10)
        names = daemon.names(f"{INTAKE}/new")
        assert sorted(name.partition(".")[2] for name in names) == ["held.mixed", "held.remote", "local", "remote"]
        held = [message for envelope, message in daemon.queued(INTAKE) if envelope.facts.get("hold")]
        assert len(held) == 2 and all(b"Subject: spam" in message for message in held)
        assert sum("hold=" in line for line in daemon.log("accept")) == 2
        [contacts] = daemon.names("state/smtpd")
        with open(os.path.join(daemon.spool, "state", "smtpd", contacts)) as file:
            assert [line.split()[1] for line in file] == [f"friend{number}@elsewhere.test" for number in range(3)]
        spool = daemon.spool
        daemon.stop()
        with Alone("pymta-smtpd", LISTENERS, {"smtp.new_recipients_per_day": "3"}, FILES, with_tls=True, spool=spool) as again, log_in(again) as client:
            assert hand_in(client, ALICE, ["friend2@elsewhere.test"], "Subject: friend\n\n")[0] == 250
            assert hand_in(client, ALICE, ["stranger@elsewhere.test"], "Subject: spam\n\n")[0] == 250
            assert sum(name.endswith(".held.remote") for name in again.names(f"{INTAKE}/new")) == 2


def test_while_nobody_counts_mail_is_refused_for_now() -> None:
    """The child that counts is killed: its place is taken by another, and nobody waits for ever."""
    with start(smtp__login_rate="100/h", smtp__workers="1") as daemon, log_in(daemon) as client:
        assert hand_in(client, ALICE, [BOB], "Subject: x\n\n")[0] == 250
        before = daemon.children()
        os.kill(before[2], 9)                           # auth, commit, limits, worker
        codes = set()

        def goes_on() -> bool:
            codes.add(hand_in(client, ALICE, [BOB], "Subject: x\n\n")[0])
            return daemon.children() != before and 250 in codes and bool(daemon.log("trouble"))

        wait_until(goes_on, 20, lambda: f"{codes} {daemon.log()}")
        assert codes <= {250, 451} and "limits ended" in daemon.log("trouble")[0] and hand_in(client, ALICE, [BOB], "Subject: x\n\n")[0] == 250


# ---- the whole system ---------------------------------------------------------------------------------------------------
def test_held_mail_waits_for_the_admin_and_goes_when_it_is_released() -> None:
    with Sandboxes() as sandboxes:
        box = sandboxes.start(set=["smtp.new_recipients_per_day=1", "local.admin=bob@example.test"])
        alice = box.user("alice")
        with box.smtp("submissions") as client:
            client.login(alice["address"], alice["password"])
            client.sendmail(alice["address"], ["alice@example.test"], "Subject: first\r\n\r\n")
            client.sendmail(alice["address"], ["bob@example.test", "bob+x@example.test"], "Subject: second\r\n\r\n")
        box.wait_mail(1, "alice")
        [alarm] = box.wait_mail(1, "bob")
        with open(alarm, "rb") as file:
            assert b"Subject: alice@example.test: unusual sending" in file.read()
        hold = os.path.join(box.ends["spool"], "hold")
        wait_until(lambda: os.listdir(hold), 20, box.log)
        [name] = os.listdir(hold)
        assert re.fullmatch(r"[0-9a-v]{15}\.local", name) and " hold id=" in box.log()
        shown = subprocess.run([sys.executable, os.path.join(ROOT, "bin", "pymta-mailq"), "--etc", box.ends["etc"]], capture_output=True, text=True, timeout=60)
        assert name.partition(".")[0] in shown.stdout and "hold" in shown.stdout, shown
        why = subprocess.run([sys.executable, os.path.join(ROOT, "bin", "pymta-why"), "--etc", box.ends["etc"], name.partition(".")[0]],
                             capture_output=True, text=True, timeout=60)
        assert "its sender writes to many recipients for the first time" in why.stdout, why
        done = subprocess.run([sys.executable, os.path.join(ROOT, "bin", "pymta-mailq"), "--etc", box.ends["etc"], "release", name.partition(".")[0]],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        box.wait_mail(3, "bob")
        assert not os.listdir(hold)


def test_in_a_sandbox_nothing_is_limited() -> None:
    with Sandboxes() as sandboxes:
        box = sandboxes.start()
        alice = box.user("alice")
        with box.smtp("submissions") as client:
            client.login(alice["address"], alice["password"])
            refused = client.sendmail(alice["address"], [f"alice+{number}@example.test" for number in range(900)], "Subject: many\r\n\r\n")
            assert refused == {}
        assert not os.listdir(os.path.join(box.ends["spool"], "hold")) and not os.listdir(os.path.join(box.ends["spool"], "state", "smtpd"))
