"""METADATA and roles in the real program: limits as clients hear them, two sessions, and a mailbox that is renamed."""
from __future__ import annotations

import imaplib
from pathlib import Path

import pytest

from tests.running import Sandbox


@pytest.fixture(scope="module")
def box(module_sandbox_factory) -> Sandbox:
    return module_sandbox_factory(user=["alice:secret", "bob:secret"])


def said(client: imaplib.IMAP4, line: bytes) -> bytes:
    """What is answered to one command, up to its tagged reply."""
    client.send(b"m " + line + b"\r\n")
    heard = b""
    while not heard.startswith(b"m ") and b"\r\nm " not in heard:
        heard += client.readline()
    return heard


def test_limits(box: Sandbox) -> None:
    alice = box.imap("alice")
    assert b"m NO [METADATA MAXSIZE 65536]" in said(alice, b'SETMETADATA INBOX (/private/a "x" /private/b {65537+}\r\n' + b"x" * 65537 + b")")
    assert b"m OK" in said(alice, b"SETMETADATA INBOX (/private/b {65536+}\r\n" + b"x" * 65536 + b")")
    for number in range(99):
        assert b"m OK" in said(alice, b'SETMETADATA INBOX (/private/n/%d "x")' % number)
    assert b"m NO [METADATA TOOMANY]" in said(alice, b'SETMETADATA INBOX (/private/more "x")')
    assert b"m OK [METADATA LONGENTRIES 65536]" in said(alice, b"GETMETADATA (MAXSIZE 100 DEPTH infinity) INBOX /private")
    assert b"/private/a" not in said(alice, b"GETMETADATA (DEPTH 1) INBOX /private")
    alice.logout()


def test_what_one_session_writes_another_reads_also_under_another_name(box: Sandbox) -> None:
    one, other = box.imap("bob"), box.imap("bob")
    assert b"m OK" in said(one, b"CREATE Entwurf (USE (\\Drafts))")
    assert b"m OK" in said(one, b'SETMETADATA Entwurf (/shared/comment "ours")')
    assert b'("/shared/comment" "ours" "/private/specialuse" "\\\\Drafts")' in said(other, b"GETMETADATA Entwurf (/shared/comment /private/specialuse)")
    assert b"m OK" in said(other, b"RENAME Entwurf Brouillons")
    assert b'(\\HasNoChildren \\Drafts) "." "Brouillons"' in said(one, b'LIST (SPECIAL-USE) "" *')
    file = Path(box.user("bob")["maildir"], ".Brouillons", "metadata")
    assert file.read_bytes() == b"1\n/private/specialuse\t\\\\Drafts\n/shared/comment\tours\n" and file.stat().st_mode & 0o777 == 0o600
    assert b"m OK" in said(one, b"DELETE Brouillons") and b"m OK" in said(one, b"CREATE Brouillons")
    assert b'("/shared/comment" NIL)' in said(other, b"GETMETADATA Brouillons /shared/comment")
    one.logout()
    other.logout()
