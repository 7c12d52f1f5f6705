"""transports: where mail for a domain goes, pymta-transports(5)."""
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.formats import transports
from pymta.formats.transports import Route, Transports, decode

FILE = b"""# where mail goes
intra.example.net   10.0.0.5:2525
.example.org        smtp:relay.example.org:587
deep.example.org    mx
.b.example.org      lmtp:[2001:db8::1]:8024    # the longest pattern wins
lists.example.net   lmtp:127.0.0.1
plain.example.net   Relay.Example.NET.
"""
ROUTES = [
    ("intra.example.net", Route("smtp", "10.0.0.5", 2525, False)),
    ("INTRA.example.net.", Route("smtp", "10.0.0.5", 2525, False)),
    ("x.intra.example.net", Route("smtp", "x.intra.example.net", 25, True)),
    ("example.org", Route("smtp", "example.org", 25, True)),
    ("a.example.org", Route("smtp", "relay.example.org", 587, False)),
    ("a.c.example.org", Route("smtp", "relay.example.org", 587, False)),
    ("a.b.example.org", Route("lmtp", "2001:db8::1", 8024, False)),
    ("deep.example.org", Route("smtp", "deep.example.org", 25, True)),
    ("lists.example.net", Route("lmtp", "127.0.0.1", 24, False)),
    ("plain.example.net", Route("smtp", "relay.example.net", 25, False)),
    ("other.example", Route("smtp", "other.example", 25, True)),
    ("[192.0.2.1]", Route("smtp", "192.0.2.1", 25, False)),
    ("[ipv6:2001:db8::2]", Route("smtp", "2001:db8::2", 25, False)),
]
BAD = [b"a.test", b"a.test b:1 c", b"a..test x:1", b"a.test x:0", b"a.test x:65536", b"a.test x:y", b"a.test :25", b"a.test ::1:25", b"a.test [x]:25",
       b"a.test [::1", b"a.test ftp:x:25", b"a.test lmtp:", b"* x:123456", b"a/b x:25", "a.test x:²".encode(), b"\xff x:25", b"a.test \xff:25"]


@pytest.fixture
def path(tmp_path):
    (tmp_path / "transports").write_bytes(FILE)
    return str(tmp_path / "transports")


@pytest.mark.parametrize("domain, route", ROUTES)
def test_route(path, domain, route):
    assert Transports(path, None).route(domain) == route


def test_smarthost_takes_what_no_line_says(path):
    table = Transports(path, ("smart.example", 587))
    assert table.route("other.example") == Route("smtp", "smart.example", 587, False)
    assert table.route("[192.0.2.1]") == Route("smtp", "smart.example", 587, False)
    assert table.route("deep.example.org").mx
    assert table.route("intra.example.net").host == "10.0.0.5"


def test_star_beats_the_smarthost(path):
    with open(path, "ab") as file:
        file.write(b"* last.example:26")                    # and no newline
    assert Transports(path, ("smart.example", 587)).route("other.example") == Route("smtp", "last.example", 26, False)


def test_without_a_file(tmp_path):
    assert Transports(str(tmp_path / "none"), None, 2525).route("x.test") == Route("smtp", "x.test", 2525, True)


def test_live(path):
    table = Transports(path, None)
    assert table.route("new.test").mx
    with open(path, "ab") as file:
        file.write(b"new.test 127.0.0.1:26\n")
    assert not table.route("new.test").mx


@pytest.mark.parametrize("line", BAD)
def test_bad_line_is_named_and_the_others_hold(line):
    table = decode(b"a.example x:25\n" + line + b"\nb.example y:25\n")
    assert set(table.by_pattern) == {"a.example", "b.example"}
    (number, reason), = table.complaints
    assert number == 2 and ";" in reason and reason.isprintable()


def test_the_first_of_two_lines_holds():
    table = decode(b"A.test x:25\na.test y:25\n")
    assert table.by_pattern["a.test"][1] == Route("smtp", "x", 25, False)
    assert [number for number, _ in table.complaints] == [2]


def test_same_route_same_key(path):
    table = Transports(path, None)
    assert table.destination("a.example.org") == table.destination("a.c.example.org") == "smtp:relay.example.org:587"
    assert table.destination("Other.Example") == "other.example"
    assert table.destination("a.b.example.org") == "lmtp:[2001:db8::1]:8024"


@given(st.text(max_size=300))
def test_a_key_is_a_file_name(domain):
    key = Transports("/nonexistent/transports", None).destination(domain)
    assert 0 < len(os.fsencode(key)) <= transports.KEY_MAX_OCTETS + 1
    assert key[0] not in ".-" and key.isascii() and key.isprintable() and not set(key) & set("/ \\")


def test_keys_of_different_routes_differ():
    long = "d" * 63
    routes = [Route("smtp", host, 25, mx) for mx in (True, False)
              for host in ("a", "A ", "a/", "a%2f", ".a", "%.a", ".".join([long] * 3) + ".a", ".".join([long] * 3) + ".b" + "c" * 40)]
    assert len({transports.key(route) for route in routes}) == len(routes)


@given(st.binary(max_size=200))
def test_total(data):
    decode(data)
