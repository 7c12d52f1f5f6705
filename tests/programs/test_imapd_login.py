"""Where no password is taken in clear: LOGINDISABLED, and what STARTTLS and port 993 change of it, in the real program."""
from __future__ import annotations

import imaplib

import pytest

from tests.running import Sandbox


@pytest.fixture(scope="module")
def box(module_sandbox_factory) -> Sandbox:
    return module_sandbox_factory(user=["alice:secret"], set=["login.plain_from=192.0.2.0/24"])


def words(client: imaplib.IMAP4) -> set[str]:
    return set(client.capability()[1][-1].decode().split())


def test_no_password_is_taken_in_clear(box: Sandbox) -> None:
    client = imaplib.IMAP4(box.ends["host"], box.ends["imap"])
    assert {"STARTTLS", "LOGINDISABLED", "SASL-IR", "ID"} <= words(client) and not {word for word in words(client) if word.startswith("AUTH=")}
    for attempt in (lambda: client.login("alice", "secret"), lambda: client.authenticate("PLAIN", lambda _: b"\0alice\0secret")):
        with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
            attempt()
    assert "auth-failed" not in box.log()               # nobody was asked
    client.starttls(box.tls())
    assert not {"STARTTLS", "LOGINDISABLED"} & words(client) and {"AUTH=PLAIN", "AUTH=LOGIN"} <= words(client)
    client.login("alice", "secret")
    assert not {"STARTTLS", "LOGINDISABLED", "AUTH=PLAIN"} & words(client)
    client.logout()


def test_under_tls_from_the_first_octet(box: Sandbox) -> None:
    client = imaplib.IMAP4_SSL(box.ends["host"], box.ends["imaps"], ssl_context=box.tls())
    assert not {"STARTTLS", "LOGINDISABLED"} & words(client) and "AUTH=PLAIN" in words(client)
    assert client.authenticate("PLAIN", lambda _: b"\0alice\0secret")[0] == "OK"
    client.logout()
