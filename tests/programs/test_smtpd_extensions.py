"""The extensions of pymta-smtpd as strangers see them, and what reaches the queue: CHUNKING, SMTPUTF8, DSN, FUTURERELEASE, XCLIENT, PROXY, LMTP."""
from __future__ import annotations

import json
import os
import re
import shutil
import smtplib
import socket
import ssl
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from pymta.login import hashes
from pymta.formats.queuefile import LOCAL, REMOTE
from pymta.proto.proxy import SIGNATURE
from tests.alone import Alone
from tests.programs.test_smtpd import INTAKE, PASSWORD, Peer, ready, trust
from tests.running import ROOT, Sandboxes, new_directory, wait_until
from tests.sessions.runner import SocketPeer, Transcript, play, transcripts

FILES = {"users": "alice\nbob\ncarol@bücher.example\n", "aliases": "both: alice, bob\nout: alice, ann@elsewhere.test\nJürgen: bob\n",
         "passwords": f"alice@example.test:{hashes.make(hashes.prepare(PASSWORD))}\n"}
TO_ALICE = b"MAIL FROM:<ann@client.example>\r\nRCPT TO:<alice@example.test>\r\n"


@pytest.fixture(scope="module")
def open_() -> Iterator[Alone]:
    """Everything at its default, with TLS."""
    with Alone("pymta-smtpd", ("smtp", "submissions", "lmtp"), {"login.failures": "0"}, FILES, with_tls=True) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def front() -> Iterator[Alone]:
    """Behind a front end that speaks XCLIENT; the network of its clients may relay."""
    given = {"smtp.xclient_from": "127.0.0.0/8", "smtp.relay_from": "192.0.2.0/24", "smtp.mails_max": "5", "smtp.errors_max": "50",
             "smtp.trusted": "127.0.0.0/8 192.0.2.0/24 198.51.100.0/24 2001:db8::/32"}
    with Alone("pymta-smtpd", ("smtp", "submission"), given, FILES, with_tls=True) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def balanced() -> Iterator[Alone]:
    """Behind a load balancer."""
    given = {"smtp.proxy_from": "127.0.0.0/8", "smtp.relay_from": "192.0.2.0/24", "smtp.early_talk": "no", "smtp.trusted": "127.0.0.0/8 192.0.2.0/24 2001:db8::/32"}
    with Alone("pymta-smtpd", ("smtp", "submissions"), given, FILES, with_tls=True) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def emptied(request: pytest.FixtureRequest) -> None:
    for name in ("open_", "front", "balanced"):
        if name in request.fixturenames:
            request.getfixturevalue(name).empty(INTAKE)


@pytest.mark.parametrize("bite", [0, 1], ids=["whole", "bytes"])
@pytest.mark.parametrize("transcript", [each for each in transcripts("smtp") if each.values[0].option("listener") == "front"])
def test_transcript(front: Alone, transcript: Transcript, bite: int) -> None:
    with SocketPeer("127.0.0.1", front.port["smtp"], bite=bite) as peer:
        play(transcript, peer)
    assert not front.log("bug")


# ---- CHUNKING -----------------------------------------------------------------------------------------------------------
def test_chunks_are_queued_as_they_are(open_: Alone) -> None:
    text = b"Subject: x\r\n\r\n.\r\n..a\r\nQUIT\r\n\xff\xfe\r\nend"
    with ready(open_) as peer:
        for sizes in ((len(text),), (5, 0, len(text) - 5), (1,) * len(text)):
            at, wire = 0, b""
            for number, size in enumerate(sizes):
                wire += b"BDAT %d%s\r\n" % (size, b" LAST" * (number == len(sizes) - 1)) + text[at:at + size]
                at += size
            assert peer.say(TO_ALICE + wire, 2 + len(sizes)) == [250] * (2 + len(sizes))
    for _, message in open_.queued(INTAKE):
        assert message.partition(b"; ")[2].partition(b"\n")[2] == text.replace(b"\r\n", b"\n") + b"\n"
    assert len(open_.queued(INTAKE)) == 3


def rss_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmRSS:")).split()[1])


def children(daemon: Alone) -> list[int]:
    with open(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def test_big_chunks_need_little_memory() -> None:
    """40 MB in one chunk, and 200 MB in one that is refused: both flow through."""
    with Alone("pymta-smtpd", ("smtp",), {"smtp.workers": "1"}, FILES) as daemon, ready(daemon) as peer:
        before = {pid: rss_kib(pid) for pid in children(daemon)}
        line = b"x" * 998 + b"\r\n"
        peer.say(TO_ALICE + b"BDAT %d LAST\r\n" % (40_000 * len(line)), 2)
        for _ in range(400):
            peer.sock.sendall(line * 100)
        assert peer.reply()[0] == 250
        peer.say(TO_ALICE + b"BDAT %d LAST\r\n" % (200_000 * len(line)), 2)
        for _ in range(2000):
            peer.sock.sendall(line * 100)
        assert peer.reply()[1].startswith(b"552 5.3.4 ")
        assert peer.say(b"NOOP\r\n") == [250]
        grown = max(rss_kib(pid) - size for pid, size in before.items())
        assert grown < 12_000, f"{grown} KiB"
        assert len(daemon.names(f"{INTAKE}/new")) == 1 and daemon.names(f"{INTAKE}/tmp") == []


def test_nothing_a_stranger_sends_fills_the_memory() -> None:
    """A line of 60 MB, a header of 10^6 lines, 20,000 recipients, 100,000 chunks of nothing, texts that never end: one after the other."""
    given = {"smtp.workers": "1", "smtp.errors_max": "1000000", "smtp.early_talk": "no"}
    with Alone("pymta-smtpd", ("smtp",), given, FILES) as daemon:
        with ready(daemon) as peer:
            peer.say(TO_ALICE + b"DATA\r\n.\r\n", 4)
        before = {pid: rss_kib(pid) for pid in children(daemon)}
        with ready(daemon) as peer:
            peer.say(TO_ALICE + b"DATA\r\n", 3)
            peer.sock.sendall(b"A: b\r\n" * 1_000_000 + b"\r\n")
            for _ in range(40):
                peer.sock.sendall(b"x" * 1_000_000)
            assert peer.say(b"\r\n.\r\n")[0] in (250, 552)
        with ready(daemon) as peer:
            try:
                for _ in range(60):
                    peer.sock.sendall(b"x" * 1_000_000)
            except OSError:
                pass                                    # it has been sent away
        with ready(daemon) as peer:
            peer.say(b"MAIL FROM:<>\r\n")
            for _ in range(20):
                codes = peer.say(b"RCPT TO:<alice@example.test>\r\n" * 1000, 1000)
            assert codes == [452] * 1000
            for _ in range(100):
                codes = peer.say(b"BDAT 0\r\n" * 1000, 1000)
            assert codes == [250] * 1000
        with ready(daemon) as peer:
            peer.say(TO_ALICE + b"BDAT 99999999999999999999 LAST\r\n", 2)
            for _ in range(60):
                peer.sock.sendall(b"x" * 1_000_000)
        grown = max(rss_kib(pid) - size for pid, size in before.items())
        assert grown < 16_000, f"{grown} KiB"
        assert not daemon.log("bug")


@pytest.mark.parametrize("end", [b"RSET\r\n", b"EHLO b\r\n", b"BDAT 3\r\na\nbRSET\r\n"])
def test_a_text_that_is_given_up_leaves_nothing(open_: Alone, end: bytes) -> None:
    with ready(open_) as peer:
        peer.say(TO_ALICE + b"BDAT 600000\r\n" + (b"x" * 98 + b"\r\n") * 6000, 3)
        wait_until(lambda: len(open_.names(f"{INTAKE}/tmp")) == 1, 5)
        assert peer.say(end)[0] in (250, 550)
        wait_until(lambda: open_.names(f"{INTAKE}/tmp") == [], 5)
        if end.startswith(b"BDAT"):
            peer.reply()
        assert peer.say(TO_ALICE + b"BDAT 6 LAST\r\nA: b\r\n", 3) == [250, 250, 250]
    assert len(open_.names(f"{INTAKE}/new")) == 1


def test_chunks_by_lmtp(open_: Alone) -> None:
    with ready(open_, "lmtp") as peer:
        codes = peer.say(b"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<no@example.test>\r\nRCPT TO:<bob@example.test>\r\n"
                         b"BDAT 6\r\nA: b\r\nBDAT 0 LAST\r\nQUIT\r\n", 8)
        assert codes == [250, 250, 550, 250, 250, 250, 250, 221]
    [(envelope, message)] = open_.queued(INTAKE)
    assert len(envelope.recipients) == 2 and message.endswith(b"\nA: b\n")


# ---- SMTPUTF8, DSN --------------------------------------------------------------------------------------------------------
def test_utf8(open_: Alone) -> None:
    with ready(open_) as peer:
        wire = "MAIL FROM:<änn@straße.example> SMTPUTF8 BODY=8BITMIME\r\nRCPT TO:<jürgen@example.test>\r\nDATA\r\nSubject: Grüße\r\n\r\n.\r\n".encode()
        assert peer.say(wire, 4) == [250, 250, 354, 250]
        assert peer.say("MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<carol@bücher.example>\r\nDATA\r\n.\r\n".encode(), 4) == [250, 250, 354, 250]
    (first, text), (second, _) = open_.queued(INTAKE)
    assert first.sender == "änn@xn--strae-oqa.example".encode() and first.facts == {"utf8": "1", "body": "8BITMIME"}
    assert [one.address for one in first.recipients] == [b"bob@example.test"] and [one.address for one in second.recipients] == [b"carol@xn--bcher-kva.example"]
    assert re.search(rb"with UTF8SMTP id \w+; ", text) and "Subject: Grüße\n".encode() in text
    assert 'from="<änn@xn--strae-oqa.example>"' in open_.log("accept")[-2]


def test_utf8_under_tls_after_a_login(open_: Alone) -> None:
    with smtplib.SMTP_SSL("localhost", open_.port["submissions"], context=trust(open_)) as client:
        client.login("alice@example.test", PASSWORD)
        client.sendmail("alice@example.test", ["bob@example.test"], "Subject: Grüße\r\n\r\n".encode(), mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    [(_, message)] = open_.queued(INTAKE)
    assert b" with UTF8SMTPSA id " in message


def test_dsn(open_: Alone) -> None:
    """What the sender wishes stands in the envelope, also at every target of an alias."""
    with ready(open_) as peer:
        codes = peer.say(b"MAIL FROM:<ann@client.example> RET=HDRS ENVID=QQ+2B1\r\nRCPT TO:<alice@example.test> NOTIFY=NEVER\r\n"
                         b"RCPT TO:<both@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;list@client.example\r\nDATA\r\n\r\n.\r\n", 5)
        assert codes == [250, 250, 250, 354, 250]
    [(envelope, message)] = open_.queued(INTAKE)
    assert envelope.facts == {"ret": "HDRS", "envid": "QQ+2B1"}
    notes = {one.address: dict(one.notes) for one in envelope.recipients}
    assert notes == {b"alice@example.test": {b"Pymta-Notify": b"NEVER"},
                     b"bob@example.test": {b"Original-Recipient": b"rfc822;both@example.test", b"Pymta-Notify": b"SUCCESS,FAILURE",
                                           b"Pymta-Orcpt": b"rfc822;list@client.example"}}
    assert b"Pymta-" not in message


INJECTED = [b"ORCPT=rfc822;a+0APymta-Queue:+201", b"ORCPT=rfc822;a\nDelivered-To:", b"NOTIFY=SUCCESS\rX", b"ORCPT=utf-8;\\x{A}Pymta-Hold:", b"ORCPT=rfc822;a+00b",
            b"ORCPT=utf-8;\\x{2028}", b"ORCPT=a+0Ab;c", b"ORCPT=rfc822;" + b"a" * 600]


@pytest.mark.parametrize("parameter", INJECTED)
def test_nothing_gets_into_the_spool_by_a_parameter(open_: Alone, parameter: bytes) -> None:
    with ready(open_) as peer:
        assert peer.say(b"MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<alice@example.test> " + parameter + b"\r\n", 2) in ([250, 501], [250, 500])
        if b"\n" not in parameter and b"\r" not in parameter:
            assert peer.say(b"DATA\r\n") == [503]


# ---- FUTURERELEASE --------------------------------------------------------------------------------------------------------
def test_future_release(open_: Alone) -> None:
    with smtplib.SMTP_SSL("localhost", open_.port["submissions"], context=trust(open_)) as client:
        client.ehlo()
        longest, last = client.esmtp_features["futurerelease"].split()
        assert longest == "2592000" and re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", last)
        client.login("alice@example.test", PASSWORD)
        start = time.time()
        client.sendmail("alice@example.test", ["bob@example.test"], "Subject: x\r\n\r\n", mail_options=["HOLDFOR=3600"])
        client.sendmail("alice@example.test", ["bob@example.test"], "Subject: x\r\n\r\n", mail_options=["HOLDUNTIL=2001-01-01T00:00:00Z"])
    (waits, _), (goes, _) = open_.queued(INTAKE)
    assert start + 3600 <= int(waits.facts["release"]) <= time.time() + 3601 and "release" not in goes.facts
    assert open_.names(f"{INTAKE}/new") == [f"{waits.id}.later.local", f"{goes.id}.local"]


def test_released_in_the_whole_system() -> None:
    """A mail with a time waits in later/ and is delivered then; one that came by BDAT and SMTPUTF8 at once; a cancelled one never."""
    with Sandboxes() as sandboxes:
        one = sandboxes.start(set="queue.retry=1s,2s")
        user = one.user("alice")
        with one.smtp("submissions") as client:
            client.login(user["address"], user["password"])
            start = time.time()
            client.sendmail(user["address"], [user["address"]], "Subject: then\r\n\r\n", mail_options=["HOLDFOR=3"])
            client.sendmail(user["address"], [user["address"]], "Subject: never\r\n\r\n", mail_options=["HOLDFOR=100"])
            assert client.docmd("MAIL", f"FROM:<{user['address']}> SMTPUTF8")[0] == client.docmd("RCPT", f"TO:<{user['address']}>")[0] == 250
            text = "Subject: jetzt, für alle\r\n\r\n.\r\n".encode()
            client.send(b"BDAT %d LAST\r\n" % len(text) + text)
            assert client.getreply()[0] == 250
        [path] = one.wait_mail(1)
        with open(path, "rb") as file:
            text = file.read()
            assert "Subject: jetzt, für alle\n".encode() in text and text.endswith(b"\n\n.\n")
        mailq = [sys.executable, os.path.join(ROOT, "bin", "pymta-mailq"), "--etc", one.ends["etc"]]
        wait_until(lambda: len(subprocess.run([*mailq, "--json", "--state", "later"], capture_output=True, text=True).stdout.splitlines()) == 2, 5)
        rows = [json.loads(line) for line in subprocess.run([*mailq, "--json"], capture_output=True, text=True).stdout.splitlines()]
        never = max(rows, key=lambda row: row["release"])
        assert start + 100 <= never["release"] <= time.time() + 101
        subprocess.run([*mailq, "delete", "--yes", never["id"]], check=True, capture_output=True)
        assert len(one.wait_mail(2)) == 2 and time.time() >= start + 3
        assert subprocess.run(mailq, capture_output=True, text=True).stdout == "the queue is empty\n"


# ---- XCLIENT --------------------------------------------------------------------------------------------------------------
def test_xclient(front: Alone) -> None:
    """Rights, trace and log are those of the client that the front end names."""
    with ready(front) as peer:
        assert peer.say(b"MAIL FROM:<>\r\nRCPT TO:<a@elsewhere.test>\r\nRSET\r\n", 3) == [250, 550, 250]
        assert peer.say(b"XCLIENT ADDR=192.0.2.7 NAME=mx.client.example HELO=mx.client.example PROTO=SMTP\r\nEHLO front.example\r\n", 2) == [220, 250]
        assert peer.say(b"MAIL FROM:<ann@client.example>\r\nRCPT TO:<a@elsewhere.test>\r\nDATA\r\n\r\n.\r\n", 4) == [250, 250, 354, 250]
        assert peer.say(b"XCLIENT ADDR=IPV6:2001:db8::7\r\nEHLO front.example\r\n", 2) == [220, 250]
        assert peer.say(b"MAIL FROM:<ann@client.example>\r\nRCPT TO:<a@elsewhere.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n\r\n.\r\n", 5) == [250, 550, 250, 354, 250]
    (first, text), (_, other) = front.queued(INTAKE)
    assert first.recipients[0].kind == REMOTE and text.startswith(b"Received: from mx.client.example ([192.0.2.7])\n\tby mx.example.test with SMTP id ")
    assert other.startswith(b"Received: from front.example ([IPv6:2001:db8::7])\n\tby mx.example.test with ESMTP id ")
    assert "client=192.0.2.7 helo=mx.client.example" in front.log("accept")[-2]
    assert "client=192.0.2.7 by=127.0.0.1 name=mx.client.example" in front.log("connect")[0]


def test_xclient_says_who_has_logged_in(front: Alone) -> None:
    with ready(front, "submission") as peer:
        assert peer.say(b"MAIL FROM:<alice@example.test>\r\n") == [530]
        assert peer.say(b"XCLIENT ADDR=198.51.100.7 LOGIN=nobody@example.test\r\n") == [501]
        assert peer.say(b"XCLIENT ADDR=198.51.100.7 LOGIN=alice@example.test\r\nEHLO laptop\r\n", 2) == [220, 250]
        assert peer.say(b"MAIL FROM:<alice@example.test>\r\nRCPT TO:<a@elsewhere.test>\r\nDATA\r\n\r\n.\r\n", 4) == [250, 250, 354, 250]
        assert peer.say(b"XCLIENT LOGIN=[UNAVAILABLE]\r\nEHLO laptop\r\nMAIL FROM:<alice@example.test>\r\n", 3) == [220, 250, 530]
    [(_, message)] = front.queued(INTAKE)
    assert b" with ESMTPA id " in message and "login=alice@example.test" in front.log("accept")[-1]


def test_enough_messages(front: Alone) -> None:
    with ready(front) as peer:
        assert peer.say(b"MAIL FROM:<>\r\nRSET\r\n" * 5 + b"MAIL FROM:<>\r\n", 12) == [250] * 10 + [421, 0]


# ---- PROXY ----------------------------------------------------------------------------------------------------------------
def second(address: str) -> bytes:
    family, kind = (socket.AF_INET6, 0x21) if ":" in address else (socket.AF_INET, 0x11)
    body = socket.inet_pton(family, address) * 2 + struct.pack(">HH", 4711, 25)
    return SIGNATURE + bytes((0x21, kind)) + struct.pack(">H", len(body)) + body


@pytest.mark.parametrize("header, client, relays", [
    (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n", "192.0.2.7", True), (second("192.0.2.7"), "192.0.2.7", True),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", "2001:db8::7", False), (second("2001:db8::7"), "2001:db8::7", False),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1", False), (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1", False),
])
@pytest.mark.parametrize("bite", [0, 1], ids=["whole", "bytes"])
def test_proxy(balanced: Alone, header: bytes, client: str, relays: bool, bite: int) -> None:
    with Peer(balanced.port["smtp"]) as peer:
        for at in range(0, len(header), bite or len(header)):
            peer.sock.sendall(header[at:at + (bite or len(header))])
        assert peer.reply()[0] == 220
        assert peer.say(b"EHLO c.example\r\n") == [250]
        assert peer.say(b"MAIL FROM:<>\r\nRCPT TO:<a@elsewhere.test>\r\n", 2) == [250, 250 if relays else 550]
        assert peer.say(b"RCPT TO:<bob@example.test>\r\nDATA\r\n\r\n.\r\n", 3) == [250, 354, 250]
    [(_, message)] = balanced.queued(INTAKE)
    assert f"Received: from c.example ([{'IPv6:' if ':' in client else ''}{client}])\n".encode() in message
    assert f"client={client} " in balanced.log("accept")[-1]


def test_proxy_before_tls(balanced: Alone) -> None:
    with socket.create_connection(("127.0.0.1", balanced.port["submissions"]), 10) as plain:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trust(balanced).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        plain.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 465\r\n" + outgoing.read())      # in one piece
        said = b""
        while b"\r\n" not in said:
            incoming.write(plain.recv(65536))
            try:
                tls.do_handshake()
                plain.sendall(outgoing.read())
                said += tls.read()
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
        assert said.startswith(b"220 mx.example.test ESMTP")


@pytest.mark.parametrize("garbage", [b"EHLO c.example\r\n", b"\x16\x03\x01\x02\x00", b"PROXY TCP4 x y 1 2\r\n", SIGNATURE + b"\xff" * 20, b"PROXY " + b"x" * 1000])
def test_no_header_no_session(balanced: Alone, garbage: bytes) -> None:
    before = len(balanced.log("refuse"))
    with Peer(balanced.port["smtp"]) as peer:
        assert peer.say(garbage) == [0]
    wait_until(lambda: len(balanced.log("refuse")) == before + 1, 5)
    assert not balanced.log("bug")


def test_a_header_from_a_stranger_is_garbage(open_: Alone) -> None:
    for header in (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n", second("192.0.2.7")):
        with Peer(open_.port["smtp"]) as peer:
            codes = peer.say(header + b"EHLO c.example\r\n" + TO_ALICE, 2)
            assert codes[1] in (500, 554) or codes[0] == 554
            while (code := peer.reply()[0]):
                assert code >= 500
    assert open_.names(f"{INTAKE}/new") == []


# ---- LMTP -----------------------------------------------------------------------------------------------------------------
def test_lmtp_on_a_unix_socket() -> None:
    """mode 0660, taken over from one that was killed, gone at the end."""
    directory = new_directory()
    os.chmod(directory, 0o777)
    path = os.path.join(directory, "lmtp")
    given = {"smtp.lmtp": path, "smtp.listen": "", "smtp.submission": "", "smtp.submissions": "", "smtp.workers": "1"}
    try:
        with Alone("pymta-smtpd", (), given, FILES) as daemon:
            assert stat.S_ISSOCK(os.stat(path).st_mode) and stat.S_IMODE(os.stat(path).st_mode) == 0o660
            said = dialogue(path, b"LHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n"
                                  b"BDAT 2 LAST\r\n\r\nQUIT\r\n")
            assert said.startswith(b"220 mx.example.test LMTP\r\n") and said.endswith(b"221 2.0.0 bye\r\n")
            assert said.count(b"250 2.0.0 queued as ") == 2
            [(envelope, message)] = daemon.queued(INTAKE)
            assert {one.kind for one in envelope.recipients} == {LOCAL}
            assert message.startswith(b"Received: from c.example ([local])\n\tby mx.example.test with LMTP id ")
            assert f"lmtp:{path}" in daemon.log("start")[0]
            os.killpg(daemon.process.pid, 9)
            daemon.process.wait()
            assert os.path.exists(path)
            with Alone("pymta-smtpd", (), given, FILES, spool=daemon.spool) as again:
                assert dialogue(path, b"QUIT\r\n").startswith(b"220 ")
                assert again.stop() == 0 and not os.path.exists(path)
    finally:
        shutil.rmtree(directory)


def dialogue(path: str, wire: bytes) -> bytes:
    """What a daemon says on a Unix socket until it closes."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(path)
        sock.sendall(wire)
        said = b""
        while (piece := sock.recv(65536)):
            said += piece
    return said
