"""Which hosts take mail for a domain, asked of a name server in this process."""
from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from pymta.outcome import Outcome
from pymta.resolver import Hosts, Resolver, in_hosts, is_own
from tests.nameserver import NameServer

A = {"A": ["203.0.113.1"]}
ZONE: dict[str, dict[str, list[str] | str]] = {
    "one.example": {"MX": ["10 mx.one.example."]},
    "mx.one.example": {"A": ["203.0.113.1"], "AAAA": ["2001:db8::1"]},
    "order.example": {"MX": ["30 c.example.", "10 a.example.", "20 b.example."]},
    "a.example": {"A": ["203.0.113.11"]}, "b.example": {"A": ["203.0.113.12"]}, "c.example": {"A": ["203.0.113.13"]},
    "equal.example": {"MX": ["10 a.example.", "10 b.example.", "10 c.example."]},
    "bare.example": {"A": ["203.0.113.2"]},
    "six.example": {"AAAA": ["2001:db8::6"]},
    "null.example": {"MX": ["0 ."]},
    "halfnull.example": {"MX": ["0 .", "10 a.example."]},
    "alias.example": {"CNAME": ["one.example."]},
    "alias2.example": {"CNAME": ["bare.example."]},
    "empty.example": {"TXT": ['"x"']},
    "servfail.example": {"MX": "SERVFAIL"},
    "silent.example": {"MX": "SILENT"},
    "halffail.example": {"MX": ["10 fail.example.", "20 b.example."]},
    "allfail.example": {"MX": ["10 fail.example."]},
    "fail.example": {"A": "SERVFAIL", "AAAA": "SERVFAIL"},
    "fail4.example": {"A": "SERVFAIL", "AAAA": ["2001:db8::4"]},
    "nowhere.example": {"MX": ["10 missing.example."]},
    "hole.example": {"MX": ["10 missing.example.", "20 b.example."]},
    "lo.example": {"MX": ["10 lo.host.example."]},
    "lo.host.example": {"A": ["127.0.0.7"]},
    "lo6.example": {"AAAA": ["::1"]},
    "mapped.example": {"AAAA": ["::ffff:127.0.0.1"]},
    "any.example": {"A": ["0.0.0.0"]},
    "backup.example": {"MX": ["10 a.example.", "20 me.example.", "20 b.example.", "30 c.example."]},
    "best.example": {"MX": ["10 me.example.", "20 b.example."]},
    "failbackup.example": {"MX": ["10 fail.example.", "20 me.example."]},
    "me.example": {"A": ["203.0.113.99"]},
    "linklocal.example": {"AAAA": ["fe80::1"]},
    "many.example": {"MX": [f"{n} a.example." for n in range(100)]},
    "wide.example": {"A": [f"203.0.113.{n}" for n in range(1, 100)]},
    **{f"chain{n}.example": {"CNAME": [f"chain{n + 1}.example."]} for n in range(40)},
    "loop.example": {"CNAME": ["loop2.example."]}, "loop2.example": {"CNAME": ["loop.example."]},
}


def ask(domain: str, *, zone: dict[str, dict[str, list[str] | str]] = ZONE, follow: bool = True, **options: object) -> Hosts | Outcome:
    with NameServer(zone, follow=follow) as server:
        timeout_s = 0.3 if domain == "silent.example" else 20.0
        resolver = Resolver("me.example", server=server.address, timeout_s=timeout_s, **options)      # type: ignore[arg-type]
        return asyncio.run(resolver.hosts(domain))


@pytest.mark.parametrize("domain, hosts", [
    ("one.example", [("mx.one.example", ["203.0.113.1", "2001:db8::1"])]),
    ("ONE.Example.", [("mx.one.example", ["203.0.113.1", "2001:db8::1"])]),
    ("order.example", [("a.example", ["203.0.113.11"]), ("b.example", ["203.0.113.12"]), ("c.example", ["203.0.113.13"])]),
    ("bare.example", [("bare.example", ["203.0.113.2"])]),
    ("six.example", [("six.example", ["2001:db8::6"])]),
    ("halfnull.example", [("a.example", ["203.0.113.11"])]),
    ("alias.example", [("mx.one.example", ["203.0.113.1", "2001:db8::1"])]),
    ("halffail.example", [("b.example", ["203.0.113.12"])]),
    ("fail4.example", [("fail4.example", ["2001:db8::4"])]),
    ("hole.example", [("b.example", ["203.0.113.12"])]),
    ("backup.example", [("a.example", ["203.0.113.11"])]),
])
@pytest.mark.parametrize("follow", [True, False], ids=["recursive server", "server that does not follow CNAME"])
def test_hosts(domain: str, hosts: Hosts, follow: bool) -> None:
    assert ask(domain, follow=follow) == hosts


@pytest.mark.parametrize("domain, status", [
    ("missing.example", "5.1.2"), ("empty.example", "5.1.2"), ("nowhere.example", "5.1.2"), ("linklocal.example", "5.1.2"),
    ("null.example", "5.1.10"),
    ("servfail.example", "4.4.3"), ("silent.example", "4.4.3"), ("allfail.example", "4.4.3"), ("failbackup.example", "4.4.3"),
    ("loop.example", "4.4.3"), ("chain0.example", "4.4.3"),
    ("lo.example", "5.4.6"), ("lo6.example", "5.4.6"), ("mapped.example", "5.4.6"), ("any.example", "5.4.6"), ("best.example", "5.4.6"),
    ("a..example", "5.1.2"), ("x" * 64 + ".example", "5.1.2"),
])
def test_no_hosts(domain: str, status: str) -> None:
    answer = ask(domain)
    assert isinstance(answer, Outcome) and answer.status == status and answer.text.isprintable()


def test_a_alias_to_a_name_without_mx() -> None:
    hosts = ask("alias2.example")
    assert isinstance(hosts, list) and [addresses for _, addresses in hosts] == [["203.0.113.2"]]


def test_equal_preferences_are_shuffled() -> None:
    orders = set()
    with NameServer(ZONE) as server:
        resolver = Resolver("me.example", server=server.address, shuffle=random.Random(7))

        async def many() -> None:
            for _ in range(60):
                hosts = await resolver.hosts("equal.example")
                assert isinstance(hosts, list)
                orders.add(tuple(name for name, _ in hosts))
        asyncio.run(many())
        assert len(server.asked) == 7                            # MX once, A and AAAA of three: the rest came from the cache
    assert len(orders) == 6


def test_nothing_loops_to_a_port_we_do_not_listen_on() -> None:
    assert ask("lo.example", port=2525) == [("lo.host.example", ["127.0.0.7"])]
    answer = ask("lo.example", port=2525, own_ports=frozenset((25, 2525)))
    assert isinstance(answer, Outcome) and answer.status == "5.4.6"


def test_a_backup_mx_behind_nat_never_sends_to_itself() -> None:
    zone = {**ZONE, "order.example": {"MX": ["30 c.example.", "10 a.example.", "20 b.example.", "20 a2.example."]}, "a2.example": {"A": ["203.0.113.15"]}}
    assert ask("order.example", zone=zone, own_addresses=("203.0.113.12",)) == [("a.example", ["203.0.113.11"])]
    best = ask("order.example", zone=zone, own_addresses=("203.0.113.11",))
    assert isinstance(best, Outcome) and best.status == "5.4.6"


def test_a_flood_of_hosts_is_cut() -> None:
    many, wide = ask("many.example"), ask("wide.example")
    assert isinstance(many, list) and len(many) <= 20
    assert isinstance(wide, list) and len(wide[0][1]) <= 6


def test_addresses_of_a_named_host() -> None:
    with NameServer(ZONE) as server:
        resolver = Resolver("me.example", server=server.address, timeout_s=20.0)
        assert asyncio.run(resolver.addresses("203.0.113.7")) == ["203.0.113.7"]
        assert asyncio.run(resolver.addresses("lo.host.example")) == ["127.0.0.7"]        # the admin may mean this host
        assert "127.0.0.1" in asyncio.run(resolver.addresses("localhost"))                # type: ignore[operator]
        answer = asyncio.run(resolver.addresses("fail.example"))
        assert isinstance(answer, Outcome) and answer.temporary


@pytest.mark.parametrize("host, addresses", [("relay", ["203.0.113.5"]), ("RELAY.example", ["203.0.113.5", "2001:db8::5"]), ("lost", []),
                                             ("203.0.113.5", []), ("comment", [])])
def test_in_hosts(host: str, addresses: list[str]) -> None:
    text = "# comment\n203.0.113.5\trelay.example relay # comment\n\nlost lost\n2001:DB8::5 relay.EXAMPLE\n203.0.113.5 relay.example\n"
    assert in_hosts(text, host) == addresses


def test_a_short_name_is_looked_for_in_the_search_domains() -> None:
    with NameServer(ZONE) as server:
        resolver = Resolver("me.example", server=server.address, timeout_s=20.0)
        import dns.name
        made = resolver._resolver()
        made.search = [dns.name.from_text("example.")]
        assert asyncio.run(resolver.addresses("bare")) == ["203.0.113.2"]
        answer = asyncio.run(resolver.addresses("missing"))
        assert isinstance(answer, Outcome) and answer.temporary      # an admin wrote it: nothing is returned for a typing error


def test_no_name_server_there() -> None:
    with NameServer(ZONE) as server:
        address = server.address
    answer = asyncio.run(Resolver("me.example", server=address, timeout_s=0.3).hosts("one.example"))
    assert isinstance(answer, Outcome) and answer.status == "4.4.3"


def test_server_must_be_an_address() -> None:
    with pytest.raises(ValueError):
        Resolver("me.example", server=("ns.example", 53))


@pytest.mark.parametrize("address, own", [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", True), ("203.0.113.1", False),
                                          ("2001:db8::1", False), ("::ffff:127.0.0.1", True)])
def test_is_own(address: str, own: bool) -> None:
    assert is_own(address) is own


NAMES: dict[str, dict[str, list[str] | str]] = {
    "1.113.0.203.in-addr.arpa": {"PTR": ["other.example.", "MX.one.example."]},
    "mx.one.example": {"A": ["203.0.113.1"], "AAAA": ["2001:db8::1"]},
    "other.example": {"A": ["203.0.113.77"]},
    "2.113.0.203.in-addr.arpa": {"PTR": ["other.example."]},
    "4.113.0.203.in-addr.arpa": {"PTR": ["missing.example."]},
    "5.113.0.203.in-addr.arpa": {"PTR": "SERVFAIL"},
    "6.113.0.203.in-addr.arpa": {"PTR": ["fail.example."]}, "fail.example": {"A": "SERVFAIL"},
    "7.113.0.203.in-addr.arpa": {"PTR": "SILENT"},
    "8.113.0.203.in-addr.arpa": {"PTR": [f"n{n}.example." for n in range(50)]},
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": {"PTR": ["mx.one.example."]},
}


@pytest.mark.parametrize("address, found", [("203.0.113.1", "mx.one.example"), ("2001:db8::1", "mx.one.example"), ("203.0.113.2", "5.7.25"),
                                            ("203.0.113.3", "5.7.25"), ("203.0.113.4", "5.7.25"), ("203.0.113.5", "4.4.3"), ("203.0.113.6", "4.4.3"),
                                            ("203.0.113.7", "4.4.3"), ("203.0.113.8", "5.7.25")])
def test_name_of_an_address(address: str, found: str) -> None:
    with NameServer(NAMES) as server:
        resolver = Resolver("me.example", server=server.address, timeout_s=0.3 if address == "203.0.113.7" else 20.0)
        name = asyncio.run(resolver.name_of(address))
        assert len(server.asked) < 20
    assert (name.status if isinstance(name, Outcome) else name) == found


def test_dnspython_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, pymta.resolver; pymta.resolver.Resolver('x'); sys.exit('dns' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
