"""The transcripts of tests/sessions/imap against the engines, whole and a byte at a time."""
from __future__ import annotations

import codecs

import pytest

from tests.imapengine import Conversation
from tests.mailboxes import Store
from tests.sessions.runner import EnginePeer, Transcript, play, transcripts


@pytest.mark.parametrize("bite", [0, 1], ids=["whole", "by-byte"])
@pytest.mark.parametrize("transcript", transcripts("imap"))
def test_transcript(transcript: Transcript, bite: int) -> None:
    store = Store()
    for name, value in transcript.options:
        if name == "quota":
            store.quota_octets = int(value)
        if name == "mail":
            store.folders["INBOX"].deliver(codecs.escape_decode(value.encode())[0])      # type: ignore[attr-defined]
    talk = Conversation(store, plain=transcript.option("plain") != "no")
    play(transcript, EnginePeer(talk.feed, talk.take, talk.ended, talk.secured, bite=bite))
    if talk.session is not None:
        talk.session.close()
    assert all(folder.open == 0 and not folder.listeners for folder in store.folders.values())
