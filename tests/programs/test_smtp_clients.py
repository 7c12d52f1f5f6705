"""Mail programs of others hand mail to us: over STARTTLS and implicit TLS, with every mechanism, to the MX port and by LMTP.

Each is run for real where it is installed; the certificate is checked against the sandbox's own authority.
"""
from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.mailclients import CLIENTS, RECIPIENT, SENDER, Client, Door, Mail, Refused, Way
from tests.running import Sandbox, wait_until

BODY = ("Grüße aus Köln, 日本語, 🙂\n.\n..\n.dot first\n\ntrailing blanks  \t\n" + "long " * 180 + "end\nFrom the start\n>From quoted\n\n"
        "last line\n").encode()
REFUSALS = [Way("submission", "starttls", "PLAIN"), Way("submissions", "implicit", "PLAIN"), Way("submission", "starttls", "LOGIN")]


def each(*ways: Way):
    """Run the test with each client in each of ways that it can; without any: in all that it can."""
    rows = [pytest.param(client, way, id=f"{client.name.replace(' ', '-')}-{way}") for client in CLIENTS for way in ways or client.ways
            if way in client.ways]
    return pytest.mark.parametrize(("client", "way"), rows)


def need(client: Client) -> None:
    if reason := client.missing():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def wrong_authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    import trustme
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


def door(sandbox: Sandbox, way: Way, tmp_path, **given: str) -> Door:
    user = sandbox.user("alice")
    rows = {"user": user["address"], "password": user["password"], "ca": sandbox.ends["ca_file"], "home": str(tmp_path), **given}
    return Door(sandbox.ends[way.listener], **rows)


def subjects(sandbox: Sandbox) -> Iterator[tuple[str, bytes]]:
    for path in sandbox.inbox("bob"):
        with open(path, "rb") as file:
            data = file.read()
        if found := re.search(rb"^Subject: (.+)$", data, re.M):
            yield found[1].decode(), data


def wait_for(sandbox: Sandbox, subject: str) -> bytes:
    """The one message with this subject."""
    wait_until(lambda: subject in dict(subjects(sandbox)), 30, lambda: sandbox.log()[-4000:])
    found = [data for its, data in subjects(sandbox) if its == subject]
    assert len(found) == 1
    return found[0]


@each()
def test_a_message_arrives_as_it_was_sent(sandbox: Sandbox, client: Client, way: Way, tmp_path) -> None:
    need(client)
    mail = Mail(f"{client.name.replace(' ', '-')}-{way}", BODY)
    client.send(way, door(sandbox, way, tmp_path), mail)
    data = wait_for(sandbox, mail.subject)
    header, _, body = data.partition(b"\n\n")
    if client.whole:
        assert data.endswith(mail.bytes)
    assert body == BODY
    assert data.startswith(b"Return-Path: <%s>\nDelivered-To: %s\n" % (SENDER.encode(), RECIPIENT.encode()))
    protocol = ("LMTP" if way.listener == "lmtp" else "ESMTP") + "S" * bool(way.tls) + "A" * bool(way.mechanism)
    if client.name == "s-nail" and not way.mechanism:
        protocol = "SMTP"                               # it says HELO where it wants no extension
    assert b" with %s id " % protocol.encode() in header, header
    assert (b"TLSv1.3" in header) == bool(way.tls), header


@each(*REFUSALS)
def test_a_wrong_password_sends_nothing(sandbox: Sandbox, client: Client, way: Way, tmp_path) -> None:
    need(client)
    mail = Mail(f"password-{client.name.replace(' ', '-')}-{way}", BODY)
    with pytest.raises(Refused):
        client.send(way, door(sandbox, way, tmp_path, password="wrong"), mail)
    assert mail.subject not in dict(subjects(sandbox))


@each(*REFUSALS[:2])
def test_a_certificate_of_another_authority_is_not_trusted(sandbox: Sandbox, client: Client, way: Way, tmp_path, wrong_authority: str) -> None:
    need(client)
    mail = Mail(f"authority-{client.name.replace(' ', '-')}-{way}", BODY)
    with pytest.raises(Refused):
        client.send(way, door(sandbox, way, tmp_path, ca=wrong_authority), mail)
    assert mail.subject not in dict(subjects(sandbox))
