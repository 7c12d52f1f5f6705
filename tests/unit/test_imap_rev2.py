"""RFC 9051 Appendix E, one change after the other: what a client that said ENABLE IMAP4rev2 gets, and what one that did not still has."""
from __future__ import annotations

import fnmatch

import pytest

from pymta.proto.imap import capability
from tests.imapengine import Conversation
from tests.mailboxes import Store

# extensions that are part of the protocol now
FOLDED_IN = ("NAMESPACE", "UNSELECT", "UIDPLUS", "ESEARCH", "SEARCHRES", "ENABLE", "IDLE", "SASL-IR", "LIST-EXTENDED", "LIST-STATUS", "MOVE", "LITERAL+",
             "BINARY", "SPECIAL-USE", "STATUS=SIZE", "CHILDREN")
# (the change, what is said, lines that rev2 answers, lines that rev1 answers); * stands for anything in a line, ... for any lines
CHANGES = [
    ("sizes have 64 bits", "x SEARCH LARGER 9007199254740992", ['* ESEARCH (TAG "x")', "x OK *"], ["* SEARCH", "x OK *"]),
    ("NAMESPACE", "x NAMESPACE", ["* NAMESPACE *", "x OK *"], None),
    ("UNSELECT", "x UNSELECT", ["x OK *"], None),
    ("UID EXPUNGE", "x UID EXPUNGE 1", ["* 1 EXPUNGE", "x OK *"], None),
    ("COPYUID", "x COPY 2 Trash", ["x OK [[]COPYUID * 2 1] *"], None),
    ("SEARCH is answered by ESEARCH", "x SEARCH DELETED", ['* ESEARCH (TAG "x") ALL 1', "x OK *"], ["* SEARCH 1", "x OK *"]),
    ("with UID", "x UID SEARCH UNDELETED", ['* ESEARCH (TAG "x") UID ALL 2', "x OK *"], ["* SEARCH 2", "x OK *"]),
    ("RETURN and $", "x SEARCH RETURN (SAVE) UNDELETED\ny FETCH $ (UID)", ["x OK *", "* 2 FETCH (UID 2)", "y OK *"], None),
    ("LIST with selection, return options and STATUS", 'x LIST (SUBSCRIBED) "" (Se% Tr%) RETURN (CHILDREN STATUS (MESSAGES))',
     ['* LIST (\\Subscribed \\HasNoChildren \\Sent) "." "Sent"', '* STATUS "Sent" (MESSAGES 0)',
      '* LIST (\\Subscribed \\HasNoChildren \\Trash) "." "Trash"', '* STATUS "Trash" (MESSAGES 0)', "x OK *"], None),
    ("\\NonExistent", "x CREATE a.b\ny LIST \"\" a", ["x OK *", '* LIST (\\NonExistent \\HasChildren) "." "a"', "y OK *"],
     ["x OK *", '* LIST (\\Noselect \\HasChildren) "." "a"', "y OK *"]),
    ("OLDNAME", "x RENAME Sent Gesandt", ['* LIST (\\HasNoChildren) "." "Gesandt" ("OLDNAME" ("Sent"))', "x OK *"], ["x OK *"]),
    ("MOVE", "x MOVE 2 Trash", ["* OK [[]COPYUID *", "* 2 EXPUNGE", "x OK *"], None),
    ("STATUS of SIZE and DELETED", "x STATUS INBOX (SIZE DELETED)", ['* STATUS "INBOX" (SIZE 39 DELETED 1)', "x OK *"], None),
    ("FETCH of BINARY", "x FETCH 2 (BINARY.PEEK[1] BINARY.SIZE[1])", ["* 2 FETCH (BINARY[[]1] {5}", "x", "", " BINARY.SIZE[[]1] 5)", "x OK *"], None),
    ("no \\Recent", "x FETCH 2 (FLAGS)", ["* 2 FETCH (FLAGS ())", "x OK *"], ["* 2 FETCH (FLAGS (\\Recent))", "x OK *"]),
    ("no RECENT and no UNSEEN, but LIST, in SELECT; CLOSED of the one before", "x SELECT INBOX",
     ["* OK [[]CLOSED] *", "* FLAGS *", "* OK [[]PERMANENTFLAGS *", "* 2 EXISTS", '* LIST (\\HasNoChildren) "." "INBOX"', "* OK [[]UIDVALIDITY *",
      "* OK [[]UIDNEXT *", "* OK [[]MAILBOXID *", "* OK [[]HIGHESTMODSEQ *", "x OK [[]READ-WRITE] *"],
     ["* FLAGS *", "* OK [[]PERMANENTFLAGS *", "* 2 EXISTS", "* 0 RECENT", "* OK [[]UNSEEN 1] *", "* OK [[]UIDVALIDITY *",
      "* OK [[]UIDNEXT *", "* OK [[]MAILBOXID *", "* OK [[]HIGHESTMODSEQ *", "x OK [[]READ-WRITE] *"]),
    ("no RECENT when mail comes", "x APPEND INBOX {4+}\nx: y", ["* 3 EXISTS", "x OK *"], ["* 3 EXISTS", "* 3 RECENT", "x OK *"]),
    ("names in UTF-8", 'x CREATE "\xc3\xa4"\ny LIST "" "\xc3\xa4"', ["x OK *", '* LIST (\\HasNoChildren) "." "\xc3\xa4"', "y OK *"],
     ["x OK *", '* LIST (\\HasNoChildren) "." "&AOQ-"', "y OK *"]),
    ("no modified UTF-7", "x CREATE &AOQ-\ny LIST \"\" &AOQ-", ["x OK *", '* LIST (\\HasNoChildren) "." "&AOQ-"', "y OK *"], None),
    ("SEARCH takes UTF-8 without CHARSET", 'x SEARCH SUBJECT "\xc3\xbc"', ['* ESEARCH (TAG "x") ALL 2', "x OK *"], ["* SEARCH 2", "x OK *"]),
    ("response codes of RFC 5530", "x CREATE Sent\ny DELETE none", ["x NO [[]ALREADYEXISTS] *", "y NO [[]NONEXISTENT] *"], None),
    ("what is gone is still understood: CHECK", "x CHECK", ["x OK *"], None),
    ("LSUB", 'x LSUB "" Sent', ['* LSUB () "." "Sent"', "x OK *"], None),
    ("RFC822.HEADER", "x FETCH 1 RFC822.HEADER", ["* 1 FETCH (RFC822.HEADER {16}", "Subject: one", "", ")", "x OK *"], None),
]


def talk(rev2: bool) -> Conversation:
    store = Store()
    inbox = store.folders["INBOX"]
    inbox.deliver(b"Subject: one\n\nx\n", "\\Deleted")
    inbox.deliver("Subject: ü\n\nx\n\n".encode())
    conversation = Conversation(store, logged_in=True)
    if rev2:
        assert conversation.say("e ENABLE IMAP4rev2") == ["* ENABLED IMAP4rev2", "e OK Done"]
    conversation.say("s SELECT INBOX")
    return conversation


@pytest.mark.parametrize(("change", "said", "rev2", "rev1"), CHANGES, ids=[row[0] for row in CHANGES])
def test_each_change(change, said, rev2, rev1):
    for conversation, wanted in ((talk(True), rev2), (talk(False), rev1)):
        if wanted is not None:
            heard = conversation.say(said)
            assert len(heard) == len(wanted) and all(map(fnmatch.fnmatchcase, heard, wanted)), heard


def test_what_is_folded_in_is_there_and_it_stands_on_it():
    words = talk(False).say("c CAPABILITY")[0].split()
    assert {"IMAP4rev1", "IMAP4rev2", *FOLDED_IN} <= set(words)
    for needed in ("ENABLE", "ESEARCH", "SEARCHRES", "BINARY", "LIST-EXTENDED", "STATUS=SIZE"):
        assert b"IMAP4REV2" in capability.closure({needed})


def test_enable_in_a_selected_mailbox_forgets_recent():
    conversation = talk(False)
    assert conversation.say("e ENABLE IMAP4rev2")[0] == "* ENABLED IMAP4rev2"
    assert conversation.say("f FETCH 2 (FLAGS)")[0] == "* 2 FETCH (FLAGS ())"
