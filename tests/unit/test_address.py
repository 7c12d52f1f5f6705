"""address: paths of MAIL and RCPT, RFC 5321 §4.1.2."""
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pymta.message import address
from pymta.message.address import BadAddress, parse, parse_path

LONG_LABEL = b"d" * 63
LONG_DOMAIN = b".".join([LONG_LABEL] * 3)

GOOD = [
    # path, local, domain, rest
    (b"<ann@client.example>", b"ann", b"client.example", b""),
    (b"<ann@client.example> SIZE=1 BODY=8BITMIME", b"ann", b"client.example", b" SIZE=1 BODY=8BITMIME"),
    (b"  <ann@client.example>", b"ann", b"client.example", b""),
    (b"<>", b"", b"", b""),
    (b"<> SIZE=1", b"", b"", b" SIZE=1"),
    (b"<postmaster>", b"postmaster", b"", b""),
    (b"<PostMaster>", b"PostMaster", b"", b""),
    (b"<Ann.Other@CLIENT.Example>", b"Ann.Other", b"client.example", b""),
    (b"<a!b%c@us.example>", b"a!b%c", b"us.example", b""),
    (b"<!#$%&'*+-/=?^_`{|}~@x>", b"!#$%&'*+-/=?^_`{|}~", b"x", b""),
    # quoted local parts; needless quotes and backslashes go
    (b'<"a@b"@c.example>', b'"a@b"', b"c.example", b""),
    (b'<"a b"@c.example>', b'"a b"', b"c.example", b""),
    (b'<"a.b"@c.example>', b"a.b", b"c.example", b""),
    (b'<"\\a\\.b"@c.example>', b"a.b", b"c.example", b""),
    (b'<"a..b"@c.example>', b'"a..b"', b"c.example", b""),
    (b'<"a\\"b"@c.example> X', b'"a\\"b"', b"c.example", b" X"),
    (b'<"a\\\\"@c.example>', b'"a\\\\"', b"c.example", b""),
    (b'<"a>b"@c.example>', b'"a>b"', b"c.example", b""),
    (b'<">"@c.example> Y=">"', b'">"', b"c.example", b' Y=">"'),
    (b'<""@c.example>', b'""', b"c.example", b""),
    # source routes, RFC 5321 §C
    (b"<@a,@b:c@d>", b"c", b"d", b""),
    (b"<@a.example:c@d.example>", b"c", b"d.example", b""),
    (b"<@us.example:user@ext.example>", b"user", b"ext.example", b""),
    # literals
    (b"<p@[192.0.2.1]>", b"p", b"[192.0.2.1]", b""),
    (b"<p@[IPv6:2001:DB8::1]>", b"p", b"[ipv6:2001:db8::1]", b""),
    (b"<p@[IPv6:::1]>", b"p", b"[ipv6:::1]", b""),
    # a host that exists
    (b"<a@under_score.example>", b"a", b"under_score.example", b""),
    # limits, RFC 5321 §4.5.3.1
    (b"<" + b"a" * 64 + b"@x.example>", b"a" * 64, b"x.example", b""),
    (b"<bounces+" + b"1" * 80 + b"=user=dest.example@em.example>", b"bounces+" + b"1" * 80 + b"=user=dest.example", b"em.example", b""),
    (b"<" + b"a" * 62 + b"@" + LONG_DOMAIN + b">", b"a" * 62, LONG_DOMAIN, b""),
]

BAD = [
    b"", b"<", b">", b"ann@client.example", b"<ann@client.example", b"<ann>", b"<ann@>", b"<@>", b"<@b>", b"<@a:>", b"<a@b>c", b"<a@b>SIZE=1",
    b"<a@b@c>", b"<user@ext@us.example>", b"<a b@c>", b"<.a@b>", b"<a.@b>", b"<a..b@c>", b"<a@.b>", b"<a@b.>", b"<a@b..c>", b"<a@-b>", b"<a@b->",
    b"<a@b c>", b"<a@b/c>", b"<a@[]>", b"<a@[1.2.3]>", b"<a@[1.2.3.4>", b"<a@[1.2.3.4.5]>", b"<a@[IPv6:1.2.3.4]>", b"<a@[IPv6:fe80::1%lo]>",
    b"<a@[x:y]>", b'<"a@b>', b'<"a"b@c>', b'<a"b"@c>', b'<"a\\"@c>', b'<"a"@>', b'<"a">', b'<"a\nb"@c>', b'<"a\x00b"@c>', b"<a\r\n@c>", b"<a\x00@c>",
    b"<a@c\n>", b"<\xe4@c>", b"<a@\xe4>", b'<"\xe4"@c>', b"<(comment)a@b>", b"<a(comment)@b>", b"<" + b"(" * 100_000 + b"@b>", b"<@a,b:c@d>",
    b"<@a\n:c@d>", b"<a@" + b"d" * 64 + b".example>", b"<" + b"a" * 63 + b"@" + LONG_DOMAIN + b">", b"<a@" + b"d." * 200 + b"d>",
    b"<" + b"@a," * 1000 + b"@a:c@d>", b'<"' + b"a" * 3000 + b'"@b>', b"<postmaster >", b"<<a@b>>", b"< a@b>", b"<a@b >",
]


@pytest.mark.parametrize("data, local, domain, rest", GOOD)
def test_path(data, local, domain, rest):
    path = parse_path(data)
    assert (path.local, path.domain, path.rest) == (local, domain, rest)
    assert path.null == (data.strip().startswith(b"<>"))


@pytest.mark.parametrize("data", BAD)
def test_no_path(data):
    with pytest.raises(BadAddress) as refusal:
        parse_path(data)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 120


def test_a_path_says_its_address():
    assert parse_path(b"<Ann@B.example>").address == b"Ann@b.example"
    assert parse_path(b"<>").address == b""
    assert parse_path(b"<Postmaster>").address == b"Postmaster"


def test_utf8_only_where_it_was_agreed():
    assert parse_path("<jürgen@Bücher.example>".encode(), utf8=True).domain == b"xn--bcher-kva.example"      # A-labels: one name, one spelling
    assert parse_path('<"jü rgen"@x>'.encode(), utf8=True).local == '"jü rgen"'.encode()


@given(st.binary(max_size=300))
@example(b'<"\\')
@example(b'<"')
@example(b'<@:"@')
@example(b"<a@[IPv6:>")
def test_total(data):
    for text in (data, b"<" + data + b">", b"<a@" + data + b">", b'<"' + data + b'"@b>', b"<@" + data):
        for utf8 in (False, True):
            try:
                path = parse_path(text, utf8=utf8)
            except BadAddress:
                continue
            assert not any(octet < 32 or octet == 127 for octet in path.address)
            assert len(path.address) <= address.ADDRESS_MAX_OCTETS
            if not path.null:
                assert parse_path(b"<" + path.address + b">", utf8=True).address == path.address


@given(st.text("ab.@\"\\<>[]: ,%!", max_size=30))
def test_what_is_parsed_is_written_the_same_way_again(text):
    try:
        local, domain = parse(text.encode())
    except BadAddress:
        return
    assert parse(local + b"@" + domain) == (local, domain)


def test_split():
    assert address.split(b'"a@b"@c') == (b'"a@b"', b"c")
    assert address.split(b"postmaster") == (b"postmaster", b"")


def test_literal_ip():
    assert address.literal_ip(b"[127.0.0.1]") == "127.0.0.1"
    assert address.literal_ip(b"[IPv6:::1]") == "::1"
    assert address.literal_ip(b"example") == ""


@pytest.mark.parametrize("unit", [b"(", b'"', b'"\\"', b"\\", b"@", b"@a,", b".", b"a.", b"<", b">", b'">'])
def test_linear(unit):
    """A line of 1 MB in any of these takes no more than a look: the work is counted, not the time."""
    data = b"<" + unit * (1_000_000 // len(unit))
    lines = 0

    import sys

    def count(frame, event, arg):
        nonlocal lines
        lines += event == "line"
        return count
    sys.settrace(count)
    try:
        parse_path(data)
    except BadAddress:
        pass
    finally:
        sys.settrace(None)
    assert lines < 60_000
