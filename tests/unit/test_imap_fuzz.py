"""Whatever a client says, in whatever state: an answer, never an exception, and lines that are IMAP."""
from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from pymta.proto.mask import Imap
from tests.imapengine import Conversation
from tests.mailboxes import Store
from tests.oddmail import ODD

WORDS = [b"LOGIN", b"AUTHENTICATE", b"PLAIN", b"LOGOUT", b"NOOP", b"CAPABILITY", b"SELECT", b"EXAMINE", b"CREATE", b"DELETE", b"RENAME", b"LIST", b"LSUB",
         b"STATUS", b"APPEND", b"FETCH", b"STORE", b"COPY", b"MOVE", b"SEARCH", b"EXPUNGE", b"CLOSE", b"UNSELECT", b"IDLE", b"DONE", b"UID", b"ID",
         b"INBOX", b"Sent", b"1", b"1:*", b"*", b"2,5", b"99", b"(", b")", b'"', b"\\", b"FLAGS", b"+FLAGS", b"-FLAGS.SILENT", b"\\Seen", b"\\Deleted", b"$x",
         b"BODY[]", b"BODY.PEEK[1.2.MIME]<0.5>", b"BODY[HEADER.FIELDS (From)]", b"ENVELOPE", b"BODYSTRUCTURE", b"RFC822.SIZE", b"ALL", b"NOT", b"OR",
         b"TEXT", b"SUBJECT", b"BEFORE", b"1-Jan-2024", b"RETURN", b"(COUNT)", b"CHARSET", b"UTF-8", b"{3+}\r\nabc", b"{3}", b"{99999+}", b"%", b"(MESSAGES)",
         b"$", b"(SAVE)", b"(PARTIAL -1:-2)", b"ESEARCH", b"IN (personal)", b"NOTIFY", b"SET", b"STATUS",
         b"(personal (MessageNew MessageExpunge FlagChange MailboxName))", b"(selected (MessageNew (UID) MessageExpunge))", b"NONE",
         b"GETMETADATA", b"SETMETADATA", b"/private/a", b"GETQUOTA", b"SETQUOTA", b"(USE (", b"UTF8 (", b"~{3+}\r\nabc", b"NIL",
         b"REPLACE", b"CATENATE", b"(URL /INBOX/;UID=1 TEXT {3+}\r\nabc)", b"~{3+}\r\na\0b", b"BINARY[1]<0.2>", b"BINARY.SIZE[2]", b"PREVIEW", b"(LAZY)", b"SAVEDATE",
         b"EMAILID", b"THREADID", b"SAVEDON", b"(MAILBOXID)", b"=", b"AGFsaWNlAHNlY3JldA==", b"&AOQ-", b"\xff", b"\0"]
COMMANDS = st.lists(st.sampled_from([
    b"x SELECT INBOX", b"x FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY[1])", b"x UID STORE 1:9 +FLAGS (\\Deleted)", b"x EXPUNGE", b"x IDLE", b"DONE",
    b"x UID COPY 1:* Sent", b"x SEARCH TEXT a", b"x CLOSE", b"x UID MOVE 3 Trash", b"x APPEND INBOX {3+}\r\nabc", b"x LIST \"\" *", b"x EXAMINE Sent",
    b"x RENAME Sent New", b"x DELETE INBOX", b"x DELETE New", b"x STATUS INBOX (MESSAGES)", b"", b"x SELECT nowhere",
    b"x NOTIFY SET STATUS (selected (MessageNew (BODY[]) MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge MailboxName))", b"x NOTIFY NONE",
    b"x ENABLE IMAP4rev2 UTF8=ACCEPT", b"x CREATE \xc3\xa4 (USE (\\Sent))", b"x SETMETADATA INBOX (/private/a \"b\")", b"x GETQUOTAROOT INBOX",
    b"x LIST \"\" * RETURN (METADATA (/private/a))", b"x GETMETADATA (DEPTH infinity) INBOX (/private /shared)", b"x STATUS INBOX (DELETED-STORAGE)",
    b"x APPEND INBOX UTF8 (~{3+}\r\nabc)",
    b"x FETCH 1:* (BINARY[1] PREVIEW (LAZY) EMAILID THREADID SAVEDATE)", b"x UID REPLACE 2 Sent {3+}\r\nabc",
    b"x APPEND INBOX CATENATE (URL \"/INBOX/;UID=1/;SECTION=1\" TEXT {1+}\r\nx)", b"x APPEND INBOX ~{4+}\r\n\n\n\0\0", b"x SEARCH OR EMAILID M1 THREADID T",
    b"x ENABLE UIDONLY QRESYNC", b"x UID SEARCH RETURN (SAVE PARTIAL 1:2) ALL", b"x ESEARCH IN (personal) ALL", b"x UID FETCH $ FLAGS (PARTIAL -1:-1)"]), max_size=6)
LINE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(b" ".join)
SAID = st.lists(st.one_of(LINE, COMMANDS.map(b"\r\n".join), st.binary(max_size=10)), max_size=8)


@settings(max_examples=300, deadline=None)
@given(SAID, st.booleans())
def test_every_state_answers(said: list[bytes], logged_in: bool) -> None:
    store = Store()
    for message in ODD[:12]:
        store.folders["INBOX"].deliver(message)
    talk = Conversation(store, logged_in=logged_in)
    heard = b""
    mask = Imap(literals=False)
    for line in said:
        talk.feed(b"t " + line + b"\r\n")
        answer = talk.take()
        heard += answer
        shown = [*mask.client(b"t " + line + b"\r\n"), *mask.server(answer)]
        assert not any(b"\n" in one for one in shown)
    at = 0
    while at < len(heard):                              # every line begins as a reply does; literals are as long as they say
        end = heard.index(b"\r\n", at) + 2
        assert re.match(rb"(\* |\+ |[^\x00-\x20(){%*\"\\\x7f-\xff+]+ (OK|NO|BAD) )", heard[at:end]), heard[at:end]
        while literal := re.search(rb"\{(\d+)\}\r\n\Z", heard[at:end]):
            end = heard.index(b"\r\n", end + int(literal[1])) + 2
        at = end
    if talk.session is not None:
        talk.session.close()
    assert all(folder.open == 0 and not folder.watchers for folder in store.folders.values()) and not store.tree_told
