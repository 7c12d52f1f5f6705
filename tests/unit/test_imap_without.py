"""Capabilities that are switched off: for all, for an account, for a client that says its name."""
from __future__ import annotations

import pytest

from pymta import imap_without
from pymta.imap_without import Switches
from pymta.proto.imap import capability
from pymta.proto.imap.wants import Setting
from pymta.settings import BY_NAME
from tests.imapengine import Conversation
from tests.mailboxes import Store

OUTLOOK = '("name" "Microsoft Office 365" "version" "15.20.9160.4" "vendor" "Microsoft Corporation")'


def talk(switches: Switches, account: str = "", login: tuple[str, ...] = ("a LOGIN alice secret",)) -> tuple[Conversation, list[str]]:
    """A conversation up to its login, and what is announced then."""
    conversation = Conversation(Store(), without=lambda client: switches.off(account, client.decode()), off=switches.off())
    for line in login:
        conversation.say(line)
    return conversation, announced(conversation)


def announced(conversation: Conversation) -> list[str]:
    return conversation.say("z CAPABILITY")[0].removeprefix("* CAPABILITY ").split()


ALL = {row.name for row in capability.CAPABILITIES} - {"LITERAL-"}                   # which stands in for LITERAL+ alone


def left(words: list[str]) -> set[str]:
    """Which of ALL are announced."""
    return {"APPENDLIMIT" if word.startswith("APPENDLIMIT=") else word for word in words} - {"IMAP4rev1", "LITERAL-"}


def test_everything_in_the_table_is_announced_and_nothing_else():
    _, words = talk(Switches((), ""))
    assert words[0] == "IMAP4rev1" and left(words) == ALL and len(words) == len(ALL) + 1


@pytest.mark.parametrize("row", capability.CAPABILITIES, ids=lambda row: row.name)
def test_each_can_be_switched_off_for_all_for_an_account_and_for_a_client(row):
    gone = {name.decode() for name in capability.closure({row.name})}
    wanted = {name for name in ALL if name.upper() not in gone}
    rules = f"Bad*: {row.name}; Good: MOVE"
    for conversation, words in (
            talk(Switches((row.name.lower(),), "")), talk(Switches((), ""), account=row.name),
            talk(Switches((), rules), login=('i ID ("name" "bad one")', "a LOGIN alice secret")),
            talk(Switches((), rules), login=("a LOGIN alice secret", 'i ID ("name" "Bad")'))):
        assert left(words) == wanted
        if row.enable:
            assert conversation.say(f"e ENABLE {row.name}") == ["* ENABLED", "e OK Done"]
    assert row.name not in announced(Conversation(Store(), off=Switches((row.name,), "").off()))


def test_one_of_the_two_literals_is_announced_at_most():
    """RFC 7888 §6."""
    for off, said in (((), {"LITERAL+"}), (("LITERAL+",), {"LITERAL-"}), (("LITERAL-",), {"LITERAL+"}), (("LITERAL+", "LITERAL-"), set())):
        assert {word for word in talk(Switches(off, ""))[1] if word.startswith("LITERAL")} == said
        before = announced(Conversation(Store(), off=Switches(off, "").off()))
        assert {word for word in before if word.startswith("LITERAL")} == {"LITERAL-"} - set(off)


def test_what_stands_on_it_goes_with_it():
    assert capability.closure({"sort"}) >= {b"SORT", b"SORT=DISPLAY", b"ESORT"}
    assert b"QRESYNC" in capability.closure({"CONDSTORE"}) and b"CONDSTORE" not in capability.closure({"QRESYNC"})


def test_an_account_says_nothing_of_the_list_before_the_login():
    conversation = Conversation(Store(), without=lambda client: Switches((), "").off("SASL-IR"))
    assert "SASL-IR" in announced(conversation)
    conversation.say("a LOGIN alice secret")
    assert "SASL-IR" not in announced(conversation)


def test_outlook_is_not_offered_uidonly_as_it_comes():
    """https://github.com/modern-email/defects/issues/49"""
    switches = Switches((), BY_NAME["imap.client_without"].default)
    assert b"UIDONLY" in switches.off(client="Microsoft Office 365") and b"UIDONLY" in switches.off(client="Microsoft Outlook")
    assert not switches.off(client="Thunderbird") and not switches.off()


def test_an_id_that_is_taken_back():
    conversation, words = talk(Switches((), "*Outlook*: MOVE"), login=("a LOGIN alice secret", 'i ID ("name" "Outlook")'))
    assert "MOVE" not in words
    conversation.say('i ID ("name" "Mutt")')
    assert "MOVE" in announced(conversation)


@pytest.mark.parametrize("text", ["x", "x:", ": MOVE", "a: MOVE; b"])
def test_rules_that_are_none(text):
    _, complaints = imap_without.rules(text)
    assert complaints


def test_a_long_name_in_id_is_cut():
    switches = Switches((), "*z: MOVE")
    assert b"MOVE" in switches.off(client="z") and not switches.off(client="y" * 500 + "z")


def test_the_default_is_nothing():
    assert Setting(None, None, None, None).without(b"anybody") == frozenset()
