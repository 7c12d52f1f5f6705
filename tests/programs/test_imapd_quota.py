"""QUOTA as clients see it, from maildirsize: what does not fit is refused, what goes makes room, at once."""
from __future__ import annotations

import imaplib
import os
from pathlib import Path

import pytest

from tests.running import Sandbox

KIB = b"Subject: k\r\n\r\n" + b"x" * 62 + b"\r\n" + (b"y" * 62 + b"\r\n") * 15
WHEN = imaplib.Time2Internaldate(0)


@pytest.fixture(scope="module")
def box(module_sandbox_factory) -> Sandbox:
    return module_sandbox_factory(user=["alice:secret", "bob:secret"], set=["local.quota=20K"])


def used(client: imaplib.IMAP4) -> bytes:
    kind, (_, quotas) = client.getquotaroot("INBOX")
    return quotas[0]


def test_what_does_not_fit_is_refused_and_what_goes_makes_room(box: Sandbox) -> None:
    alice = box.imap("alice")
    assert used(alice) == b'"" (STORAGE 0 20)'
    for number in range(18):
        assert alice.append("INBOX", "", WHEN, KIB)[0] == "OK"
    alice.select()
    kind, (text,) = alice.copy("1:5", "Archive")
    assert (kind, text[:11]) == ("NO", b"[OVERQUOTA]")
    assert alice.copy("1", "Archive")[0] == "OK" and used(alice) == b'"" (STORAGE 19 20)'
    kind, (text,) = alice.append("INBOX", "", WHEN, KIB * 3)
    assert (kind, text[:11]) == ("NO", b"[OVERQUOTA]")
    assert alice._simple_command("MOVE", "1:9", "Archive")[0] == "OK"            # holds no more than before
    alice.store("1:9", "+FLAGS.SILENT", "\\Deleted")
    alice.expunge()
    assert alice.append("INBOX", "", WHEN, KIB * 3)[0] == "OK"
    assert used(alice) == b'"" (STORAGE 13 20)'
    alice.logout()
    counted = Path(box.user("alice")["maildir"], "maildirsize").read_bytes()
    assert counted.startswith(b"20480S\n")


def test_a_quota_of_ones_own_holds_from_the_next_login_on(box: Sandbox) -> None:
    path = os.path.join(box.ends["etc"], "users")
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{line}:quota=1M\n" if line.startswith("bob") else f"{line}\n" for line in lines))
    bob = box.imap("bob")
    assert used(bob) == b'"" (STORAGE 0 1024)'
    bob.logout()
