"""pymta-remote as a process of its own, against hosts that take mail, refuse it, hang, lie and cut the line."""
from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trustme

from pymta import clock, layout
from pymta.formats import queuefile, report
from pymta.formats.queuefile import REMOTE, Envelope, Record, Recipient
from tests.nameserver import NameServer
from tests.peer import Cut, Hang, Mail, Peer, Script, Talk
from tests.running import ROOT, new_directory, wait_until

NOBODY = 65534
MESSAGE = b"Received: from x\nSubject: test\n\nhello\n.dot\n"


class Remote:
    """A spool, settings, and the program on them.  Each test puts files in and sees what becomes of them."""

    def __init__(self, transports: dict[str, Peer | str] | None = None, **given: object) -> None:
        self.directory = new_directory()
        self.spool = f"{self.directory}/spool"
        self.ids = queuefile.Ids()
        os.mkdir(f"{self.directory}/etc")
        layout.make_spool(self.spool, single_uid=True)
        lines = {"host.name": "us.example", "host.spool": self.spool, "remote.timeout": "60s", "remote.connect_timeout": "60s", "dns.timeout": "20s",
                 "dns.server": "127.0.0.1:1", **{key.replace("_", ".", 1): value for key, value in given.items()}}
        self._write("etc/pymta.conf", "".join(f"{key} = {value}\n" for key, value in lines.items()))
        self.transports(transports or {})
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", self.directory], check=True)
        self.process: subprocess.Popen[bytes] | None = None

    def _write(self, name: str, text: str) -> None:
        with open(f"{self.directory}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def transports(self, routes: dict[str, Peer | str]) -> None:
        self._write("etc/transports", "".join(
            f"{domain} {to if isinstance(to, str) else ('lmtp:' if to.lmtp else '') + f'127.0.0.1:{to.port}'}\n" for domain, to in routes.items()))

    def start(self) -> Remote:
        drop = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        starts = self.log().count("pymta-remote: start ")
        with open(f"{self.directory}/log", "ab") as log:
            self.process = subprocess.Popen([sys.executable, f"{ROOT}/bin/pymta-remote", "--etc", f"{self.directory}/etc"], stderr=log,
                                            **drop)                                        # type: ignore[call-overload]
        wait_until(lambda: self.log().count("pymta-remote: start ") > starts or self.process.poll() is not None)  # type: ignore[union-attr]
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        try:
            with open(f"{self.directory}/log", encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    # ---- in and out ---------------------------------------------------------------------------------------------------
    def put(self, *recipients: str, sender: str = "ann@us.example", message: bytes = MESSAGE, records: list[Record] | None = None,
            name: str = "") -> str:
        """A new file in todo/remote, as the runner would move it there; its name."""
        id = name.removesuffix(".remote") or self.ids.new(clock.now())
        envelope = Envelope(sender.encode(), [Recipient(REMOTE, address.encode()) for address in recipients], id)
        data = queuefile.encode(envelope, message) + b"".join(map(queuefile.encode_record, records or []))
        self.put_bytes(f"{id}.remote", data)
        return f"{id}.remote"

    def put_bytes(self, name: str, data: bytes) -> None:
        with open(f"{self.spool}/later/{name}", "wb") as file:
            file.write(data)
        os.chmod(f"{self.spool}/later/{name}", 0o664)
        os.rename(f"{self.spool}/later/{name}", f"{self.spool}/todo/remote/{name}")

    def left(self) -> list[str]:
        return os.listdir(f"{self.spool}/todo/remote")

    def entries(self) -> list[report.Entry]:
        """Everything reported and not yet read."""
        out = []
        for name in sorted(os.listdir(f"{self.spool}/report/remote/new")):
            with open(f"{self.spool}/report/remote/new/{name}", "rb") as file:
                out += report.decode(file.read())
        return out

    def wait_gone(self, seconds: float = 30) -> None:
        """Until every file has been delivered to everybody."""
        wait_until(lambda: not self.left(), seconds, self.explain)

    def wait_reports(self, count: int) -> list[report.Entry]:
        """Until the fate of count recipients has been reported."""
        wait_until(lambda: sum(entry.recipient >= 0 or entry.word == "corrupt" for entry in self.entries()) >= count, 30, self.explain)
        return self.entries()

    def explain(self) -> str:
        return f"{self.left()}\n{self.entries()}\n{self.log()[-4000:]}"


@pytest.fixture
def remote() -> Iterator[type[Remote]]:
    made: list[Remote] = []

    class Made(Remote):
        def __init__(self, *arguments: object, **given: object) -> None:
            super().__init__(*arguments, **given)                                           # type: ignore[arg-type]
            made.append(self)
    yield Made
    for one in made:
        if one.process and one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        assert " bug " not in one.log(), one.log()
        shutil.rmtree(one.directory)


def fates(entries: list[report.Entry]) -> dict[int, tuple[str, str]]:
    return {entry.recipient: (entry.word, entry.status) for entry in entries if entry.recipient >= 0}


def destinations(entries: list[report.Entry]) -> list[tuple[str, str]]:
    return [(entry.word, entry.destination) for entry in entries if entry.word in ("up", "down")]


def verbs(talk: Talk) -> list[str]:
    return [line.split(" ")[0] for line in talk.lines]


# ---- delivered --------------------------------------------------------------------------------------------------------
def test_delivered_and_gone(remote) -> None:
    with Peer() as peer:
        one = remote({"b.test": peer}).start()
        name = one.put("bob@b.test")
        one.wait_gone()
        assert peer.mails == [Mail("ann@us.example", ["bob@b.test"], MESSAGE.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n"), 0, False)]
        assert one.entries() == []
        id = name.removesuffix(".remote")
        wait_until(lambda: f"done id={id} delivered=1" in one.log())
        assert f"deliver id={id} rcpt=<bob@b.test> status=2.0.0" in one.log()
        assert one.stop() == 0


def test_what_lay_there_before_the_start(remote) -> None:
    with Peer() as peer:
        one = remote({"b.test": peer})
        for number in range(50):
            one.put(f"r{number}@b.test")
        one.start().wait_gone()
        assert sorted(mail.recipients[0] for mail in peer.mails) == sorted(f"r{number}@b.test" for number in range(50))


def test_one_transaction_for_all_recipients_of_a_destination(remote) -> None:
    with Peer() as peer, Peer() as other:
        one = remote({"b.test": peer, "c.test": peer, "d.test": other}, remote_recipients_max=3).start()
        one.put("r0@b.test", "r1@c.test", "s0@d.test", "r2@b.test", "r3@c.test")
        one.wait_gone()
        assert sorted(map(len, (mail.recipients for mail in peer.mails))) == [1, 3]
        assert [mail.recipients for mail in other.mails] == [["s0@d.test"]]


def test_a_connection_is_used_again_and_not_for_ever(remote) -> None:
    with Peer() as peer:
        one = remote({"b.test": peer}, remote_reuse=5, remote_concurrency=1).start()
        for number in range(12):
            one.put(f"r{number}@b.test")
        one.wait_gone()
        assert sorted(Counter(mail.connection for mail in peer.mails).values()) == [2, 5, 5]
        assert "RSET" not in [verb for talk in peer.talks for verb in verbs(talk)]
        wait_until(lambda: all(verbs(talk)[-1] == "QUIT" for talk in peer.talks))


def test_stale_connection_costs_nobody_an_attempt(remote) -> None:
    # The peer closes after each message, as some do, without a word
    def script(talk: Talk, verb: str, line: str) -> str | None:
        if verb == "MAIL" and verbs(talk).count("MAIL") > 1:
            raise Cut
        return None
    with Peer(script) as peer:
        one = remote({"b.test": peer}, remote_concurrency=1).start()
        for number in range(4):
            one.put(f"r{number}@b.test")
        one.wait_gone()
        assert len(peer.mails) == len(peer.talks) == 4 and one.entries() == []


def test_big_message_streams_whole(remote) -> None:
    message = b"Subject: big\n\n" + b"".join(b"%d %s\n.\n" % (n, b"x" * 900) for n in range(6000)) + "ü".encode()
    with Peer() as peer:
        one = remote({"b.test": peer}).start()
        one.put("bob@b.test", message=message)
        one.wait_gone()
        assert peer.mails[0].data == message.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n") + b"\r\n"
        assert any("BODY=8BITMIME" in line for line in peer.talks[0].lines)


def test_no_pipelining_no_esmtp(remote) -> None:
    with Peer(lambda talk, verb, line: "502 5.5.1 what?" if verb == "EHLO" else None) as peer:
        one = remote({"b.test": peer}).start()
        one.put("bob@b.test", "eve@b.test", message="Subject: ü\n\nü\n".encode())
        one.wait_gone()
        assert verbs(peer.talks[0])[:6] == ["EHLO", "HELO", "MAIL", "RCPT", "RCPT", "DATA"]
        assert peer.mails[0].data.startswith("Subject: ü\r\n".encode()) and peer.mails[0].data.endswith(b"\r\n\r\n=C3=BC\r\n")


def test_smarthost_takes_all(remote) -> None:
    with Peer() as peer:
        one = remote(remote_smarthost=f"127.0.0.1:{peer.port}").start()
        one.put("a@b.test", "c@d.test", "e@[203.0.113.7]")
        one.wait_gone()
        assert [mail.recipients for mail in peer.mails] == [["a@b.test", "c@d.test", "e@[203.0.113.7]"]]


def test_null_sender(remote) -> None:
    with Peer() as peer:
        one = remote({"b.test": peer}).start()
        one.put("bob@b.test", sender="")
        one.wait_gone()
        assert peer.mails[0].sender == ""


# ---- each recipient its own fate --------------------------------------------------------------------------------------
def test_4xx_for_one_of_three(remote) -> None:
    with Peer(lambda talk, verb, line: "450 4.2.1 r1 is\n450 4.2.1 busy".replace("450 4.2.1 r1", "450-4.2.1 r1") if "r1" in line else None) as peer:
        one = remote({"b.test": peer}).start()
        name = one.put("r0@b.test", "r1@b.test", "r2@b.test")
        entries = one.wait_reports(3)
        assert fates(entries) == {0: ("delivered", "2.0.0"), 1: ("deferred", "4.2.1"), 2: ("delivered", "2.0.0")}
        assert {(entry.name, entry.attempt, entry.destination) for entry in entries} == {(name, 1, f"smtp:127.0.0.1:{peer.port}")}
        assert next(entry.text for entry in entries if entry.recipient == 1) == "127.0.0.1[127.0.0.1] said: 450 4.2.1 r1 is busy"
        assert one.left() == [name] and peer.mails[0].recipients == ["r0@b.test", "r2@b.test"]


REFUSALS = [
    ("MAIL", "550 5.7.1 not you", ("failed", "5.7.1")), ("MAIL", "451 4.3.0 later", ("deferred", "4.3.0")),
    ("RCPT", "550 no such user", ("failed", "5.0.0")), ("DATA", "554 5.5.0 no", ("failed", "5.5.0")),
    (".", "554 5.6.0 dislike", ("failed", "5.6.0")), (".", "451 4.3.0 disk", ("deferred", "4.3.0")), (".", "421 4.3.2 bye", ("deferred", "4.3.2")),
]


def test_refused(remote) -> None:
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(lambda talk, said, line, verb=verb, reply=reply: reply if said == verb else None))
                 for verb, reply, _ in REFUSALS]
        one = remote({f"d{number}.test": peer for number, peer in enumerate(peers)}).start()
        names = [one.put(f"r0@d{number}.test", f"r1@d{number}.test") for number in range(len(peers))]
        entries = one.wait_reports(2 * len(names))
        for name, (verb, reply, fate) in zip(names, REFUSALS):
            assert fates([entry for entry in entries if entry.name == name]) == {0: fate, 1: fate}, (verb, reply)
        assert destinations(entries) == [] and sorted(one.left()) == names and not any(peer.mails for peer in peers)


def test_too_many_recipients_go_in_another_transaction(remote) -> None:
    def script(talk: Talk, verb: str, line: str) -> str | None:
        rcpts = [said for said in verbs(talk) if said in ("RCPT", "MAIL")][::-1]
        return "452 4.5.3 too many" if verb == "RCPT" and rcpts.index("MAIL") > 2 else None
    with Peer(script) as peer:
        one = remote({"b.test": peer}).start()
        one.put(*(f"r{number}@b.test" for number in range(5)))
        one.wait_gone()
        assert sorted(len(mail.recipients) for mail in peer.mails) == [1, 2, 2] and len(peer.talks) == 1


def test_lmtp_replies_for_each(remote) -> None:
    def script(talk: Talk, verb: str, line: str) -> str | None:
        return {".1": "452 4.2.2 full", ".2": "554 5.6.0 no"}.get(verb)
    with Peer(script, lmtp=True) as peer:
        one = remote({"b.test": peer}).start()
        one.put(*(f"r{number}@b.test" for number in range(4)))
        entries = one.wait_reports(4)
        assert fates(entries) == {0: ("delivered", "2.0.0"), 1: ("deferred", "4.2.2"), 2: ("failed", "5.6.0"), 3: ("delivered", "2.0.0")}
        assert verbs(peer.talks[0])[0] == "LHLO"


def test_journal_says_who_is_still_owed(remote) -> None:
    with Peer() as peer:
        one = remote({"b.test": peer}).start()
        one.put("r0@b.test", "r1@b.test", "r2@b.test", records=[Record(1, 0, 0, "delivered", "2.0.0"), Record(1, 0, 1, "deferred", "4.0.0"),
                                                                Record(1, 0, 2, "failed", "5.0.0")])
        one.wait_gone()
        assert peer.mails[0].recipients == ["r1@b.test"]
        wait_until(lambda: destinations(one.entries()) == [("up", f"smtp:127.0.0.1:{peer.port}")])


def test_too_big_for_the_peer(remote) -> None:
    with Peer(extensions=("SIZE 1000",)) as peer:
        one = remote({"b.test": peer}).start()
        one.put("bob@b.test", message=b"Subject: x\n\n" + b"x" * 2000 + b"\n")
        assert fates(one.wait_reports(1)) == {0: ("failed", "5.3.4")}
        assert "MAIL" not in verbs(peer.talks[0])


def test_second_attempt_is_counted_and_made_when_the_file_comes_back(remote) -> None:
    answers = ["450 4.2.1 later", "250 2.1.5 ok"]
    with Peer(lambda talk, verb, line: answers.pop(0) if verb == "RCPT" else None) as peer:
        one = remote({"b.test": peer}).start()
        name = one.put("bob@b.test")
        first = one.wait_reports(1)
        assert [entry.attempt for entry in first] == [1]
        os.rename(f"{one.spool}/todo/remote/{name}", f"{one.spool}/later/{name}")
        with open(f"{one.spool}/later/{name}", "ab") as file:
            file.write(queuefile.encode_record(Record(1, 0, 0, "deferred", "4.2.1", "later")))
        os.rename(f"{one.spool}/later/{name}", f"{one.spool}/todo/remote/{name}")
        one.wait_gone()
        assert len(peer.mails) == 1


def test_a_reported_file_is_left_alone_also_by_the_next_start(remote) -> None:
    with Peer(lambda talk, verb, line: "450 4.2.1 later" if verb == "RCPT" else None) as peer:
        one = remote({"b.test": peer}).start()
        one.put("bob@b.test")
        one.wait_reports(1)
        assert one.stop() == 0
        one.start()
        one.put("eve@b.test")
        one.wait_reports(2)
        assert len([line for talk in peer.talks for line in talk.lines if "bob@" in line]) == 1


# ---- hosts that break -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", [Cut, Hang, "421 4.3.2 bye", "garbage"], ids=["cut", "hang", "421", "garbage"])
def test_breaks(remote, how: type[Exception] | str) -> None:
    def breaks_at(where: str) -> Script:
        def script(talk: Talk, verb: str, line: str) -> str | None:
            if verb != where:
                return None
            if isinstance(how, str):
                return how
            raise how
        return script
    places = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."]
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(breaks_at(where))) for where in places]
        patience = "2s" if how is Hang else "60s"
        one = remote({f"d{number}.test": peer for number, peer in enumerate(peers)}, remote_timeout=patience,
                     remote_connect_timeout=patience).start()
        names = [one.put(f"r0@d{number}.test", f"r1@d{number}.test") for number in range(len(peers))]
        entries = one.wait_reports(2 * len(names))
        for name in names:
            mine = fates([entry for entry in entries if entry.name == name])
            assert len(mine) == 2 and {word for word, _ in mine.values()} == {"deferred"}
        assert sorted(one.left()) == names
        assert sorted(destinations(entries)) == sorted(("down", f"smtp:127.0.0.1:{peer.port}") for peer in peers[:2])


def test_nobody_listens(remote) -> None:
    with Peer(listening=False) as peer:
        one = remote({"b.test": peer})
        for number in range(20):
            one.put(f"r{number}@b.test")
        one.start()
        entries = one.wait_reports(20)
        assert fates(entries) == {0: ("deferred", "4.4.1")} and len(one.left()) == 20
        assert "connection refused" in entries[0].text
        assert {word for word, _ in destinations(entries)} == {"down"} and len(destinations(entries)) <= 20


def test_a_probe_says_up_or_down_each_time(remote) -> None:
    probe = [Record(1, 0, 0, "deferred", "4.4.1"), Record(1, 0, None, "probe")]
    answer = ["450 4.2.1 busy"]
    with Peer(lambda talk, verb, line: answer[0] if verb == "RCPT" else None) as peer, Peer(listening=False) as dead:
        one = remote({"b.test": peer, "dead.test": dead}).start()
        one.put("bob@b.test", records=probe)
        one.put("bob@dead.test", records=probe)
        entries = one.wait_reports(2)
        assert sorted(destinations(entries)) == [("down", f"smtp:127.0.0.1:{dead.port}"), ("up", f"smtp:127.0.0.1:{peer.port}")]


def test_down_stands_beside_each_entry_it_explains(remote) -> None:
    # The runner takes an entry without a "down" in the same report as a sign of life
    def script(talk: Talk, verb: str, line: str) -> str | None:
        if verb == "RCPT":
            time.sleep(0.5)
            return "450 4.2.1 later"
        return None
    with Peer(script) as slow, Peer(listening=False) as dead:
        one = remote({"slow.test": slow, "dead.test": dead}).start()
        one.put("r0@slow.test", "r1@dead.test")
        one.put("r0@dead.test")
        one.wait_reports(3)
        for name in os.listdir(f"{one.spool}/report/remote/new"):
            with open(f"{one.spool}/report/remote/new/{name}", "rb") as file:
                entries = report.decode(file.read())
            assert destinations(entries) == [("down", f"smtp:127.0.0.1:{dead.port}")]


def test_521_is_for_ever_and_554_is_not(remote) -> None:
    with Peer(lambda talk, verb, line: "521 5.3.2 no mail here") as never, Peer(lambda talk, verb, line: "554 5.7.1 go away") as blocked:
        one = remote({"never.test": never, "blocked.test": blocked}).start()
        one.put("bob@never.test", "bob@blocked.test")
        assert fates(one.wait_reports(2)) == {0: ("failed", "5.3.2"), 1: ("deferred", "4.7.1")}


def test_the_message_that_breaks_does_not_stop_the_others(remote) -> None:
    def script(talk: Talk, verb: str, line: str) -> str | None:
        if "evil" in line:
            raise Cut
        return None
    with Peer(script) as peer:
        one = remote({"b.test": peer}).start()
        for number in range(10):
            one.put("evil@b.test" if number == 3 else f"r{number}@b.test")
        wait_until(lambda: len(peer.mails) == 9, 30, one.explain)
        entries = one.wait_reports(1)
        assert fates(entries) == {0: ("deferred", "4.4.2")} and len(one.left()) == 1


def test_concurrency_grows_and_is_bounded(remote) -> None:
    def script(talk: Talk, verb: str, line: str) -> str | None:
        if verb == ".":
            time.sleep(0.05)
        return None
    with Peer(script) as peer:
        one = remote({"b.test": peer}, remote_concurrency=5)
        for number in range(60):
            one.put(f"r{number}@b.test")
        one.start().wait_gone()
        assert peer.open_most == 5


def test_refused_connections_back_off_and_lose_nothing(remote) -> None:
    # A host that lets in two at a time and says 421 to all others
    def script(talk: Talk, verb: str, line: str) -> str | None:
        if verb == "CONNECT" and peer.open_now > 2:
            return "421 4.7.0 too many connections"
        if verb == ".":
            time.sleep(0.02)
        return None
    with Peer(script) as peer:
        one = remote({"b.test": peer})
        for number in range(60):
            one.put(f"r{number}@b.test")
        one.start().wait_gone()
        assert len(peer.mails) == 60 and one.entries() == []


def test_connections_in_all_are_bounded_and_shared(remote) -> None:
    def script(talk: Talk, verb: str, line: str) -> str | None:
        if verb == ".":
            time.sleep(0.02)
        return None
    with Peer(script) as first, Peer(script) as second, Peer(script) as third:
        one = remote({"a.test": first, "b.test": second, "c.test": third}, remote_concurrency_all=2)
        for number in range(30):
            one.put(f"r@{'abc'[number % 3]}.test")
        one.start().wait_gone()
        assert [len(peer.mails) for peer in (first, second, third)] == [10, 10, 10]
        assert max(peer.open_most for peer in (first, second, third)) <= 2


def test_a_slow_destination_does_not_hold_up_another(remote) -> None:
    def hang(talk: Talk, verb: str, line: str) -> str | None:
        raise Hang
    with Peer(hang) as slow, Peer() as quick:
        one = remote({"slow.test": slow, "quick.test": quick}, remote_connect_timeout="60s")
        for number in range(400):
            one.put("r@slow.test")
        for number in range(20):
            one.put("r@quick.test")
        one.start()
        wait_until(lambda: len(quick.mails) == 20, 30, one.explain)
        assert len(one.left()) == 400


# ---- TLS --------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def server_tls():
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("somebody.else").configure_cert(context)
    return context


def test_starttls_whoever_the_certificate_names(remote, server_tls) -> None:
    with Peer(tls=server_tls) as peer:
        one = remote({"b.test": peer}).start()
        one.put("bob@b.test", message=b"Subject: x\n\n" + b"x" * 70 * 1000 + b"\n" + b"y" * 200000)
        one.put("eve@b.test")
        one.wait_gone()
        assert [mail.tls for mail in peer.mails] == [True, True]
        assert verbs(peer.talks[0])[:3] == ["EHLO", "STARTTLS", "EHLO"]


def test_tls_never(remote, server_tls) -> None:
    with Peer(tls=server_tls) as peer:
        one = remote({"b.test": peer}, remote_tls="never").start()
        one.put("bob@b.test")
        one.wait_gone()
        assert [mail.tls for mail in peer.mails] == [False]


def test_handshake_that_fails_goes_on_in_clear(remote) -> None:
    def script(talk: Talk, verb: str, line: str) -> str | None:
        if verb in ("EHLO", "LHLO"):
            return "250-peer.test\n250 STARTTLS"
        return None                                             # 220, then it goes on in clear text
    with Peer(script) as peer:
        one = remote({"b.test": peer}).start()
        one.put("bob@b.test")
        one.wait_gone()
        assert [mail.tls for mail in peer.mails] == [False] and len(peer.talks) == 2
        assert "TLS handshake failed" in one.log()


def test_starttls_refused_goes_on_in_clear(remote) -> None:
    def script(talk: Talk, verb: str, line: str) -> str | None:
        return {"EHLO": "250-peer.test\n250 STARTTLS", "STARTTLS": "454 4.7.0 no key"}.get(verb)
    with Peer(script) as peer:
        one = remote({"b.test": peer}).start()
        one.put("bob@b.test")
        one.wait_gone()
        assert len(peer.talks) == 1 and "no key" in one.log()


def test_words_injected_behind_the_go_ahead_break_the_session(remote, server_tls) -> None:
    with Peer(lambda talk, verb, line: "220 go\n250 surprise" if verb == "STARTTLS" else None, tls=server_tls) as peer:
        one = remote({"b.test": peer}).start()
        one.put("bob@b.test")
        assert fates(one.wait_reports(1)) == {0: ("deferred", "4.5.0")} and peer.mails == []


# ---- where to ---------------------------------------------------------------------------------------------------------
def test_mx_in_order_and_the_next_where_one_is_dead(remote) -> None:
    with Peer() as peer, NameServer({"b.test": {"MX": ["10 dead.b.test.", "20 mx.b.test."]}, "dead.b.test": {"A": ["127.0.0.2"]},
                                     "mx.b.test": {"A": ["127.0.0.1"]}}) as names:
        one = remote(dns_server=f"127.0.0.1:{names.address[1]}", remote_port=peer.port).start()
        one.put("bob@b.test")
        one.wait_gone()
        assert len(peer.mails) == 1 and "mx.b.test[127.0.0.1]" in one.log()


def test_second_address_where_the_first_is_busy(remote) -> None:
    # Two hosts on one port: the first (127.0.0.2) says 421 at once
    with Peer() as peer, NameServer({"b.test": {"MX": ["10 busy.b.test.", "20 mx.b.test."]}, "busy.b.test": {"A": ["127.0.0.2"]},
                                     "mx.b.test": {"A": ["127.0.0.1"]}}) as names:
        with socket.create_server(("127.0.0.2", peer.port)) as busy:
            one = remote(dns_server=f"127.0.0.1:{names.address[1]}", remote_port=peer.port).start()
            one.put("bob@b.test")
            connection, _ = busy.accept()
            with connection:
                connection.sendall(b"421 4.3.2 too busy\r\n")
                one.wait_gone()


@pytest.mark.parametrize("zone, fate, is_down", [
    ({}, ("failed", "5.1.2"), False),
    ({"b.test": {"MX": ["0 ."]}}, ("failed", "5.1.10"), False),
    ({"b.test": {"MX": "SERVFAIL"}}, ("deferred", "4.4.3"), True),
    ({"b.test": {"MX": "SILENT"}}, ("deferred", "4.4.3"), True),
    ({"b.test": {"A": ["127.0.0.1"]}}, ("failed", "5.4.6"), False),
])
def test_no_way_to_the_domain(remote, zone, fate: tuple[str, str], is_down: bool) -> None:
    with NameServer(zone) as names:
        silent = any("SILENT" in rows.values() for rows in zone.values())
        one = remote(dns_server=f"127.0.0.1:{names.address[1]}", dns_timeout="1s" if silent else "20s").start()
        one.put("bob@b.test")
        entries = one.wait_reports(1)
        assert fates(entries) == {0: fate}
        assert destinations(entries) == ([("down", "b.test")] if is_down else [])


@pytest.mark.parametrize("address, status", [("bob@[127.0.0.1]", "5.4.6"), ("bob@[IPv6:::1]", "5.4.6"), ("postmaster", "5.1.3"),
                                             ("bob@[999.1.1.1]", "5.1.3")])
def test_addresses_that_lead_nowhere(remote, address: str, status: str) -> None:
    one = remote().start()
    one.put(address)
    assert fates(one.wait_reports(1)) == {0: ("failed", status)}


def test_transports_are_live(remote) -> None:
    with Peer() as first, Peer() as second:
        one = remote({"b.test": first}).start()
        one.put("r0@b.test")
        one.wait_gone()
        one.transports({"b.test": second})
        one.put("r1@b.test")
        one.wait_gone()
        assert len(first.mails) == len(second.mails) == 1


# ---- files ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("damage", ["cut", "version", "rubbish", "empty"])
def test_damaged_file_is_reported(remote, damage: str) -> None:
    whole = queuefile.encode(Envelope(b"a@a.test", [Recipient(REMOTE, b"b@b.test")], "x"), MESSAGE)
    data = {"cut": whole[:-5], "version": whole.replace(b"Queue: 1", b"Queue: 9"), "rubbish": os.urandom(100), "empty": b""}[damage]
    with Peer() as peer:
        one = remote({"b.test": peer}).start()
        one.put_bytes("0000000000000aa.remote", data)
        entry, = one.wait_reports(1)
        assert (entry.name, entry.word) == ("0000000000000aa.remote", "corrupt") and entry.text
        assert peer.mails == []


def test_a_message_that_cannot_be_read_to_its_end_is_never_ended(remote) -> None:
    message = b"Subject: big\n\n" + b"x\n" * (8 << 20)
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = remote({"b.test": f"127.0.0.1:{listening.getsockname()[1]}"}, remote_timeout="20s").start()
        name = one.put("bob@b.test", message=message)
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"220 x\r\n")
            connection.recv(1000)
            connection.sendall(b"250 x\r\n")
            for reply in (b"250 x\r\n", b"250 x\r\n", b"354 x\r\n"):
                connection.recv(1000)
                connection.sendall(reply)
            got.append(connection.recv(1000))
            os.truncate(f"{one.spool}/todo/remote/{name}", 1 << 20)
            try:
                while part := connection.recv(1 << 20):
                    got.append(part)
            except ConnectionResetError:
                pass
        assert fates(one.wait_reports(1)) == {0: ("deferred", "4.3.0")}
    assert not b"".join(got).endswith(b"\r\n.\r\n")


# ---- the process ------------------------------------------------------------------------------------------------------
def test_stop_lets_a_transaction_end(remote) -> None:
    def script(talk: Talk, verb: str, line: str) -> str | None:
        if verb == ".":
            time.sleep(0.5)
        return None
    with Peer(script) as peer:
        one = remote({"b.test": peer}).start()
        one.put("bob@b.test")
        wait_until(lambda: any("DATA" in talk.lines for talk in peer.talks))
        assert one.stop() == 0
        assert len(peer.mails) == 1 and one.left() == []


def test_stop_cuts_what_hangs_and_says_what_was_delivered(remote) -> None:
    def script(talk: Talk, verb: str, line: str) -> str | None:
        if verb == ".":
            raise Hang
        return None
    with Peer(script) as hanging, Peer() as peer:
        one = remote({"h.test": hanging, "b.test": peer}, remote_timeout="60s").start()
        name = one.put("r0@h.test", "r1@b.test")
        wait_until(lambda: any("DATA" in talk.lines for talk in hanging.talks) and len(peer.mails) == 1)
        assert one.stop() == 0
        assert fates(one.entries()) == {0: ("deferred", "4.4.2"), 1: ("delivered", "2.0.0")} and one.left() == [name]


def test_killed_in_the_middle_everything_arrives_all_the_same(remote) -> None:
    def script(talk: Talk, verb: str, line: str) -> str | None:
        if verb == ".":
            time.sleep(0.01)
        return None
    with Peer(script) as peer:
        one = remote({"b.test": peer})
        for number in range(120):
            one.put(f"r{number}@b.test")
        for count in (20, 60, 90):
            one.start()
            wait_until(lambda: len(peer.mails) >= count, 30, one.explain)
            one.process.kill()
            one.process.wait()
        one.start().wait_gone()
        seen = Counter(mail.recipients[0] for mail in peer.mails)
        assert len(seen) == 120
        assert sum(seen.values()) <= 120 + 3 * 20               # twice only what was under way when it was killed


def test_a_reply_that_trickles_in_has_no_more_time(remote) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = remote({"b.test": f"127.0.0.1:{listening.getsockname()[1]}"}, remote_timeout="1s").start()
        one.put("bob@b.test")
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"220 x\r\n")
            connection.recv(1000)
            try:
                for _ in range(200):
                    connection.sendall(b"250-x\r\n")
                    time.sleep(0.1)
                pytest.fail("it listens for ever")
            except OSError:
                pass
        assert fates(one.wait_reports(1)) == {0: ("deferred", "4.4.2")}


def test_foreign_names_are_left_alone(remote) -> None:
    with Peer() as peer:
        one = remote({"b.test": peer}).start()
        for name in ("README", ".1j0uh71rehg3r2o.remote", "a b.remote", "1j0uh71rehg3r2o.local"):
            one.put_bytes(name, b"x")
        one.put("bob@b.test")
        wait_until(lambda: len(peer.mails) == 1 and len(one.left()) == 4, 30, one.explain)
        assert one.entries() == []


def test_a_second_one_does_not_start(remote) -> None:
    one = remote().start()
    first = one.process
    one.start()
    assert one.process.wait(10) == 69 and "another pymta-remote" in one.log()
    one.process = first


def test_bad_dns_server(remote) -> None:
    one = remote(dns_server="ns.example:53").start()
    assert one.process.wait(10) == 78 and "write an IP address" in one.log()


def test_disk_that_takes_no_report(remote) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: the folder is taken away from the program's uid")
    with Peer(lambda talk, verb, line: "450 4.2.1 no" if verb == "RCPT" else None) as peer:
        one = remote({"b.test": peer}).start()
        os.chmod(f"{one.spool}/report/remote/tmp", 0)
        one.put("bob@b.test")
        wait_until(lambda: "cannot write a report" in one.log(), 30, one.explain)
        os.chmod(f"{one.spool}/report/remote/tmp", 0o770)
        assert fates(one.wait_reports(1)) == {0: ("deferred", "4.2.1")}
        assert len(peer.talks) == 1
