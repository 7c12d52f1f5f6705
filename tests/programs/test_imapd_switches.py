"""pymta-imapd with capabilities switched off for all, for one account and for one client."""
from __future__ import annotations

import imaplib
import os

import pytest

from tests.running import Sandbox

imaplib.Commands["ID"] = imaplib.Commands["ENABLE"] = ("NONAUTH", "AUTH", "SELECTED")


@pytest.fixture(scope="module")
def box(module_sandbox_factory) -> Sandbox:
    return module_sandbox_factory(user=["alice:secret", "bob:secret"], set=["imap.without=WITHIN SASL-IR", "imap.client_without=Phone *: QRESYNC"])


def words(client: imaplib.IMAP4) -> list[str]:
    return client.capability()[1][-1].decode().split()


def test_for_all_and_for_an_account_at_its_next_login(box: Sandbox) -> None:
    before = imaplib.IMAP4(box.ends["host"], box.ends["imap"])
    assert "SASL-IR" not in words(before) and "LITERAL-" in words(before)
    before.shutdown()
    path = os.path.join(box.ends["etc"], "users")
    with open(path, encoding="utf-8") as file:
        lines = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{line}:without=MOVE,CONDSTORE\n" if line.startswith("alice") else f"{line}\n" for line in lines.splitlines()))
    alice, bob = box.imap("alice"), box.imap("bob")
    assert not {"WITHIN", "SASL-IR", "MOVE", "CONDSTORE", "QRESYNC"} & set(words(alice)) and "IDLE" in words(alice)
    assert {"MOVE", "CONDSTORE", "QRESYNC"} <= set(words(bob)) and "WITHIN" not in words(bob)
    alice.xatom("ENABLE", "CONDSTORE")
    assert alice.response("ENABLED") == ("ENABLED", [b""])
    alice.logout()
    bob.logout()


def test_for_a_client_that_says_its_name_before_the_login(box: Sandbox) -> None:
    client = imaplib.IMAP4(box.ends["host"], box.ends["imap"])
    client.xatom("ID", '("name" "Phone 7")')
    client.login("bob", "secret")
    assert "QRESYNC" not in words(client) and "CONDSTORE" in words(client)
    client.xatom("ID", '("name" "Desk")')
    assert "QRESYNC" in words(client)
    client.logout()
