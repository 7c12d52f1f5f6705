"""SEARCH RETURN (SAVE) and PARTIAL of the same Maildir by us and by Dovecot."""
from __future__ import annotations

import random

from pymta import mailbox
from pymta.mailbox import opened
from tests.dovecot import Dovecot, directory, needs_dovecot
from tests.imapengine import Conversation

pytestmark = needs_dovecot

KEYS = ("ALL", "SUBJECT a", "NOT SUBJECT a", "SUBJECT nowhere", "$", "NOT $", "OR $ SUBJECT b", "UID $", "$ SUBJECT c", "2:5", "LARGER 60")
OPTIONS = ("SAVE", "SAVE MIN", "SAVE MAX", "MIN SAVE MAX", "SAVE COUNT", "SAVE ALL", "SAVE MIN COUNT", "COUNT", "ALL", "MIN MAX", "")
USES = ("SEARCH $", "UID SEARCH $", "FETCH $ UID", "UID FETCH $ UID", "SORT (SUBJECT) UTF-8 $", "THREAD REFERENCES UTF-8 $",
        "STORE $ +FLAGS.SILENT (\\Flagged)", "SEARCH FLAGGED", "UID SEARCH RETURN (COUNT) $", "STORE $ -FLAGS.SILENT (\\Flagged)")
RANGES = ("1:3", "2:2", "5:900", "900:1000")


def commands(dice: random.Random) -> list[str]:
    out = []
    for _ in range(150):
        uid = dice.choice(("", "UID "))
        out.append(f"{uid}SEARCH RETURN ({dice.choice(OPTIONS)}) {dice.choice(KEYS)}")
        out += dice.sample(USES, 2)
        if dice.random() < 0.1:
            out.append(f"{uid}SEARCH RETURN (SAVE) CHARSET X-UNKNOWN ALL")
        if dice.random() < 0.2:
            out.append(f"{uid}SEARCH RETURN (PARTIAL {dice.choice(RANGES)}) {dice.choice(KEYS)}")
        if dice.random() < 0.05:
            out += [f"STORE {dice.randint(1, 8)} +FLAGS.SILENT (\\Deleted)", "EXPUNGE"]
        if dice.random() < 0.02:
            out.append("SELECT INBOX")
    return out


def heard(lines: list[bytes], tag: bytes) -> list[bytes]:
    """What matters of an answer: not what is said of \\Recent or in words, nor the tag."""
    kept = [line for line in lines if line.startswith((b"* SEARCH", b"* ESEARCH", b"* SORT", b"* THREAD")) or b" FETCH " in line or b" EXPUNGE" in line]
    return [*(line.replace(b'(TAG "' + tag + b'")', b"(TAG)").rstrip() for line in kept), lines[-1].split(b" ")[1]]


def fill(path: str, bodies: list[bytes]) -> None:
    mailbox.make(path, ())
    for number, data in enumerate(bodies):
        with open(f"{path}/cur/{1_700_000_000 + number}.M{number}P1.host:2,", "wb") as file:
            file.write(data)


def test_what_is_kept_is_the_same() -> None:
    dice = random.Random(5)
    with directory() as top:
        bodies = [b"Subject: %b\n\n%b\n" % (dice.choice((b"a", b"b", b"c")), b"x" * dice.randint(0, 80)) for _ in range(40)]
        for name in ("theirs", "ours"):
            fill(f"{top}/{name}", bodies)
        script = ["SELECT INBOX", *commands(dice)]
        with Dovecot(top + "/theirs") as dovecot:
            theirs = [heard(dovecot.command(line, ok=False), b"t%d" % dovecot.count) for line in script]
        us = Conversation(mailbox.MailStore(top + "/ours"), logged_in=True)       # type: ignore[arg-type]
        for line, wanted in zip(script, theirs):
            ours = heard([one.encode("latin-1") for one in us.say("a " + line)], b"a")
            assert ours == wanted, (line, ours, wanted)
        assert us.session is not None
        us.session.close()
        opened.forget_all()
