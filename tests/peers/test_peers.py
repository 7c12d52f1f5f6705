"""Postfix and Exim relay to us, and we to them: every byte, every parameter, and who hears what became of it."""
from __future__ import annotations

import itertools
import random
import re
import smtplib
from collections.abc import Callable

import pytest

from tests.peers.hosts import BOOKS, OURS, PORT, Arrived, Peer
from tests.running import Sandbox, wait_until

NUMBER = itertools.count(1)
_NO_LINE_ENDS = bytes(octet for octet in range(1, 256) if octet not in b"\r\n")
BODIES = {
    "plain": b"Hello,\n\nworld.\n",
    "empty": b"",
    "only blank lines": b"\n\n\n",
    "dots": b".\n..\n...\n.x\nx.\n..x\n\n.\n\n..\n",
    "blanks": b" \n\t\n  leading\ntrailing  \t\nFrom the start\n>From quoted\nTo: a field?\n",
    "8-bit": "Grüße, 日本語, 🙂\n".encode() + "Grüße\n".encode("latin-1") + _NO_LINE_ENDS + b"\n" + _NO_LINE_ENDS[::-1] + b"\n",
    "lines of 998": (b"x" * 998 + b"\n" + b"." * 998 + b"\n") * 5,
    "many lines": b"".join(b".%d\n" % number for number in range(60_000)),
}


def big(size: int) -> bytes:
    draw = random.Random(1)
    return b"".join(bytes(draw.choices(_NO_LINE_ENDS, k=draw.randrange(0, 900))) + b"\n" for _ in range(size // 450))


def message(body: bytes, sender: str, recipient: str, subject: str = "") -> tuple[str, bytes]:
    """(what to look for, the message with LF lines)"""
    mark = f"{next(NUMBER)}.mark@client.example"
    header = (f"From: {sender}\nTo: {recipient}\nSubject: {subject or 'test'}\nDate: Sat, 1 Aug 2026 12:00:00 +0000\nMessage-ID: <{mark}>\n"
              "X-Odd:   spaces  kept \n\tand folds\t\n\t too\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
              "Content-Transfer-Encoding: 8bit\n\n")
    return mark, header.encode() + body


def hand_in(port: int, sender: str, recipients: list[str], data: bytes, mail: str = "BODY=8BITMIME", rcpt: str = "") -> None:
    """By a client that changes nothing.  mail, rcpt: parameters."""
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.command_encoding = "utf-8"
        client.ehlo("client.example")
        for line in (f"MAIL FROM:<{sender}> {mail}", *(f"RCPT TO:<{one}> {rcpt}" for one in recipients)):
            code, text = client.docmd(line.strip())
            assert code == 250, (line, code, text)
        code, text = client.data(data.replace(b"\n", b"\r\n"))
        assert code == 250, (code, text)


def at_ours(ours: Sandbox, name: str = "alice") -> list[Arrived]:
    out = []
    for path in ours.inbox(name):
        with open(path, "rb") as file:
            data = file.read()
        fields = re.match(rb"Return-Path: <(.*)>\nDelivered-To: (.*)\n", data)
        assert fields
        out.append(Arrived(fields[1].decode(), fields[2].decode(), data))
    return out


def wait_for(box: Callable[[], list[Arrived]], *marks: str, count: int = 1, explain: Callable[[], str] = lambda: "") -> list[Arrived]:
    """The messages that hold all marks, once there are count; a moment later there are no more."""
    def found() -> list[Arrived]:
        return [one for one in box() if all(mark.encode() in one.data for mark in marks)]
    wait_until(lambda: len(found()) >= count, 60, explain)
    assert len(found()) == count
    return found()


class Route:
    """One direction.  here(name): an address of whoever sends; there(name): one where it goes."""

    def __init__(self, ours: Sandbox, peer: Peer, out: bool, tls: bool) -> None:
        self.ours, self.peer, self.out, self.tls = ours, peer, out, tls
        self.port = OURS if out else PORT
        self.sender = "alice@example.test" if out else "pete@peer.test"
        if out:
            self.recipient = "pete@peer.test" if tls else "pete@clear.peer.test"
        else:
            self.recipient = "alice@example.test" if tls else "carol@clear.test"

    def there(self) -> list[Arrived]:
        return self.peer.inbox() if self.out else at_ours(self.ours, "alice" if self.tls else self.recipient)

    def here(self) -> list[Arrived]:
        return at_ours(self.ours) if self.out else self.peer.inbox()

    def explain(self) -> str:
        return f"{self.ours.log()[-3000:]}\n{self.peer.said()[-3000:]}"

    def wait(self, *marks: str, count: int = 1) -> list[Arrived]:
        return wait_for(self.there, *marks, count=count, explain=self.explain)

    def wait_back(self, *marks: str, count: int = 1) -> list[Arrived]:
        return wait_for(self.here, *marks, count=count, explain=self.explain)

    def carry(self, body: bytes, subject: str = "", mail: str = "BODY=8BITMIME") -> Arrived:
        mark, data = message(body, self.sender, self.recipient, subject)
        hand_in(self.port, self.sender, [self.recipient], data, mail)
        one, = self.wait(mark)
        assert one.data.endswith(data), (one.data[-2000:], data[-2000:])
        assert (one.sender, one.recipient) == (self.sender, self.recipient)
        return one


@pytest.fixture(params=["to the peer", "from the peer"])
def direction(request, ours: Sandbox, peer: Peer) -> Route:
    return Route(ours, peer, request.param == "to the peer", True)


@pytest.fixture(params=["tls", "clear"])
def route(request, direction: Route) -> Route:
    return Route(direction.ours, direction.peer, direction.out, request.param == "tls")


# ---- bytes ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", BODIES)
def test_every_byte_arrives(route: Route, name: str) -> None:
    one = route.carry(BODIES[name])
    first = re.search(rb"^Received: .*(\n[ \t].*)*", one.header, re.M)
    assert first and (b"TLSv1.3" in first[0] or b"TLS1.3" in first[0]) == route.tls, one.header


def test_a_big_message_arrives(direction: Route) -> None:
    direction.carry(big(12 << 20))


def test_a_header_in_utf8_arrives(direction: Route) -> None:
    direction.carry(b"hello\n", "Grüße, 日本語", "SMTPUTF8 BODY=8BITMIME")


def test_a_header_in_utf8_without_smtputf8_arrives(direction: Route) -> None:
    direction.carry(b"hello\n", "Grüße, 日本語")


def test_lines_that_are_too_long_are_not_lost(ours: Sandbox, peer: Peer) -> None:
    """RFC 5321 §4.5.3.1.6 allows 998 octets; what comes with more goes on as it came."""
    Route(ours, peer, True, True).carry(b"y" * 5000 + b"\nshort\n" + b"." * 3000 + b"\n")


# ---- international addresses ------------------------------------------------------------------------------------------
def test_international_addresses(direction: Route) -> None:
    here, there = ("jörg@example.test", "ünï@peer.test") if direction.out else ("ünï@peer.test", "jörg@example.test")
    mark, data = message("Grüße\n".encode(), here, there, "Grüße")
    hand_in(direction.port, here, [there], data, "SMTPUTF8 BODY=8BITMIME")
    one, = direction.wait(mark)
    assert one.data.endswith(data) and (one.sender, one.recipient) == (here, there if direction.out else "alice@example.test")


def test_an_international_domain(ours: Sandbox, peer: Peer) -> None:
    mark, data = message("Grüße\n".encode(), "jörg@example.test", f"ünï@{BOOKS}", "Grüße")
    hand_in(OURS, "jörg@example.test", [f"ünï@{BOOKS}"], data, "SMTPUTF8 BODY=8BITMIME")
    one, = wait_for(peer.inbox, mark, explain=ours.log)
    local, domain = one.recipient.split("@")
    assert one.data.endswith(data) and (local, domain.encode("idna")) == ("ünï", BOOKS.encode("idna"))


def test_a_host_without_smtputf8_is_not_sent_any(ours: Sandbox, peer: Peer) -> None:
    mark, data = message(b"hello\n", "jörg@example.test", "ünï@old.peer.test", "Grüße")
    hand_in(OURS, "jörg@example.test", ["ünï@old.peer.test"], data, "SMTPUTF8")
    report, = wait_for(lambda: at_ours(ours), mark, "Status: 5.6.7")
    assert report.sender == "" and b"old.peer.test" in report.data
    assert not [one for one in peer.inbox() if mark.encode() in one.data]


def test_a_host_without_8bitmime_gets_the_same_text(ours: Sandbox, peer: Peer) -> None:
    text = "Grüße, 日本語, 🙂\n.\n..dots\nend\n"
    mark, data = message(text.encode(), "alice@example.test", "pete@old.peer.test")
    hand_in(OURS, "alice@example.test", ["pete@old.peer.test"], data)
    one, = wait_for(peer.inbox, mark)
    import email
    import email.policy
    got = email.message_from_bytes(one.data, policy=email.policy.default)
    assert got.get_content() == text
    if peer.name == "postfix":                          # Exim cannot be told to be without 8BITMIME on one port only
        assert one.data.isascii()


# ---- recipients -------------------------------------------------------------------------------------------------------
def test_every_one_of_many_recipients_gets_it_once(direction: Route) -> None:
    who = [f"p{number}@peer.test" if direction.out else f"alice+{number}@example.test" for number in range(300)]
    mark, data = message(b"hello\n", direction.sender, "many:;")
    hand_in(direction.port, direction.sender, who, data)
    found = direction.wait(mark, count=len(who))
    assert sorted(one.recipient for one in found) == sorted(who)
    assert all(one.data.endswith(data) for one in found)


def test_many_messages_arrive_once_each(direction: Route) -> None:
    marks, subject = [], f"one of many {next(NUMBER)}"
    for _ in range(60):
        mark, data = message(b"hello\n", direction.sender, direction.recipient, subject)
        hand_in(direction.port, direction.sender, [direction.recipient], data)
        marks.append(mark)
    found = direction.wait(f"Subject: {subject}\n", count=len(marks))
    assert sorted(mark for one in found for mark in marks if b"<%s>" % mark.encode() in one.data) == sorted(marks)


# ---- what became of it ------------------------------------------------------------------------------------------------
def report_of(found: Arrived) -> dict[str, str]:
    """The fields of the delivery report (the message's and the one recipient's); a report has the empty sender."""
    import email
    got = email.message_from_bytes(found.data)
    assert found.sender == "" and got.get_content_type() == "multipart/report" and got.get_param("report-type") == "delivery-status"
    parts = got.get_payload()
    status = parts[1]
    assert status.get_content_type() == "message/delivery-status"
    message_fields, recipient_fields = status.get_payload()
    rows = {name.lower(): value for name, value in [*message_fields.items(), *recipient_fields.items()]}
    rows["returned"] = parts[2].get_content_type()
    return rows


ENVID = "ENVID=QQ+2B314159 RET=HDRS"
ORCPT = "ORCPT=rfc822;Some+2BBody@first.example"


def assert_known(rows: dict[str, str], reporter: str) -> None:
    """The report says what ENVID and ORCPT said.  reporter: who wrote it; Exim 4.96 leaves them in xtext."""
    plain = [rows[name].replace(" ", "") for name in ("original-envelope-id", "original-recipient")]
    assert [one.replace("+2B", "+") if reporter == "exim" else one for one in plain] == ["QQ+314159", "rfc822;Some+Body@first.example"]


def test_the_sender_hears_of_success(route: Route) -> None:
    mark, data = message(b"unreturned body\n", route.sender, route.recipient)
    hand_in(route.port, route.sender, [route.recipient], data, ENVID, f"NOTIFY=SUCCESS,FAILURE {ORCPT}")
    route.wait(mark, "unreturned body")
    found = route.wait_back(mark, "report-type")
    rows = report_of(found[0])
    assert rows["action"] == "delivered" and rows["status"].startswith("2."), rows
    assert_known(rows, route.peer.name if route.out else "pymta")
    assert rows["final-recipient"].replace(" ", "") == f"rfc822;{route.recipient}"
    assert b"unreturned body" not in found[0].data


def test_a_host_without_dsn_is_the_end_of_the_track(ours: Sandbox, peer: Peer) -> None:
    mark, data = message(b"hello\n", "alice@example.test", "pete@old.peer.test")
    hand_in(OURS, "alice@example.test", ["pete@old.peer.test"], data, ENVID, f"NOTIFY=SUCCESS {ORCPT}")
    one, = wait_for(lambda: at_ours(ours), mark, "report-type")
    rows = report_of(one)
    assert rows["action"] == "relayed"
    assert_known(rows, "pymta")


def refused(route: Route) -> str:
    return "nobody@" + route.recipient.partition("@")[2]


@pytest.mark.parametrize("wish", ["", "NOTIFY=FAILURE", "NOTIFY=SUCCESS,FAILURE,DELAY"])
def test_the_sender_hears_of_a_refused_recipient(direction: Route, wish: str) -> None:
    mark, data = message(b"hello\n", direction.sender, refused(direction))
    hand_in(direction.port, direction.sender, [refused(direction), direction.recipient] if direction.out else
            ["no-such-user@example.test", direction.recipient], data, ENVID, f"{wish} {ORCPT}" if wish else "")
    direction.wait(mark, "\n\nhello\n", count=1)
    one = next(one for one in direction.wait_back(mark, "report-type", count=2 if "SUCCESS" in wish else 1) if b"Action: failed" in one.data)
    rows = report_of(one)
    assert rows["status"].startswith("5.1.1") or rows["status"] == "5.0.0", rows
    if wish:
        assert_known(rows, "pymta" if direction.out else direction.peer.name)


def test_nobody_hears_who_wants_to_hear_nothing(direction: Route) -> None:
    mark, data = message(b"hello\n", direction.sender, "x@y.example")
    unknown = refused(direction) if direction.out else "no-such-user@example.test"
    hand_in(direction.port, direction.sender, [unknown], data, "", f"NOTIFY=NEVER {ORCPT}")
    later, data = message(b"later\n", direction.sender, "x@y.example")
    hand_in(direction.port, direction.sender, [unknown], data)
    direction.wait_back(later, unknown, "report-type")
    assert not [one for one in direction.here() if mark.encode() in one.data]


def test_a_report_of_ours_is_no_reason_for_another(ours: Sandbox, peer: Peer) -> None:
    """The peer refuses the recipient and then the report, too: postmaster of this host reads both, and nothing goes round."""
    mark, data = message(b"hello\n", "nobody@peer.test", "x@y.example")
    hand_in(OURS, "nobody@peer.test", ["nobody@peer.test"], data)
    later, data = message(b"later\n", "alice@example.test", "x@y.example")
    hand_in(OURS, "alice@example.test", ["nobody@peer.test"], data)
    wait_for(lambda: at_ours(ours), later, "report-type")
    assert not [one for one in peer.inbox() if mark.encode() in one.data]
    assert len([one for one in at_ours(ours) if mark.encode() in one.data]) <= 1


def test_the_peer_has_checked_our_certificate(ours: Sandbox, peer: Peer) -> None:
    Route(ours, peer, False, True).carry(b"hello\n")
    verified = {"postfix": "Verified TLS connection established to mail.example.test", "exim": "CV=yes"}
    assert verified[peer.name] in peer.log()
