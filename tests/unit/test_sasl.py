"""sasl: PLAIN and LOGIN as the server sees them; whatever the client sends, nothing but Failed is raised."""
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.proto import sasl


def b64(octets: bytes) -> bytes:
    return base64.b64encode(octets)


@pytest.mark.parametrize("initial, then, meaning", [
    (b64(b"\0tim\0tanstaaftanstaaf"), [], ("tim", "tanstaaftanstaaf")),            # RFC 4616 §4
    (None, [b64(b"\0tim\0secret")], ("tim", "secret")),
    (b"=", [], sasl.Malformed),
    (None, [b"*"], sasl.Cancelled),
    (b64(b"tim\0tim\0secret"), [], ("tim", "secret")),
    (b64(b"TIM\0tim\0secret"), [], ("tim", "secret")),
    (b64(b"Ursel\0Kurt\0xipj3plmq"), [], sasl.NotAllowed),
    (b64("\0ünal\0pässwörd".encode()), [], ("ünal", "pässwörd")),
    (b64(b"\0tim\0caf\xe9"), [], ("tim", "caf\udce9")),
    (b64(b"\0tim\0"), [], ("tim", "")),
    (b64(b"\0\0secret"), [], sasl.Malformed),
    (b64(b"tim\0secret"), [], sasl.Malformed),
    (b64(b"\0tim\0se\0cret"), [], sasl.Malformed),
    (b64(b"\0tim\0x")[:-2], [], sasl.Malformed),
    (b"AHRpbQB4\xff", [], sasl.Malformed),
    (b"!!!!", [], sasl.Malformed),
    (b"A" * 12292, [], sasl.Malformed),
])
def test_plain(initial, then, meaning):
    assert outcome(b"PLAIN", initial, then) == meaning


@pytest.mark.parametrize("initial, then, meaning", [
    (None, [b64(b"tim"), b64(b"secret")], ("tim", "secret")),
    (b64(b"tim"), [b64(b"secret")], ("tim", "secret")),
    (None, [b64(b"tim"), b"*"], sasl.Cancelled),
    (None, [b64(b"tim"), b""], ("tim", "")),
    (None, [b"", b""], sasl.Malformed),
    (None, [b64(b"a\0b")], sasl.Malformed),
    (b64(b"tim"), [b64(b"a\0b")], sasl.Malformed),
])
def test_login(initial, then, meaning):
    assert outcome(b"login", initial, then) == meaning


def test_the_prompts_of_login_are_what_outlook_expects():
    exchange = sasl.begin(b"LOGIN")
    assert exchange.start(None) == b"VXNlcm5hbWU6"
    assert exchange.answer(b64(b"tim")) == b"UGFzc3dvcmQ6"


def test_an_unknown_mechanism():
    with pytest.raises(sasl.UnknownMechanism):
        sasl.begin(b"CRAM-MD5")


def test_no_password_in_a_repr():
    assert "secret" not in repr(sasl.Credentials("tim", "secret"))


@given(st.sampled_from(sasl.MECHANISMS), st.none() | st.binary(max_size=60), st.lists(st.binary(max_size=60), max_size=3))
def test_garbage_only_fails(mechanism, initial, lines):
    assert outcome(mechanism, initial, lines) is not None


@given(st.binary())
def test_base64_both_ways(octets):
    assert sasl.decode(sasl.encode(octets)) == octets


def outcome(mechanism, initial, lines):
    """(name, password), or the class of failure, or "more" if the client has to go on."""
    try:
        exchange = sasl.begin(mechanism)
        step = exchange.start(initial)
        for line in lines:
            if not isinstance(step, bytes):
                break
            step = exchange.answer(line)
    except sasl.Failed as failure:
        return type(failure)
    return (step.name, step.password) if isinstance(step, sasl.Credentials) else "more"
