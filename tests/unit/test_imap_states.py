"""In every state there is, what the transcripts say, a little spoilt: an answer, never an exception, and lines that are IMAP.

A second session changes the mailboxes meanwhile.  What once broke stands as an example above the test.  Words put together at random:
test_imap_fuzz.
"""
from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.imapengine import Conversation
from tests.mailboxes import Store
from tests.oddmail import ODD
from tests.sessions.runner import transcripts

SELECT = b"p SELECT INBOX\r\n"
STATES: dict[str, tuple[bool, bytes]] = {                # whether somebody is logged in, and what has been said then
    "greeting": (False, b""),
    "within AUTHENTICATE PLAIN": (False, b"p AUTHENTICATE PLAIN\r\n"),
    "within AUTHENTICATE LOGIN": (False, b"p AUTHENTICATE LOGIN\r\nYWxpY2U=\r\n"),
    "within a literal before the login": (False, b"p LOGIN {5}\r\nal"),
    "authenticated": (True, b""),
    "selected": (True, SELECT),
    "examined": (True, b"p EXAMINE INBOX\r\n"),
    "after a SELECT that failed": (True, SELECT + b"p SELECT nowhere\r\n"),
    "deleted messages": (True, SELECT + b"p STORE 2:4 +FLAGS (\\Deleted)\r\n"),
    "idle": (True, SELECT + b"p IDLE\r\n"),
    "idle without a mailbox": (True, b"p IDLE\r\n"),
    "within the literal of APPEND": (True, b"p APPEND INBOX {100}\r\nSubject: x"),
    "between the messages of MULTIAPPEND": (True, b"p APPEND INBOX {3+}\r\nabc {10}\r\n"),
    "within the literal of SEARCH": (True, SELECT + b"p SEARCH CHARSET UTF-8 TEXT {3}\r\n"),
    "a search kept": (True, SELECT + b"p SEARCH RETURN (SAVE) ALL\r\n"),
    "CONDSTORE": (True, b"p SELECT INBOX (CONDSTORE)\r\n"),
    "QRESYNC": (True, b"p ENABLE QRESYNC\r\n" + SELECT),
    "UIDONLY": (True, b"p ENABLE UIDONLY\r\n" + SELECT),
    "IMAP4rev2": (True, b"p ENABLE IMAP4rev2\r\n" + SELECT),
    "UTF8": (True, b"p ENABLE UTF8=ACCEPT\r\n" + SELECT),
    "NOTIFY": (True, SELECT + b"p NOTIFY SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge MailboxName))\r\n"),
}
SAID = sorted({step.text for param in transcripts("imap") for step in param.values[0].steps
               if step.kind == "C" and b"COMPRESS" not in step.text.upper() and len(step.text) < 2000})
OCTETS = st.sampled_from([b"", b" ", b"(", b")", b'"', b"\\", b"{", b"}", b"{0}\r\n", b"{5+}\r\n", b"*", b"%", b"[", b"]", b"<", b"0", b"4294967296", b",", b":",
                          b"\r\n", b"\n", b"\0", b"\xc3", b"&", b"$", b"NIL", b"~"])
EDIT = st.tuples(st.floats(0, 1), st.integers(0, 3), OCTETS)    # where, how many octets go, what comes instead
OTHERS = st.sampled_from(["x UID STORE 1:* +FLAGS.SILENT (\\Deleted)", "x EXPUNGE", "x APPEND INBOX {1+}\nx", "x UID MOVE 2 Sent", "x DELETE Sent", "x RENAME Sent New",
                          "x CREATE Other", "x STORE 1 FLAGS ($a)", "x RENAME INBOX Old"])


def spoilt(text: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, gone, come in edits:
        at = int(where * len(text))
        text = text[:at] + come + text[at + gone:]
    return text


def check(heard: bytes) -> None:
    """Every line begins as a reply does; literals are as long as they say."""
    at = 0
    while at < len(heard):
        end = heard.index(b"\r\n", at) + 2
        assert re.match(rb"(\* |\+ |[^\x00-\x20(){%*\"\\\x7f-\xff+]+ (OK|NO|BAD) )", heard[at:end]), heard[at:end]
        while literal := re.search(rb"\{(\d+)\}\r\n\Z", heard[at:end]):
            end = heard.index(b"\r\n", end + int(literal[1])) + 2
        at = end


@pytest.mark.parametrize("state", STATES)
@example(said=[(b"a LOGIN {999999}\r\n", [(0.0, 0, b"(")], None)])         # what is no tag came back as one
@settings(max_examples=40, deadline=None)
@given(said=st.lists(st.tuples(st.sampled_from(SAID), st.lists(EDIT, max_size=3), st.none() | OTHERS), max_size=8))
def test_whatever_is_said(state: str, said: list[tuple[bytes, list[tuple[float, int, bytes]], str | None]]) -> None:
    store = Store()
    for message in ODD[:12]:
        store.folders["INBOX"].deliver(message)
    logged_in, before = STATES[state]
    talk, other = Conversation(store, logged_in=logged_in), Conversation(store, logged_in=True)
    other.say("o SELECT INBOX")
    talk.feed(before)
    heard = talk.take()
    assert b"p BAD" not in heard and (b"p NO" not in heard or "failed" in state)
    for text, edits, meanwhile in said:
        if meanwhile:
            other.say(meanwhile)
        talk.feed(spoilt(text, edits))
        heard += talk.take()
    check(heard)
    for one in (talk, other):
        if one.session is not None:
            one.session.close()
    assert all(folder.open == 0 and not folder.watchers for folder in store.folders.values()) and not store.tree_told
