"""pymta-smtpd as a process, smtplib and bare sockets as its clients; what it queues is read from in/smtpd/new."""
from __future__ import annotations

import email
import os
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pymta.login import hashes
from pymta.formats import queuefile
from pymta.formats.queuefile import LOCAL, REMOTE
from tests.alone import Alone
from tests.running import wait_until
from tests.sessions.runner import SocketPeer, Transcript, play, transcripts

INTAKE = "in/smtpd"
FILES = {"users": "alice\nbob\ncarol@virtual.test\n",
         "aliases": "both: alice, bob, alice\nout: alice, ann@elsewhere.test\ndead: nobody-here\n"}
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def plain() -> Iterator[Alone]:
    """The MX port and LMTP, with everything at its default."""
    with Alone("pymta-smtpd", ("smtp", "lmtp"), {"smtp.relay_from": "192.0.2.0/24"}, FILES) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def strict() -> Iterator[Alone]:
    """Small limits."""
    given = {"smtp.errors_max": "3", "smtp.recipients_max": "2", "queue.size_max": "300000", "smtp.timeout": "1500ms", "smtp.session_max": "3s",
             "smtp.sessions_max": "4", "smtp.workers": "1", "queue.hops_max": "5", "smtp.relay_from": "127.0.0.0/8", "queue.recipients_max": "3"}
    with Alone("pymta-smtpd", ("smtp",), given, FILES) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def secure() -> Iterator[Alone]:
    """All ports, with a certificate."""
    files = {**FILES, "passwords": f"alice@example.test:{hashes.make(hashes.prepare(PASSWORD))}\n"}
    with Alone("pymta-smtpd", ("smtp", "submission", "submissions", "lmtp"), {"login.failures": "0"}, files, with_tls=True) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def emptied(request: pytest.FixtureRequest) -> None:
    for name in ("plain", "strict", "secure"):
        if name in request.fixturenames:
            request.getfixturevalue(name).empty(INTAKE)


class Peer:
    """A client that says exactly what it is told."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.sock.makefile("rb")

    def reply(self) -> tuple[int, bytes]:
        """(code, text); (0, b"") when the connection has ended."""
        text = b""
        while True:
            try:
                line = self.file.readline()
            except ConnectionResetError:
                line = b""
            if not line:
                return 0, text
            text += line
            if line[3:4] != b"-":
                return int(line[:3]), text

    def say(self, wire: bytes, replies: int = 1) -> list[int]:
        """Send wire; the codes of so many replies."""
        try:
            self.sock.sendall(wire)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return [self.reply()[0] for _ in range(replies)]

    def close(self) -> None:
        self.file.close()
        self.sock.close()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ready(daemon: Alone, listener: str = "smtp") -> Peer:
    """A peer past the greeting and EHLO."""
    peer = Peer(daemon.port[listener])
    assert peer.say(b"LHLO c.example\r\n" if listener == "lmtp" else b"EHLO c.example\r\n", 2) == [220, 250]
    return peer


TO_ALICE = b"MAIL FROM:<ann@client.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n"


# ---- a mail -----------------------------------------------------------------------------------------------------------
def test_what_is_queued(plain: Alone) -> None:
    with smtplib.SMTP("127.0.0.1", plain.port["smtp"], local_hostname="c.example") as client:
        assert client.sendmail("ann@client.example", ["alice@example.test"], "Subject: hello\r\n\r\n.dot\r\nend\r\n") == {}
    [(envelope, message)] = plain.queued(INTAKE)
    assert envelope.sender == b"ann@client.example"
    assert envelope.recipients == [queuefile.Recipient(LOCAL, b"alice@example.test")]
    assert plain.names(f"{INTAKE}/new") == [f"{envelope.id}.local"] and plain.names(f"{INTAKE}/tmp") == []
    assert re.fullmatch(rb"Received: from c\.example \(\[127\.0\.0\.1\]\)\n\tby mx\.example\.test with ESMTP id %s\n"
                        rb"\tfor <alice@example\.test>; [A-Z][^\n]+\nSubject: hello\n\n\.dot\nend\n" % envelope.id.encode(), message)
    [line] = [line for line in plain.log("accept") if envelope.id in line]
    assert "nrcpt=1 from=<ann@client.example> client=127.0.0.1 helo=c.example" in line and " size=" in line
    mode = os.stat(os.path.join(plain.spool, INTAKE, "new", f"{envelope.id}.local")).st_mode
    assert mode & 0o777 == 0o664


def test_recipients_are_final_and_each_is_there_once(plain: Alone) -> None:
    with smtplib.SMTP("127.0.0.1", plain.port["smtp"]) as client:
        client.sendmail("", ["both@example.test", "Alice@EXAMPLE.test", "out@example.test", "postmaster", "alice+x@example.test",
                             "carol@virtual.test"], "\r\n")
    [(envelope, message)] = plain.queued(INTAKE)
    found = {(one.kind, one.address, one.original) for one in envelope.recipients}
    assert {(LOCAL, b"alice@example.test", b"both@example.test"), (LOCAL, b"bob@example.test", b"both@example.test"),
            (REMOTE, b"ann@elsewhere.test", b"out@example.test"), (LOCAL, b"alice+x@example.test", b"alice+x@example.test"),
            (LOCAL, b"carol@virtual.test", b"carol@virtual.test")} <= found
    assert len(envelope.recipients) == len({one.address for one in envelope.recipients}) == 6      # postmaster is the sixth
    assert plain.names(f"{INTAKE}/new") == [f"{envelope.id}.mixed"]
    assert b" for <" not in message and b"\tfor <" not in message


BODIES = [b"", b"\r\n", b"no header at all\r\n", b"X: y\r\n", b"Subject: \xff\xfe raw\r\nFrom: \xc3\xa9 <a@b>\r\n\r\n\xe9\x80\r\n", b"\r\nbody only\r\n",
          b"A: b\r\n\r\n" + b"x" * 100_000 + b"\r\n", b"A: b\r\n\r\n" + b".\r\n.\r\n"[:0] + b"...\r\n"]


def test_texts_pass_unchanged(plain: Alone) -> None:
    """8 bits with and without BODY=, no header, no body, long lines: nothing is refused, added or changed."""
    with ready(plain) as peer:
        for number, body in enumerate(BODIES):
            body_word = (b"", b" BODY=8BITMIME")[number % 2]
            wire = TO_ALICE.replace(b">\r\nRCPT", b">" + body_word + b"\r\nRCPT") + re.sub(rb"(?m)^\.", b"..", body) + b".\r\n"
            assert peer.say(wire, 4) == [250, 250, 354, 250]
    for body, (_, message) in zip(BODIES, plain.queued(INTAKE), strict=True):
        received, text = re.fullmatch(rb"(Received: .*?; [^\n]*\n)(.*)", message, re.S).groups()
        lines = body.replace(b"\r\n", b"\n")
        assert text in (lines, b"\n" + lines)
        assert email.message_from_bytes(message).keys()[0] == "Received"


def test_return_path_goes(plain: Alone) -> None:
    with ready(plain) as peer:
        assert peer.say(TO_ALICE + b"Return-Path: <evil@x.example>\r\nA: b\r\nreturn-path:\r\n <b>\r\n\r\nReturn-Path: stays\r\n.\r\n", 4)[-1] == 250
    [(_, message)] = plain.queued(INTAKE)
    assert message.partition(b"; ")[2].partition(b"\n")[2] == b"A: b\n\nReturn-Path: stays\n"


def test_a_big_message(plain: Alone) -> None:
    lines = b"".join(b"%07d %s\r\n" % (n, b"x" * (n % 97)) for n in range(80_000))
    with ready(plain) as peer:
        assert peer.say(TO_ALICE, 3) == [250, 250, 354]
        wire = b"Subject: big\r\n\r\n" + lines + b".\r\n"
        for at in range(0, len(wire), 77_777):
            peer.sock.sendall(wire[at:at + 77_777])
        assert peer.reply()[0] == 250
    [(_, message)] = plain.queued(INTAKE)
    assert message.endswith(b"\nSubject: big\n\n" + lines.replace(b"\r\n", b"\n")) and len(message) > 4_000_000


def test_pipelining_and_many_sessions(plain: Alone) -> None:
    def one(number: int) -> list[int]:
        with ready(plain) as peer:
            mail = b"MAIL FROM:<s%d@c.example>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<no@example.test>\r\nDATA\r\nA: %d\r\n\r\nx\r\n.\r\n"
            return peer.say(b"".join(mail % (number, n) for n in range(5)) + b"QUIT\r\n", 26)
    with ThreadPoolExecutor(20) as pool:
        for codes in pool.map(one, range(20)):
            assert codes == [250, 250, 550, 354, 250] * 5 + [221]
    assert len(plain.queued(INTAKE)) == 100
    # a group: 100 messages by 20 sessions are far fewer batches than messages only where the disk is slow; each is whole all the same


def test_lmtp(plain: Alone) -> None:
    """RFC 2033: one reply for each accepted recipient."""
    with ready(plain, "lmtp") as peer:
        codes = peer.say(b"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<no@example.test>\r\nRCPT TO:<bob@example.test>\r\n"
                         b"RCPT TO:<a@elsewhere.test>\r\nDATA\r\nA: b\r\n.\r\nQUIT\r\n", 9)
        assert codes == [250, 250, 550, 250, 550, 354, 250, 250, 221]
    [(envelope, message)] = plain.queued(INTAKE)
    assert len(envelope.recipients) == 2 and b" with LMTP id " in message


# ---- who may send what to whom ------------------------------------------------------------------------------------------
RELAY = ["victim@elsewhere.test", "victim%elsewhere.test@example.test", "elsewhere.test!victim@example.test", '"victim@elsewhere.test"@example.test',
         "victim@elsewhere.test@example.test", "@example.test:victim@elsewhere.test", "@elsewhere.test:victim@elsewhere.test",
         "victim@[127.0.0.1]", "victim@[192.0.2.1]", "victim@elsewhere.test.", "victim@", "victim", "victim@EXAMPLE.test.elsewhere.test",
         '"victim%elsewhere.test"', "victim@example.test@elsewhere.test", "alice@example.test,victim@elsewhere.test", "victim@[example.test]",
         '"victim@elsewhere.test"', "victim@sub.example.test", "victim@.example.test", "@alice", "alice@example.test>x<v@elsewhere.test"]


@pytest.mark.parametrize("sender", ["", "alice@example.test", "ann@client.example", "postmaster@example.test"])
def test_no_relay(plain: Alone, sender: str) -> None:
    for recipient in RELAY:
        with ready(plain) as peer:
            codes = peer.say(b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (sender.encode(), recipient.encode()), 3)
            assert codes[0] == 250 and 550 <= codes[1] <= 553 and codes[2] == 503, (recipient, codes)
    assert plain.names(f"{INTAKE}/new") == []


def test_relay_denied_says_so_and_unknown_users_are_refused(plain: Alone) -> None:
    with ready(plain) as peer:
        peer.say(b"MAIL FROM:<>\r\n")
        peer.sock.sendall(b"RCPT TO:<a@elsewhere.test>\r\nRCPT TO:<no@example.test>\r\nRCPT TO:<dead@example.test>\r\n")
        assert [peer.reply()[1][:9] for _ in range(3)] == [b"550 5.7.1", b"550 5.1.1", b"550 5.1.1"]
    assert any("rcpt=<a@elsewhere.test>" in line and "status=5.7.1" in line for line in plain.log("refuse"))


def test_relay_from(strict: Alone) -> None:
    with ready(strict) as peer:
        assert peer.say(b"MAIL FROM:<>\r\nRCPT TO:<a@elsewhere.test>\r\nDATA\r\n\r\n.\r\n", 4) == [250, 250, 354, 250]
    assert strict.names(f"{INTAKE}/new")[0].endswith(".remote")


@pytest.mark.parametrize("line", [b"MAIL FROM:<a\nb@c.example>", b"MAIL FROM:<a\rb@c.example>", b"MAIL FROM:<a\0b@c.example>", b"MAIL FROM:<a@c.example\x01>",
                                  b"EHLO a\0b", b"EHLO a\nb", b"MAIL FROM:<a@c.example> AUTH=a\0b", b'MAIL FROM:<"a\\\nb"@c.example>'])
def test_control_characters_go_nowhere(plain: Alone, line: bytes) -> None:
    with ready(plain) as peer:
        assert peer.say(line + b"\r\n")[0] in (500, 501, 553, 555)
    assert not any("\r" in text or "\0" in text for text in plain.log())
    assert all(re.match(r"pymta-smtpd: [a-z-]+( [a-z_]+=|$)", text) for text in plain.log())


# ---- the text's end -----------------------------------------------------------------------------------------------------
SMUGGLED = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\r.\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n"]


@pytest.mark.parametrize("end", SMUGGLED)
def test_smuggling(plain: Alone, end: bytes) -> None:
    """CVE-2023-51764, -51765, -51766: none of these ends the text; nothing is queued; the session is over."""
    with ready(plain) as peer:
        wire = TO_ALICE + b"Subject: a\r\n\r\nb" + end + TO_ALICE.replace(b"ann", b"evil") + b"smuggled\r\n.\r\nQUIT\r\n"
        peer.sock.sendall(wire)
        replies = [peer.reply() for _ in range(5)]
    assert [code for code, _ in replies] == [250, 250, 354, 550, 0]
    assert replies[3][1].startswith(b"550 5.6.0 ")
    assert plain.names(f"{INTAKE}/new") == plain.names(f"{INTAKE}/tmp") == []


def test_nul_is_refused(plain: Alone) -> None:
    with ready(plain) as peer:
        assert peer.say(TO_ALICE + b"a\0b\r\n.\r\nNOOP\r\n", 5) == [250, 250, 354, 550, 0]
    assert plain.names(f"{INTAKE}/new") == []


def test_a_dot_in_the_place_of_a_command_changes_nothing(plain: Alone) -> None:
    with ready(plain) as peer:
        assert peer.say(b"MAIL FROM:<ann@client.example>\r\nRCPT TO:<alice@example.test>\r\n.\r\nDATA\r\n", 4) == [250, 250, 500, 354]
        assert peer.say(b"Subject: x\r\n\r\nx\r\n.\r\n") == [250]
    [(envelope, _)] = plain.queued(INTAKE)
    assert (envelope.sender, [one.address for one in envelope.recipients]) == (b"ann@client.example", [b"alice@example.test"])


def test_a_web_browser_is_cut_off(plain: Alone) -> None:
    with Peer(plain.port["smtp"]) as peer:
        codes = peer.say(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO a\r\n" + TO_ALICE + b"x\r\n.\r\n", 3)
        assert codes == [220, 500, 0]
    assert plain.names(f"{INTAKE}/new") == []


# ---- limits ---------------------------------------------------------------------------------------------------------------
def test_size(strict: Alone) -> None:
    with ready(strict) as peer:
        assert peer.say(b"MAIL FROM:<> SIZE=300001\r\n") == [552]
        peer.sock.sendall(b"MAIL FROM:<> SIZE=300000\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n")
        assert [peer.reply()[0] for _ in range(3)] == [250, 250, 354]
        for _ in range(400):                            # 4 MB
            peer.sock.sendall(b"x" * 9998 + b"\r\n")
        peer.sock.sendall(b".\r\n")
        assert peer.reply()[1].startswith(b"552 5.3.4 ")
        assert strict.names(f"{INTAKE}/new") == strict.names(f"{INTAKE}/tmp") == []
        assert peer.say(TO_ALICE + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]


def test_hops_far_down(plain: Alone) -> None:
    """A header so long that it comes in several pieces."""
    text = b"X: " + b"y" * 400_000 + b"\r\n" + b"Received: from x\r\n" * 51 + b"Subject: x\r\n\r\nx\r\n"
    with ready(plain) as peer:
        peer.sock.sendall(TO_ALICE + text + b".\r\n" + TO_ALICE + text.replace(b"Received", b"Return-path") + b".\r\n")
        assert [peer.reply()[1][:9] for _ in range(8)][3::4] == [b"554 5.4.6", b"250 2.0.0"]
    (_, data), = plain.queued(INTAKE)
    assert b"\nReturn-path" not in data and data.count(b"X-Return-Path: from x\n") == 51


def test_a_line_of_an_mbox_on_top(plain: Alone) -> None:
    with ready(plain) as peer:
        assert peer.say(TO_ALICE + b"From ann Sat Aug  1 12:00:00 2026\r\nSubject: x\r\n\r\nx\r\n.\r\n", 4)[-1] == 250
    (_, data), = plain.queued(INTAKE)
    assert data.endswith(b"\nX-Mailbox-Line: From ann Sat Aug  1 12:00:00 2026\nSubject: x\n\nx\n")


def test_hops(strict: Alone) -> None:
    with ready(strict) as peer:
        assert peer.say(TO_ALICE + b"Received: a\r\n" * 5 + b"\r\n.\r\n", 4) == [250, 250, 354, 250]
        peer.sock.sendall(TO_ALICE + b"Received: a\r\n" * 6 + b"\r\n.\r\n")
        assert [peer.reply()[1][:9] for _ in range(4)][-1] == b"554 5.4.6"
    assert len(strict.names(f"{INTAKE}/new")) == 1


def test_recipients(strict: Alone) -> None:
    with ready(strict) as peer:
        peer.say(b"MAIL FROM:<>\r\n")
        peer.sock.sendall(b"RCPT TO:<both@example.test>\r\nRCPT TO:<out@example.test>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<alice@example.test>\r\n")
        # the second would be four after aliases; the fourth is over the limit of one transaction
        assert [peer.reply()[1][:9] for _ in range(4)] == [b"250 2.1.5", b"452 4.5.3", b"250 2.1.5", b"452 4.5.3"]


def test_too_many_errors(strict: Alone) -> None:
    with ready(strict) as peer:
        assert peer.say(b"FOO\r\n" * 4, 5) == [500, 500, 500, 421, 0]


def test_long_lines(plain: Alone) -> None:
    with ready(plain) as peer:
        assert peer.say(b"NOOP " + b"x" * 5000 + b"\r\n") == [500]
        assert peer.say(b"x" * 1_000_000)[0] in (500, 0)
        assert peer.reply()[0] == 0


def test_silence_ends_a_session(strict: Alone) -> None:
    with ready(strict) as peer:
        assert peer.reply()[1].startswith(b"421 4.4.2 ") and peer.reply()[0] == 0


def test_dripping_ends_a_session(strict: Alone) -> None:
    """A peer that always says something, and never anything whole, is not there for ever."""
    start = time.monotonic()
    with ready(strict) as peer:
        peer.say(TO_ALICE, 3)
        peer.sock.settimeout(0.1)
        while time.monotonic() < start + 20:
            try:
                peer.sock.sendall(b"x")
                if not peer.sock.recv(100):
                    break
            except TimeoutError:
                pass
            except OSError:
                break
    assert time.monotonic() < start + 15
    wait_until(lambda: strict.names(f"{INTAKE}/tmp") == [], 5)


def test_too_many_sessions(strict: Alone) -> None:
    def codes() -> list[int]:
        peers = [Peer(strict.port["smtp"]) for _ in range(5)]
        try:
            return sorted(peer.reply()[0] for peer in peers)
        finally:
            for peer in peers:
                peer.close()

    wait_until(lambda: codes() == [220, 220, 220, 220, 421], 10)    # not before the end of those that were there has been heard
    wait_until(lambda: opens(strict), 5)


def opens(daemon: Alone) -> bool:
    with Peer(daemon.port["smtp"]) as peer:
        return peer.reply()[0] == 220


def test_who_says_no_more_still_hears_the_answers(plain: Alone) -> None:
    """A script that pipes a whole session into the socket: without its 250 it would send the message again."""
    with ready(plain) as peer:
        peer.sock.sendall(TO_ALICE + b"Subject: x\r\n\r\nx\r\n.\r\n" + TO_ALICE + b"Subject: y\r\n\r\ny\r\n.\r\nNOOP\r\n")
        peer.sock.shutdown(socket.SHUT_WR)
        assert [peer.reply()[0] for _ in range(10)] == [250, 250, 354, 250, 250, 250, 354, 250, 250, 0]
    assert len(plain.queued(INTAKE)) == 2


def test_gone_in_the_middle(plain: Alone) -> None:
    for wire in (TO_ALICE, TO_ALICE + b"x\r\n" * 10, TO_ALICE + b"x" * 600_000, TO_ALICE + b"x\r\n.\r"):
        with ready(plain) as peer:
            peer.say(wire, 3)
    wait_until(lambda: plain.names(f"{INTAKE}/tmp") == [], 5)
    assert plain.names(f"{INTAKE}/new") == []


# ---- trouble here is never the client's ---------------------------------------------------------------------------------
def test_a_full_disk() -> None:
    with Alone("pymta-smtpd", ("smtp",), {"queue.free_min": "900000G", "smtp.workers": "1"}, FILES) as daemon, ready(daemon) as peer:
        peer.sock.sendall(b"MAIL FROM:<>\r\n")
        assert peer.reply()[1].startswith(b"452 4.3.1 ")
        assert peer.say(b"NOOP\r\n") == [250]


def test_an_intake_that_cannot_be_written(plain: Alone) -> None:
    place = os.path.join(plain.spool, INTAKE, "tmp")
    with ready(plain) as peer:
        os.rename(place, place + "-away")
        try:
            for text in (b"x\r\n", b"x" * 400_000 + b"\r\n"):
                assert peer.say(TO_ALICE + text + b".\r\n", 4) == [250, 250, 354, 451]
        finally:
            os.rename(place + "-away", place)
        assert peer.say(TO_ALICE + b"x\r\n.\r\n", 4) == [250, 250, 354, 250]
    assert len(plain.queued(INTAKE)) == 1 and plain.log("trouble") and not plain.log("bug")


def test_stop_and_start_again() -> None:
    with Alone("pymta-smtpd", ("smtp",), {"smtp.workers": "1"}, FILES) as daemon, ready(daemon) as peer:
        peer.say(TO_ALICE + b"x" * 600_000, 3)
        wait_until(lambda: len(daemon.names(f"{INTAKE}/tmp")) == 1, 5)
        assert daemon.stop() == 0
        assert peer.reply()[1].startswith(b"421 4.3.2 ")
        assert daemon.names(f"{INTAKE}/tmp") == [] and not daemon.log("bug")


def test_what_a_crash_left_is_tidied() -> None:
    with Alone("pymta-smtpd", ("smtp",), {"smtp.workers": "1"}, FILES) as daemon, ready(daemon) as peer:
        peer.say(TO_ALICE + b"x" * 600_000, 3)
        wait_until(lambda: len(daemon.names(f"{INTAKE}/tmp")) == 1, 5)
        os.killpg(daemon.process.pid, 9)
        daemon.process.wait()
        assert len(daemon.names(f"{INTAKE}/tmp")) == 1
        os.rmdir(os.path.join(daemon.spool, INTAKE, "tmp", "0"))       # a directory that is missing is made
        with Alone("pymta-smtpd", ("smtp",), {"smtp.workers": "1"}, FILES, spool=daemon.spool) as again, ready(again) as other:
            assert daemon.names(f"{INTAKE}/tmp") == [] and again.log("tidy")
            assert os.path.isdir(os.path.join(daemon.spool, INTAKE, "tmp", "0"))
            assert other.say(TO_ALICE + b"x\r\n.\r\n", 4)[-1] == 250


# ---- TLS and logins -------------------------------------------------------------------------------------------------------
def trust(daemon: Alone) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.path.join(daemon.etc, "tls", "ca.pem"))


def test_tls_on_the_mx_port(secure: Alone) -> None:
    with smtplib.SMTP("127.0.0.1", secure.port["smtp"], local_hostname="c.example") as client:
        client.ehlo()
        assert client.has_extn("starttls") and not client.has_extn("auth")
        client.starttls(context=trust(secure))
        client.ehlo()
        assert not client.has_extn("starttls") and not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGFsaWNlAHB3")[0] == 502
        client.sendmail("ann@client.example", ["alice@example.test"], "A: b\r\n")
    [(_, message)] = secure.queued(INTAKE)
    assert re.search(rb" with ESMTPS id \w+\n\t\(TLSv1\.[23] [A-Z0-9_-]+\)\n", message)
    assert "tls=TLSv1." in secure.log("accept")[-1]


def test_nothing_gets_in_behind_starttls(secure: Alone) -> None:
    with ready(secure) as peer:
        peer.sock.sendall(b"STARTTLS\r\n" + TO_ALICE + b"evil\r\n.\r\n")
        assert [peer.reply()[0] for _ in range(2)] == [503, 0]
    with ready(secure) as peer:                         # EHLO is needed again
        assert peer.say(b"STARTTLS\r\n") == [220]
        with trust(secure).wrap_socket(peer.sock, server_hostname="localhost") as wrapped:
            wrapped.sendall(b"MAIL FROM:<>\r\n")
            assert wrapped.recv(100).startswith(b"503 ")
    assert secure.names(f"{INTAKE}/new") == []


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_submission(secure: Alone, listener: str) -> None:
    context = trust(secure)
    client = smtplib.SMTP_SSL("localhost", secure.port[listener], context=context) if listener == "submissions" else \
        smtplib.SMTP("localhost", secure.port[listener])
    with client:
        client.ehlo("laptop")
        if listener == "submission":
            assert not client.has_extn("auth")
            assert client.docmd("AUTH", "PLAIN AGFsaWNlAHB3")[0] == 530
            assert client.docmd("MAIL", "FROM:<alice@example.test>") == (530, b"5.7.0 issue a STARTTLS command first")
            client.starttls(context=context)
            client.ehlo("laptop")
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
        assert client.docmd("MAIL", "FROM:<alice@example.test>") == (530, b"5.7.0 authentication required")
        for user, word in (("alice@example.test", "wrong"), ("nobody@example.test", PASSWORD)):
            with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
                client.login(user, word)
            assert caught.value.smtp_code == 535
        client.user, client.password = "alice@example.test", PASSWORD
        assert client.auth("PLAIN" if listener == "submission" else "LOGIN", client.auth_plain if listener == "submission" else client.auth_login)[0] == 235
        client.sendmail("alice@example.test", ["ann@elsewhere.test", "bob@example.test"],
                        "Subject: x\r\nBcc: secret@elsewhere.test\r\n\r\nbody\r\n")
    [(envelope, message)] = secure.queued(INTAKE)
    assert {one.kind for one in envelope.recipients} == {LOCAL, REMOTE}
    parsed = email.message_from_bytes(message)
    assert parsed.keys()[0] == "Received" and " with ESMTPSA id " in parsed["Received"]
    assert parsed["From"] == "alice@example.test" and parsed["Date"] and parsed["Message-ID"].endswith("@mx.example.test>")
    assert parsed["Bcc"] is None and b"secret" not in message and parsed.get_payload() == "body\n"
    assert "login=alice@example.test" in secure.log("accept")[-1]
    assert PASSWORD not in "\n".join(secure.log())


def test_a_failed_login_opens_nothing(secure: Alone) -> None:
    """RCPT after a failed AUTH is as it was before."""
    with smtplib.SMTP_SSL("localhost", secure.port["submissions"], context=trust(secure)) as client:
        client.ehlo("x")
        assert client.docmd("AUTH", "PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAB3cm9uZw==")[0] == 535
        assert client.docmd("MAIL", "FROM:<>")[0] == 530 and client.docmd("RCPT", "TO:<a@elsewhere.test>")[0] == 503


def test_a_long_header_is_completed_whole(secure: Alone) -> None:
    """Its end comes in a later piece than its beginning, wherever it is cut."""
    everybody = ",\r\n ".join(f"somebody-with-a-name-{n}@example.test" for n in range(3000))
    with smtplib.SMTP_SSL("localhost", secure.port["submissions"], context=trust(secure)) as client:
        client.login("alice@example.test", PASSWORD)
        client.sendmail("alice@example.test", ["bob@example.test"], f"Subject: x\r\nTo: {everybody}\r\nBcc: secret@x.example\r\n\r\n" + "body\r\n" * 50_000)
    [(_, message)] = secure.queued(INTAKE)
    parsed = email.message_from_bytes(message)
    assert set(parsed.keys()) == {"Received", "Subject", "To", "From", "Date", "Message-ID"} and parsed["To"].count("@") == 3000
    assert parsed.get_payload() == "body\n" * 50_000


def test_header_of_a_submission_must_end(secure: Alone) -> None:
    with smtplib.SMTP_SSL("localhost", secure.port["submissions"], context=trust(secure)) as client:
        client.login("alice@example.test", PASSWORD)
        with pytest.raises(smtplib.SMTPDataError) as caught:
            client.sendmail("alice@example.test", ["bob@example.test"], "X: " + "y" * 70 + "\r\n" + ("Z: " + "y" * 70 + "\r\n") * 5000 + "Bcc: a@b\r\n\r\n")
        assert caught.value.smtp_code == 552
    assert secure.names(f"{INTAKE}/new") == secure.names(f"{INTAKE}/tmp") == []


@pytest.mark.parametrize("bite", [0, 1], ids=["whole", "bytes"])
@pytest.mark.parametrize("transcript", transcripts("smtp"))
def test_transcript(secure: Alone, transcript: Transcript, bite: int) -> None:
    if bite and transcript.option("whole"):
        pytest.skip(transcript.option("whole"))
    listener = transcript.option("listener", "smtp")
    if listener == "front":
        pytest.skip("test_smtpd_extensions has a daemon that knows front ends")
    with SocketPeer("127.0.0.1", secure.port[listener], tls=trust(secure), at_once=listener == "submissions", bite=bite) as peer:
        play(transcript, peer)
    assert not secure.log("bug")


# ---- children that die ----------------------------------------------------------------------------------------------------
def children(daemon: Alone) -> list[int]:
    with open(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def test_any_child_may_be_killed() -> None:
    """Worker, password child, committing child, counting child: each comes back, nothing that was acknowledged is lost, nothing is refused for good."""
    with Alone("pymta-smtpd", ("smtp",), {"smtp.workers": "1"}, FILES) as daemon:
        acknowledged = set()
        for number, pid in enumerate([0, *children(daemon)]):
            if pid:
                os.kill(pid, 9)
            end, attempt = time.monotonic() + 20, 0
            while number not in acknowledged:
                assert time.monotonic() < end, daemon.log()
                attempt += 1
                try:
                    with ready(daemon) as peer:
                        codes = peer.say(TO_ALICE + b"Subject: %d %d\r\n\r\n.\r\n" % (number, attempt), 4)
                        assert 250 <= max(codes) < 500 or codes[3] == 0
                        if codes[3] == 250:
                            acknowledged.add(number)
                except (AssertionError, ConnectionError):
                    time.sleep(0.05)
        subjects = [email.message_from_bytes(message)["Subject"].split()[0] for _, message in daemon.queued(INTAKE)]
        assert {int(word) for word in subjects} == acknowledged == {0, 1, 2, 3, 4} and not daemon.log("bug")
