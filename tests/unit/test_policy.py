"""policy and gate: small functions from facts to an outcome."""
from __future__ import annotations

from ipaddress import ip_network

import pytest

from pymta import clock, outcome
from pymta.policy import rules as policy
from pymta.accounts import Mailbox
from pymta.formats.queuefile import LOCAL, REMOTE, Recipient
from pymta.policy.gate import Gate
from pymta.policy.rules import Client, Rules, Traffic
from pymta.queue.full import Mark
from pymta.policy.rates import Counts, Table

STRANGER = Client("192.0.2.7", "smtp", exempt=False)


@pytest.mark.parametrize("name, syntax, strict", [
    (b"mx.a.example", True, True), (b"MX.A.example.", True, True), (b"[192.0.2.7]", True, True), (b"[IPv6:2001:db8::1]", True, True),
    (b"win_host.a.example", True, True), (b"a", True, False), (b"192.0.2.7", True, False), (b"our.example.test", True, False),
    (b"mx..example", False, False), (b"-x.example", False, False), (b"[192.0.2]", False, False), (b"a b", False, False), (b"<a>", False, False),
    (b"a" * 64 + b".example", False, False), (b"a.example;rm", False, False), (b".", False, False),
])
def test_hello(name: bytes, syntax: bool, strict: bool) -> None:
    for check, good in (("no", True), ("syntax", syntax), ("strict", strict)):
        refused = policy.hello(Rules(helo_check=check), STRANGER, name, "our.example.test")
        assert (refused is None) == good, (check, refused)
        assert refused is None or refused.permanent
    for other in (Client("192.0.2.7", "smtp", exempt=True), Client("192.0.2.7", "submission", exempt=False)):
        assert policy.hello(Rules(helo_check="strict"), other, name, "our.example.test") is None


def test_crowd() -> None:
    rules = Rules(client_sessions=2, network_sessions=3, client_connects=10, network_connects=20)
    quiet = Traffic()
    assert policy.crowd(rules, quiet, quiet) is None
    for client, network in ((Traffic(2), quiet), (quiet, Traffic(3)), (Traffic(0, 9.5), quiet), (quiet, Traffic(0, 19.01))):
        refused = policy.crowd(rules, client, network)
        assert refused is not None and refused.smtp().startswith(b"421 4.7.0 more than ")
    assert policy.crowd(Rules(), Traffic(10**6, 1e6), Traffic(10**6, 1e6)) is None


def test_messages() -> None:
    rules = Rules(client_messages=2, network_messages=3)
    assert policy.messages(rules, Traffic(messages=1), Traffic(messages=2)) is None
    for client, network in ((1.1, 0.0), (0.0, 2.1)):
        refused = policy.messages(rules, Traffic(messages=client), Traffic(messages=network))
        assert refused is not None and refused.temporary


def test_tarpit_grows_and_is_bounded() -> None:
    rules = Rules(tarpit=15.0, tarpit_after=3)
    assert [policy.pause_s(rules, errors) for errors in range(9)] == [0, 0, 0, 0, 1, 2, 4, 8, 15]
    assert policy.pause_s(rules, 1e9) == 15
    assert policy.pause_s(Rules(tarpit=0.0), 100) == 0


def test_reverse() -> None:
    for setting, ptr, refused in (("yes", outcome.NO_PTR, True), ("yes", "mx.example", False), ("log", outcome.NO_PTR, False), ("yes", None, False)):
        client = Client("192.0.2.7", "smtp", exempt=False, ptr=ptr)
        assert (policy.reverse(Rules(require_ptr=setting), client) is not None) == refused


# ---- gate -------------------------------------------------------------------------------------------------------------
def make_gate(rules: Rules) -> Gate:
    return Gate(rules, Counts(Table(1), 0, lambda: 1000.0), [ip_network("198.51.100.0/24")])


def test_a_network_is_full_and_others_come_in(capfd) -> None:
    gate = make_gate(Rules(client_sessions=2, network_sessions=3))
    assert [gate.enter("192.0.2.1", "smtp") is None for _ in range(3)] == [True, True, False]
    assert gate.enter("192.0.2.2", "smtp") is None
    assert gate.enter("192.0.2.3", "smtp") == b"421 4.7.0 more than 3 sessions from this network; try again later\r\n"
    assert gate.enter("192.0.2.4", "smtp") is not None
    assert gate.enter("192.0.3.1", "smtp") is None
    assert gate.enter("2001:db8::1", "smtp") is None
    gate.leave("192.0.2.1", "smtp")
    assert gate.enter("192.0.2.3", "smtp") is None
    first, second = capfd.readouterr().err.splitlines()         # one line for the crowd and each reason
    assert "client=192.0.2.1 " in first and "sessions from this address" in first
    assert "client=192.0.2.3 " in second and "sessions from this network" in second


def test_the_exempt_are_never_counted() -> None:
    gate = make_gate(Rules(client_sessions=1, client_connects=1, client_messages=1, tarpit=1.0))
    assert all(gate.enter("198.51.100.9", "smtp") is None for _ in range(50))
    assert all(gate.enter("192.0.2.1", "lmtp") is None for _ in range(50))
    assert gate.exempt("local") and not gate.exempt("192.0.2.1")


def test_who_sent_mail_is_known() -> None:
    gate = make_gate(Rules(client_messages=2))
    assert not gate.known("192.0.2.1") and gate.messages("192.0.2.1") is None
    gate.accepted("192.0.2.1")
    gate.accepted("192.0.2.1")
    assert gate.known("192.0.2.1") and not gate.known("192.0.2.2")
    assert gate.messages("192.0.2.1") is not None and gate.messages("192.0.2.2") is None


def test_many_messages_are_counted_by_several_workers_though_they_look_seldom(monkeypatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "tick", lambda: now)
    table = Table(3)
    gates = [Gate(Rules(client_messages=300), Counts(table, number, lambda: now), []) for number in range(3)]
    taken = 0
    for number in range(1200):
        gate = gates[number % 3 if number % 2 else 0]
        if gate.messages("192.0.2.1") is None:
            gate.accepted("192.0.2.1")
            taken += 1
        now += 0.005                                    # 200 a second
    assert 300 <= taken <= 300 + 6 * 5 + 5              # and what leaks out in six seconds


def test_without_limits_nothing_is_counted() -> None:
    assert not Rules().count
    gate = Gate(Rules(), None, [])
    assert gate.enter("192.0.2.1", "smtp") is None and gate.messages("192.0.2.1") is None
    assert gate.error("192.0.2.1") == 0.0 and not gate.known("192.0.2.1")
    gate.accepted("192.0.2.1")
    gate.leave("192.0.2.1", "smtp")


# ---- room -------------------------------------------------------------------------------------------------------------
class People:
    """alice may hold 100,000 octets, bob anything."""

    def find(self, address: str) -> Mailbox:
        name = address.partition("@")[0].partition("-")[0]
        return Mailbox(f"{name}@example.test", 1, 1, "/", "/", 100_000 if name == "alice" else 0)


ALICE, BOB, ELSEWHERE = Recipient(LOCAL, b"alice-x@example.test"), Recipient(LOCAL, b"bob@example.test"), Recipient(REMOTE, b"a@b.example")


@pytest.mark.parametrize("to, octets, room, status", [
    ([ALICE], 0, None, None), ([ALICE], 90_000, None, None), ([ALICE], 200_000, None, "5.2.3"),
    ([ALICE], 0, 10, "4.2.2"), ([ALICE], 0, 50_000, None), ([ALICE], 80_000, 50_000, "4.2.2"), ([ALICE], 40_000, 50_000, None),
    ([ALICE, BOB], 0, 10, None), ([BOB], 10**9, 10, None), ([ALICE, ELSEWHERE], 0, 10, None), ([ELSEWHERE], 10**9, 10, None),
])
def test_room(to: list[Recipient], octets: int, room: int | None, status: str | None) -> None:
    marks = {} if room is None else {"alice@example.test": Mark("alice@example.test", room, 0, 100_000)}
    refused = policy.room(to, octets, marks, People())              # type: ignore[arg-type]
    assert (refused and refused.status) == status
