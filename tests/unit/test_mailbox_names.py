"""Names of mailboxes that have tripped servers: on the wire in both forms, on the disk, in subscriptions, and to Dovecot and back."""
from __future__ import annotations

import os
import re

import pytest

from pymta import mailbox
from pymta.mailbox import MailStore, opened
from pymta.proto.imap import utf7
from tests.dovecot import Dovecot, directory, needs_dovecot
from tests.imapengine import Conversation

NAMES = ["&", "a&b", "Tom & Jerry.x", "#news", "#shared.a", "~home", "a  b", "trail ", " lead", "ä", "ü.ö", "x.ä", "🦊", "a🦊b.🦊", "日本語", "e\u0301", "é",
         'say "x"', "back\\slash", "paren (1)", "{5}", "INBOX.Deep.er", "Inboxes", "a[b]", "100+1", "=?utf-8?q?x?=", "-", "&AOQ-", "&-", "a,b;c:d", "NIL",
         "x" * 200]
REFUSED = ["a*b", "50% off", "a/b", "", ".x", "x.", "a..b", "a\x01b", "a\nb", "x" * 300]


def quoted(octets: bytes) -> str:
    return '"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"').decode("latin-1") + '"'


def names(said: list[str], word: str = "LIST") -> list[str]:
    """The names of LIST replies, as octets."""
    found = [re.fullmatch(rf'\* {word} \([^)]*\) "\." "((?:[^"\\]|\\.)*)"', line) for line in said]
    return [re.sub(r"\\(.)", r"\1", one[1]) for one in found if one]


@pytest.fixture(params=["utf7", "utf8"])
def talk(request, tmp_path):
    path = str(tmp_path / "Maildir")
    mailbox.make(path, ())
    conversation = Conversation(MailStore(path), logged_in=True)         # type: ignore[arg-type]
    if request.param == "utf8":
        conversation.say("e ENABLE UTF8=ACCEPT")
    conversation.wire = utf7.encode if request.param == "utf7" else utf7.encode_utf8            # type: ignore[attr-defined]
    yield conversation
    conversation.session.close()                                         # type: ignore[union-attr]
    opened.forget_all()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_goes_through_everything(talk, name):
    wire = talk.wire(name)
    said = quoted(wire)
    assert talk.say(f"a CREATE {said}")[-1].startswith("a OK"), name
    assert wire.decode("latin-1") in names(talk.say('b LIST "" "*"'))
    assert names(talk.say(f'c LIST "" {said}')) == [wire.decode("latin-1")]
    assert f"* STATUS {said} (MESSAGES 0)" in talk.say(f"d STATUS {said} (MESSAGES)")
    assert talk.say(f"e SUBSCRIBE {said}")[-1].startswith("e OK")
    assert names(talk.say('f LSUB "" "*"'), "LSUB") == [wire.decode("latin-1")]
    talk.feed(b"g APPEND {%d+}\r\n%b {5+}\r\nx: y\n\r\n" % (len(wire), wire))
    assert talk.heard()[-1].startswith("g OK [APPENDUID")
    assert talk.say(f"h SELECT {said}")[-1] == "h OK [READ-WRITE] Selected"
    assert talk.say(f"i RENAME {said} Elsewhere")[-1].startswith("i OK")
    assert "* STATUS \"Elsewhere\" (MESSAGES 1)" in talk.say("j STATUS Elsewhere (MESSAGES)")
    assert talk.say(f"k RENAME Elsewhere {said}")[-1].startswith("k OK")
    assert talk.say(f"l UNSUBSCRIBE {said}")[-1].startswith("l OK")
    assert talk.say(f"m DELETE {said}")[-1].startswith("m OK")
    assert names(talk.say('n LIST "" "*"')) == ["INBOX"] and names(talk.say('o LSUB "" "*"'), "LSUB") == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_cannot_be_is_refused(talk, name):
    wire = talk.wire(name)
    talk.feed(b"a CREATE {%d+}\r\n%b\r\n" % (len(wire), wire))
    answer, = talk.heard()
    assert answer.startswith("a OK" if name == "x." else ("a NO [CANNOT]", "a BAD")), answer       # of "x." the dot only says that children follow


@pytest.mark.parametrize("wire", ["&", "&AOQ", "a&b", "&AGE-", "&AOQ-&AOQ-", "&2D0-", "&ACA-"])
def test_what_is_no_modified_utf7_is_bad(tmp_path, wire):
    mailbox.make(str(tmp_path / "M"), ())
    conversation = Conversation(MailStore(str(tmp_path / "M")), logged_in=True)         # type: ignore[arg-type]
    assert conversation.say(f'a CREATE "{wire}"')[-1].startswith("a BAD")


def test_folders_that_others_made(talk):
    """With wildcards in their names, or with octets that are no modified UTF-7: they are shown, and can be read and removed."""
    store = talk.store
    for folder in (b".50% off", b".a*b", b".bad&name", b".\xff\xfe"):
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(store.root, folder, os.fsencode(sub)))
    found = names(talk.say('a LIST "" "*"'))
    assert len(found) == 5
    for number, name in enumerate(found[1:]):
        said = quoted(name.encode("latin-1"))
        assert talk.say(f"s{number} SELECT {said}")[-1].endswith("[READ-WRITE] Selected"), name
        assert name in names(talk.say(f'l{number} LIST "" {said}'))
        assert talk.say(f"d{number} DELETE {said}")[-1].startswith(f"d{number} OK")
    assert store.list() == ["INBOX"]


@needs_dovecot
def test_names_and_subscriptions_go_to_dovecot_and_back():
    with directory() as top:
        path = top + "/Maildir"
        mailbox.make(path, ())
        store = MailStore(path)
        told = [name for name in NAMES if len(name) < 100 and not name.startswith("~")]             # to Dovecot a ~ is the home of somebody
        for name in told:
            store.create(name)
            store.subscribe(name)
        with Dovecot(path) as dovecot:
            theirs = {_name(line) for line in dovecot.command('LIST "" "*"')}
            subscribed = {_name(line) for line in dovecot.command('LSUB "" "*"')}
            for name in told:
                wire = utf7.encode(name)
                assert wire in theirs and wire in subscribed, name
                assert dovecot.command(f"SELECT {quoted(wire)}")[-1].startswith(b"t")
            more = [name + "2" for name in told]
            for name in more:
                dovecot.command(f"CREATE {quoted(utf7.encode(name))}")
                dovecot.command(f"SUBSCRIBE {quoted(utf7.encode(name))}")
        assert set(store.list()) >= {*told, *more} and set(store.subscriptions()) == {*told, *more}
        opened.forget_all()


def _name(line: bytes) -> bytes:
    found = re.match(rb'\* (?:LIST|LSUB) \([^)]*\) "\." (?:"((?:[^"\\]|\\.)*)"|(\S+))', line)
    if found is None:
        return b""
    return found[2] if found[1] is None else re.sub(rb"\\(.)", rb"\1", found[1])
