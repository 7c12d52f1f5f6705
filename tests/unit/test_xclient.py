"""XCLIENT's attributes."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.proto import xclient


def test_attributes() -> None:
    assert xclient.parse(b"name=mx.client.example ADDR=192.0.2.7 PORT=25 proto=esmtp HELO=[192.0.2.7] LOGIN=al+2Bice@x DESTADDR=IPV6:2001:DB8::1") == {
        b"NAME": "mx.client.example", b"ADDR": "192.0.2.7", b"PORT": "25", b"PROTO": "ESMTP", b"HELO": "[192.0.2.7]", b"LOGIN": "al+ice@x",
        b"DESTADDR": "2001:db8::1"}
    assert xclient.parse(b"NAME=[unavailable] LOGIN=[TEMPUNAVAIL] ADDR=IPV6:::ffff:192.0.2.7") == {b"NAME": "", b"LOGIN": "", b"ADDR": "192.0.2.7"}


@pytest.mark.parametrize("rest", [b"", b"ADDR", b"ADDR=", b"ADDR=192.0.2", b"ADDR=IPV6:192.0.2.256", b"ADDR=1.2.3.4 ADDR=1.2.3.4", b"NAME=a+0Ab", b"NAME=a+zz",
                                  b"NAME=a b", b"HELO=a<b", b"HELO=\xc3\xa4", b"PORT=0", b"PORT=70000", b"PORT=x", b"PROTO=HTTP", b"LOGIN=a+00b", b"LOGIN=\xff",
                                  b"COLOUR=red", b"=x", b"LOGIN=" + b"x" * 300, b"NAME=" + b"x" * 300])
def test_refused(rest: bytes) -> None:
    with pytest.raises(ValueError):
        xclient.parse(rest)


@given(st.sampled_from(xclient.NAMES), st.binary(max_size=40))
def test_what_comes_out_is_printable(name: bytes, value: bytes) -> None:
    try:
        found = xclient.parse(b"%s=%s" % (name, value))
    except ValueError:
        return
    assert all(text.isprintable() for text in found.values())
