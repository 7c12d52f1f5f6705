"""pymta-smtpd among strangers: who talks too soon, too much, or to nobody who is there; and that others do not notice."""
from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from pymta.formats import queuefile
from pymta.queue import full
from tests.alone import Alone
from tests.nameserver import NameServer
from tests.peer import Peer as OtherHost
from tests.running import wait_until
from tests.strangers import Flood, SlowOnes, send

INTAKE = "in/smtpd"
FILES = {"users": "alice:quota=100K\nbob\n", "aliases": "both: alice, bob\nself: self\ndead: nobody-here\nring: gnir\ngnir: ring\nonly: alice\n",
         "relay_recipients": "ann@branch.test\n@gate.test\n"}
QUIET = {"smtp.trusted": "", "smtp.greet_delay": "0s", "smtp.tarpit": "0s", "smtp.early_talk": "no", "local.relay_domains": "branch.test gate.test"}


def start(**given: str) -> Alone:
    return Alone("pymta-smtpd", ("smtp",), {**QUIET, **{name.replace("__", "."): value for name, value in given.items()}}, FILES)


class Peer:
    """A client with an address of its own."""

    def __init__(self, daemon: Alone, source: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection(("127.0.0.1", daemon.port["smtp"]), timeout=30, source_address=(source, 0))
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()

    def reply(self) -> bytes:
        """The last line of a reply; b"" at the end."""
        try:
            while (line := self.file.readline())[3:4] == b"-":
                pass
            return line
        except ConnectionResetError:
            return b""

    def ask(self, *lines: bytes) -> list[bytes]:
        """The first nine characters of the reply to each line."""
        out = []
        for line in lines:
            try:
                self.sock.sendall(line + b"\r\n")
            except OSError:
                pass
            out.append(self.reply()[:9])
        return out

    def quiet(self) -> bool:
        """Whether nothing has come."""
        return not select.select([self.sock], [], [], 0)[0]


def ready(daemon: Alone, source: str = "127.0.0.1", name: bytes = b"c.example") -> Peer:
    peer = Peer(daemon, source)
    assert peer.reply().startswith(b"220 ")
    assert peer.ask(b"EHLO " + name)[0].startswith(b"250")
    return peer


MAIL = b"MAIL FROM:<ann@client.example>"


# ---- manners ----------------------------------------------------------------------------------------------------------
def test_who_talks_before_the_greeting_is_cut_off() -> None:
    with start(smtp__early_talk="greeting", smtp__greet_delay="1s") as daemon:
        with Peer(daemon) as early, Peer(daemon) as patient:
            early.sock.sendall(b"EHLO early.example\r\nMAIL FROM:<a@b.example>\r\n")
            assert early.reply().startswith(b"554 5.5.1 ") and early.reply() == b""
            assert patient.reply().startswith(b"220 ")
            assert [reply[:4] for reply in patient.ask(b"EHLO a.example", MAIL)] == [b"250 ", b"250 "]
        assert not daemon.names(f"{INTAKE}/new")
        line, = [line for line in daemon.log("refuse") if "5.5.1" in line]
        assert "client=127.0.0.1" in line and "turn" in line


def test_who_has_talked_already_is_cut_off_without_a_delay() -> None:
    with start(smtp__early_talk="greeting", smtp__workers="1") as daemon:
        children = [int(pid) for pid in subprocess.run(["pgrep", "-P", str(daemon.process.pid)], capture_output=True, text=True).stdout.split()]
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        with Peer(daemon) as early:
            early.sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO a\r\nMAIL FROM:<a@b.example>\r\n")
            for pid in children:
                os.kill(pid, signal.SIGCONT)
            assert early.reply().startswith(b"554 5.5.1 ") and early.reply() == b""
        ready(daemon).sock.close()


def test_who_does_not_wait_for_the_answer_to_ehlo() -> None:
    with start(smtp__early_talk="strict") as daemon:
        with Peer(daemon) as peer:
            assert peer.reply().startswith(b"220 ")
            peer.sock.sendall(b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n")
            assert peer.reply().startswith(b"554 5.5.1 ") and peer.reply() == b""
        with ready(daemon) as peer:
            peer.sock.sendall(MAIL + b"\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n")
            assert [peer.reply()[:3] for _ in range(3)] == [b"250", b"250", b"354"]


def test_who_had_mail_accepted_does_not_wait_for_the_greeting() -> None:
    with start(smtp__early_talk="greeting", smtp__greet_delay="3s") as daemon:
        assert send(daemon.port["smtp"], "127.0.5.1") > 2.9
        with Peer(daemon, "127.0.5.2") as other, Peer(daemon, "127.0.5.1") as known:
            assert known.reply().startswith(b"220 ") and other.quiet()


@pytest.fixture(scope="module")
def open_house() -> Iterator[Alone]:
    """Nothing is limited."""
    with start() as daemon:
        yield daemon


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"POST /x HTTP/1.1", b"Host: mx.example.test", b"HOST:mx", b"CONNECT a:25 HTTP/1.0", b"OPTIONS * HTTP/1.1"])
def test_browsers_are_cut_off(open_house: Alone, line: bytes) -> None:
    with Peer(open_house) as peer:
        peer.sock.sendall(line + b"\r\nContent-Length: 60\r\n\r\nEHLO c.example\r\nMAIL FROM:<a@b.example>\r\n")
        assert peer.reply().startswith(b"220 ")
        assert peer.reply()[:10] == b"500 5.5.1 " and peer.reply() == b""


def test_a_text_without_leave_is_no_text(open_house: Alone) -> None:
    with ready(open_house) as peer:
        peer.sock.sendall(MAIL + b"\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\nSubject: x\r\n.\r\nRSET\r\n")
        assert [peer.reply()[:3] for _ in range(6)] == [b"250", b"550", b"503", b"500", b"500", b"250"]
    assert not open_house.names(f"{INTAKE}/new")


def test_nobody_is_told_who_lives_here(open_house: Alone) -> None:
    with ready(open_house) as peer:
        assert len(set(peer.ask(b"VRFY bob", b"VRFY nobody", b"VRFY <bob@example.test>"))) == 1
        assert len(set(peer.ask(b"EXPN both", b"EXPN nobody"))) == 1


def test_helo_check() -> None:
    with start(smtp__helo_check="strict") as daemon:
        with Peer(daemon) as peer:
            assert peer.reply().startswith(b"220 ")
            assert peer.ask(b"EHLO mx.example.test", b"EHLO localhost", b"HELO a_b!.example", MAIL) == \
                [b"550 5.7.1", b"501 5.5.2", b"501 5.5.2", b"503 5.5.1"]
            assert [reply[:4] for reply in peer.ask(b"EHLO [127.0.0.1]", MAIL)] == [b"250 ", b"250 "]


def test_a_refused_name_leaves_the_transaction_as_it_is() -> None:
    first = b"Subject: x\r\n\r\n" + 3000 * (b"x" * 98 + b"\r\n")               # too long to wait in memory
    with start(smtp__helo_check="strict") as daemon:
        with ready(daemon) as peer:
            peer.ask(MAIL, b"RCPT TO:<alice@example.test>")
            peer.sock.sendall(b"BDAT %d\r\n%s" % (len(first), first))
            assert peer.reply()[:4] == b"250 " and peer.ask(b"EHLO mx.example.test") == [b"550 5.7.1"]
            peer.sock.sendall(b"BDAT 5 LAST\r\nend\r\n")
            assert peer.reply()[:4] == b"250 "
        (_, message), = daemon.queued(INTAKE)
        assert message.endswith(first.replace(b"\r\n", b"\n") + b"end\n") and message.startswith(b"Received: from c.example ")


def test_ptr() -> None:
    zone: dict = {"1.0.0.127.in-addr.arpa": {"PTR": ["good.client.example."]}, "good.client.example": {"A": ["127.0.0.1"]},
                  "3.0.0.127.in-addr.arpa": {"PTR": "SILENT"}}
    with NameServer(zone) as server, \
            start(smtp__require_ptr="yes", dns__server=f"127.0.0.1:{server.address[1]}", dns__timeout="3s") as daemon:
        with ready(daemon, "127.0.0.3") as silent, ready(daemon, "127.0.0.2") as nameless:
            silent.sock.sendall(MAIL + b"\r\n")
            assert nameless.ask(MAIL) == [b"550 5.7.2"]
            send(daemon.port["smtp"], "127.0.0.1")
            assert silent.reply()[:9] == b"451 4.4.3"
        accept, = daemon.log("accept")
        assert "ptr=good.client.example" in accept
        with ready(daemon, "127.0.0.3") as impatient:           # it goes while the DNS is asked
            impatient.sock.sendall(MAIL + b"\r\n")
        send(daemon.port["smtp"], "127.0.0.1")
        assert not daemon.log("bug")


# ---- crowds -----------------------------------------------------------------------------------------------------------
def test_sessions_of_a_client_and_of_a_network() -> None:
    with start(smtp__client_sessions="2", smtp__network_sessions="3") as daemon:
        peers, said = [], []
        for source in ("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1", "127.0.1.1"):
            peers.append(Peer(daemon, source))
            said.append(peers[-1].reply()[:9])          # one after the other: two workers may each let in the last one at the same moment
        assert said == [b"220 mx.ex"] * 3 + [b"421 4.7.0"] * 2 + [b"220 mx.ex"]
        peers[0].__exit__()
        wait_until(lambda: opens(daemon, "127.0.0.3"))
        for peer in peers[1:]:
            peer.__exit__()
        assert any("network" in line for line in daemon.log("refuse"))


def opens(daemon: Alone, source: str) -> bool:
    with Peer(daemon, source) as peer:
        return peer.reply().startswith(b"220 ")


def test_a_worker_that_dies_takes_its_count_with_it() -> None:
    with start(smtp__client_sessions="1", smtp__workers="1") as daemon:
        with Peer(daemon) as peer:
            assert peer.reply().startswith(b"220 ") and not opens(daemon, "127.0.0.1")
            for pid in subprocess.run(["pgrep", "-P", str(daemon.process.pid)], capture_output=True, text=True).stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            wait_until(lambda: sum("ended" in line for line in daemon.log("trouble")) >= 3)
        wait_until(lambda: opens(daemon, "127.0.0.1"))


def test_connections_a_minute() -> None:
    with start(smtp__client_connects="5", smtp__network_connects="8") as daemon:
        assert sum(opens(daemon, "127.0.0.1") for _ in range(12)) == 5
        assert sum(opens(daemon, "127.0.0.2") for _ in range(12)) == 3
        assert opens(daemon, "127.0.1.1")


def test_messages_a_minute() -> None:
    with start(smtp__client_messages="2") as daemon:
        for _ in range(2):
            send(daemon.port["smtp"], "127.0.0.1")
        with ready(daemon) as peer, ready(daemon, "127.0.0.2") as other:
            assert peer.ask(MAIL, b"NOOP") == [b"450 4.7.1", b"250 2.0.0"]
            assert other.ask(MAIL) == [b"250 2.1.0"]


def test_the_trusted_and_relay_from_are_not_limited() -> None:
    for given in ({"smtp__trusted": "127.0.0.0/8"}, {"smtp__relay_from": "127.0.0.0/24"}):
        with start(smtp__client_sessions="1", smtp__client_messages="1", smtp__early_talk="strict", smtp__greet_delay="20s", **given) as daemon:
            with Peer(daemon) as one, Peer(daemon) as two:
                for peer in (one, two):
                    peer.sock.sendall(b"EHLO a.example\r\n" + MAIL + b"\r\n")
                    assert [peer.reply()[:3] for _ in range(3)] == [b"220", b"250", b"250"]


def test_the_tarpit_slows_one_and_no_other() -> None:
    with start(smtp__tarpit="30s", smtp__tarpit_after="0") as daemon:
        peers = [ready(daemon) for _ in range(6)]
        for peer in peers:
            peer.sock.sendall(MAIL + b"\r\nRCPT TO:<nobody@example.test>\r\nNOOP\r\n")
        speaks, = select.select([peer.sock for peer in peers], [], [], 20)[0][:1]
        first = next(peer for peer in peers if peer.sock is speaks)
        assert [first.reply()[:3] for _ in range(3)] == [b"250", b"550", b"250"]
        send(daemon.port["smtp"], "127.0.1.1")
        assert sum(peer.quiet() for peer in peers if peer is not first) >= 2         # 16 s and more
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)                  # who sits there does not keep the daemon
        assert daemon.process.wait(15) == 0 and time.monotonic() - began < 12
        for peer in peers:
            peer.__exit__()


def test_who_speaks_on_in_the_tarpit_is_not_heard_sooner() -> None:
    with start(smtp__tarpit="30s", smtp__tarpit_after="0") as daemon, ready(daemon) as peer:
        peer.sock.sendall(3 * b"NONSENSE\r\n")
        assert [peer.reply()[:3] for _ in range(2)] == [b"500", b"500"]         # after 1 and 2 seconds; the third wants 4 more
        for _ in range(10):
            peer.sock.sendall(b"NOOP\r\n")
            time.sleep(0.02)
        assert peer.quiet()


# ---- recipients -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("address, reply", [
    (b"ann@branch.test", b"250 2.1.5"), (b"ANN@Branch.Test", b"250 2.1.5"), (b"gone@branch.test", b"550 5.1.1"), (b"anything@gate.test", b"250 2.1.5"),
    (b"x@sub.branch.test", b"550 5.7.1"), (b"ann%elsewhere.test@branch.test", b"550 5.1.1"), (b"elsewhere.test!ann@branch.test", b"550 5.1.1"),
    (b'"ann@elsewhere.test"@branch.test', b"550 5.1.1"), (b"ann@elsewhere.test@branch.test", b"553 5.1.3"), (b"@branch.test:ann@elsewhere.test", b"550 5.7.1"),
    (b"ann@branch.test.", b"553 5.1.3"), (b"dead@example.test", b"550 5.1.1"), (b"self@example.test", b"550 5.1.1"), (b"ring@example.test", b"554 5.4.6"), (b"nobody@example.test", b"550 5.1.1"),
])
def test_recipients(open_house: Alone, address: bytes, reply: bytes) -> None:
    with ready(open_house) as peer:
        assert peer.ask(MAIL, b"RCPT TO:<%s>" % address)[1:] == [reply]


def test_mail_for_a_relay_domain_goes_on() -> None:
    with start() as daemon:
        with ready(daemon) as peer:
            peer.ask(MAIL, b"RCPT TO:<ann@branch.test>", b"DATA", b"Subject: x\r\n\r\nx\r\n.")
        (envelope, _), = daemon.queued(INTAKE)
        assert [(one.kind, one.address) for one in envelope.recipients] == [(queuefile.REMOTE, b"ann@branch.test")]


def test_a_list_of_recipients_is_live(open_house: Alone) -> None:
    path = os.path.join(open_house.etc, "relay_recipients")
    with ready(open_house) as peer:
        assert peer.ask(MAIL, b"RCPT TO:<new@branch.test>")[1] == b"550 5.1.1"
        with open(path, "a", encoding="ascii") as file:
            file.write("new@branch.test\n")
        wait_until(lambda: peer.ask(b"RSET", MAIL, b"RCPT TO:<new@branch.test>")[2] == b"250 2.1.5")


def test_a_full_mailbox() -> None:
    with start() as daemon:
        with ready(daemon) as peer:
            sizes = [b"RSET", MAIL + b" SIZE=200000", b"RCPT TO:<alice@example.test>", b"RCPT TO:<bob@example.test>"]
            assert peer.ask(*sizes)[2:] == [b"552 5.2.3", b"250 2.1.5"]
            assert peer.ask(b"RSET", MAIL, b"RCPT TO:<alice@example.test>")[2] == b"250 2.1.5"
            path = os.path.join(daemon.spool, full.PLACE, "alice@example.test")
            with open(path, "wb") as file:
                file.write(full.encode(full.Mark("alice@example.test", 100, 5000, 102400)))
            wait_until(lambda: peer.ask(b"RSET", MAIL, b"RCPT TO:<alice@example.test>")[2] == b"452 4.2.2")
            assert peer.ask(b"RCPT TO:<alice+x@example.test>", b"RCPT TO:<only@example.test>", b"RCPT TO:<both@example.test>", b"RCPT TO:<bob@example.test>") == \
                [b"452 4.2.2", b"452 4.2.2", b"250 2.1.5", b"250 2.1.5"]
            os.unlink(path)
            wait_until(lambda: peer.ask(b"RSET", MAIL, b"RCPT TO:<alice@example.test>")[2] == b"250 2.1.5")


def test_quota_in_the_whole_system(sandbox_factory) -> None:
    sandbox = sandbox_factory(set=["local.quota=20K", "queue.retry=1s,1s,1s"])
    text = "Subject: big\n\n" + "x" * 70 + "\n"
    for number in range(2):
        sandbox.send("alice@example.test", text + ("y" * 70 + "\n") * 100)
        sandbox.wait_mail(min(number + 1, 2))
    wait_until(lambda: _code(sandbox, "alice") == 250)
    sandbox.send("alice@example.test", text + ("y" * 70 + "\n") * 90)      # nobody knew
    wait_until(lambda: _code(sandbox, "alice", 6000) == 452)
    assert _code(sandbox, "alice", 100) == 250                              # so much fits
    assert _code(sandbox, "bob") == 250
    with sandbox.imap() as client:
        client.select("INBOX")
        client.store("1:*", "+FLAGS", r"\Deleted")
        client.expunge()
    sandbox.wait_mail(1, seconds=60)                                        # it comes, since there is room
    wait_until(lambda: _code(sandbox, "alice") == 250, 90)


def _code(sandbox, user: str, size: int = 0) -> int:
    with sandbox.smtp() as client:
        client.ehlo("c.example")
        client.mail("ann@client.example", [f"SIZE={size}"] if size else [])
        return client.rcpt(f"{user}@example.test")[0]


# ---- all at once ------------------------------------------------------------------------------------------------------
def test_others_are_served_all_the_while() -> None:
    """200 who say an octet a second and a network that connects without end."""
    with start(smtp__client_sessions="10", smtp__network_sessions="45", smtp__network_connects="200", smtp__workers="2") as daemon:
        port = daemon.port["smtp"]
        with SlowOnes(port, 200, pause_s=0.5) as slow, Flood(port) as flood:
            wait_until(lambda: slow.greeted >= 200 and flood.refused >= 50, explain=lambda: f"{slow.open} open, {slow.greeted} greeted, {flood.tried} tried, {flood.refused} refused")
            for number in range(20):
                send(port, f"127.3.{number}.1")
            assert slow.open == 200 and slow.refused == 0
        assert len(daemon.log("accept")) == 20
        assert len(daemon.log("refuse")) < 20                       # a flood is not a flood of lines
        assert not daemon.log("bug")


def test_a_relay_domain_in_the_whole_system(sandbox_factory) -> None:
    """Mail for those on the list goes to the other host; nobody hears of the rest."""
    with OtherHost() as other:
        sandbox = sandbox_factory(set=["local.relay_domains=branch.test"], transport=[f"branch.test=127.0.0.1:{other.port}"])
        with open(os.path.join(sandbox.ends["etc"], "relay_recipients"), "w", encoding="ascii") as file:
            file.write("ann@branch.test\n")
        sandbox.send("ann@branch.test")
        wait_until(lambda: len(other.mails) == 1)
        with sandbox.smtp() as client:
            client.ehlo("c.example")
            client.mail("forged@victim.example")
            assert [client.rcpt(address)[0] for address in ("gone@branch.test", "x@sub.branch.test", "nobody@example.test")] == [550] * 3
        assert "bounce " not in sandbox.log() and len(other.mails) == 1
