"""IMAP libraries of others against the running system.  imaplib, imapclient and the programs of others: test_imapd.py, test_fetchers.py."""
from __future__ import annotations

import asyncio

import pytest

from tests.running import Sandbox


def test_aioimaplib(sandbox: Sandbox) -> None:
    """In clear and over implicit TLS: what came while it idled is heard at once, fetched, stored, moved."""
    aioimaplib = pytest.importorskip("aioimaplib")

    async def converse() -> None:
        user, ends = sandbox.user("alice"), sandbox.ends
        idler = aioimaplib.IMAP4_SSL(host="localhost", port=ends["imaps"], timeout=30, ssl_context=sandbox.tls())
        other = aioimaplib.IMAP4(host="localhost", port=ends["imap"], timeout=30)
        await idler.wait_hello_from_server()
        await other.wait_hello_from_server()
        for client in (idler, other):
            assert (await client.login(user["address"], user["password"])).result == "OK"
            assert (await client.select("INBOX")).result == "OK"
        idling = await idler.idle_start(timeout=60)
        sandbox.send("alice@example.test", "Subject: pushed\n\nhello\n")
        assert any(b"EXISTS" in line for line in await idler.wait_server_push(timeout=30))
        idler.idle_done()
        await asyncio.wait_for(idling, 30)
        assert (await idler.search("SUBJECT", "pushed")).lines[0] == b"1"
        fetched = await idler.fetch("1", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        assert b"Subject: pushed\r\n\r\n" in fetched.lines
        assert (await other.noop()).result == "OK"
        assert (await other.uid("store", "1", "+FLAGS (\\Flagged $Work)")).result == "OK"
        assert (await other.append(b"Subject: sent\r\n\r\nx\r\n", mailbox="Sent", flags="\\Seen")).result == "OK"
        assert (await other.uid("move", "1", "Archive")).result == "OK"
        assert any(b"EXPUNGE" in line for line in (await idler.noop()).lines)
        await idler.select("Archive")
        assert b"\\Flagged" in (await idler.fetch("1", "(FLAGS)")).lines[0]
        for client in (idler, other):
            assert (await client.logout()).result == "OK"

    asyncio.run(converse())
    assert " bug " not in sandbox.log()
