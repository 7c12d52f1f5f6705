"""Whatever others do to mailboxes: who listens with NOTIFY knows all names and all numbers in the end."""
from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import pytest

from pymta import mailbox, watch
from pymta.mailbox import opened
from tests.imapengine import Conversation

EVENTS = "(MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)"
NAMES = ("Work", "Work.A", "Work.B", "Play", "Play.A", "Play.A.Deep", "Old")


class Model:
    """What a client that believes all it is told knows."""

    def __init__(self, lines: list[str], names: list[str]) -> None:
        self.numbers: dict[str, tuple[int, int, int]] = {}
        self.names = set(names)
        self.subscribed: set[str] = set()
        self.hear(lines)

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            if found := re.fullmatch(r'\* STATUS "([^"]+)" \(MESSAGES (\d+) UIDNEXT (\d+) UIDVALIDITY \d+ UNSEEN (\d+)(?: HIGHESTMODSEQ \d+)?\)', line):
                self.numbers[found[1]] = int(found[2]), int(found[3]), int(found[4])
            elif found := re.fullmatch(r'\* LIST \((.*)\) "." "([^"]+)"(?: \("OLDNAME" \("(.*)"\)\))?', line):
                self._listed(found[1].split(), found[2], found[3])
            else:
                assert line.startswith(("x OK", "* OK")), line

    def _listed(self, attributes: list[str], name: str, old: str | None) -> None:
        if old:
            moved = {one: name + one[len(old):] for one in self.names if (one + ".").startswith(old + ".")}
            self.names = {moved.get(one, one) for one in self.names}
            self.numbers = {moved.get(one, one): numbers for one, numbers in self.numbers.items()}
        if "\\NonExistent" in attributes:
            self.names.discard(name)
            self.numbers.pop(name, None)
        else:
            self.names.add(name)
        (self.subscribed.add if "\\Subscribed" in attributes else self.subscribed.discard)(name)


def act(dice: random.Random, store: mailbox.MailStore, path: Path, number: int) -> None:
    """Something that another session, a delivery or another program does."""
    names = store.list()
    name, other = dice.choice(names), dice.choice(NAMES)
    directory = path if name == "INBOX" else path / f".{name}"
    match dice.randrange(10):
        case 0 | 1:
            (directory / "new" / f"{1_700_000_000 + number}.M{number}P1.host").write_bytes(b"Subject: x\n\nx\n")
        case 2 | 3:
            folder = store.open(name)
            uids = [message.uid for message in folder.messages]
            if dice.random() < 0.3:
                folder.append(b"Subject: x\n\nx\n", ("\\Seen",))
            elif uids and dice.random() < 0.5:
                folder.set_flags(dice.sample(uids, 1), "add", ("\\Seen",))
            elif uids:
                folder.expunge(dice.sample(uids, dice.randint(1, len(uids))))
            store.close(folder)
        case 4 | 5 if not store.exists(other):
            store.create(other)
        case 6 if name in NAMES:
            store.delete(name)
        case 7 if name in NAMES and not any(one == other or one.startswith(other + ".") for one in names) and not (other + ".").startswith(name + "."):
            store.rename(name, other)
        case 8:
            (store.subscribe if dice.random() < 0.6 else store.unsubscribe)(name)
        case 9 if name in NAMES and not store.exists(other):
            if dice.random() < 0.5:
                os.rename(directory, path / f".{other}")
            else:
                shutil.copytree(directory, path / f".{other}")


@pytest.mark.parametrize("seed", range(8))
def test_who_listens_knows_it_all(tmp_path: Path, seed: int) -> None:
    dice, path = random.Random(seed), tmp_path / "Maildir"
    store = mailbox.MailStore(str(path))
    mailbox.make(str(path), ())
    talk = Conversation(store, logged_in=True)                                    # type: ignore[arg-type]
    model = Model(talk.say(f"x NOTIFY SET STATUS (personal {EVENTS})"), store.list())
    for number in range(120):
        act(dice, store, path, number)
        if dice.random() < 0.5:                         # or several things happen before anybody looks
            watch.shared().drain()
            model.hear(talk.heard())
    watch.shared().drain()
    model.hear(talk.heard())
    assert model.names == set(store.list())
    assert model.subscribed & model.names == set(store.subscriptions()) & model.names
    truth = {name: store.status(name) for name in store.list()}
    known = {name: (status.messages, status.uidnext, status.unseen) for name, status in truth.items()}
    assert {name: model.numbers.get(name, (0, 1, 0)) for name in known if known[name][0] or name in model.numbers} == \
        {name: numbers for name, numbers in known.items() if numbers[0] or name in model.numbers}
    assert talk.session is not None
    talk.session.close()
    opened.forget_all()
