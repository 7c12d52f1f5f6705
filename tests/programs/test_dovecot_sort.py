"""SORT and THREAD of the same Maildir by us and by Dovecot."""
from __future__ import annotations

import itertools
import os
import random

from pymta import mailbox
from pymta.mailbox import opened
from tests.dovecot import Dovecot, directory, needs_dovecot
from tests.imapengine import Conversation

pytestmark = needs_dovecot

CRITERIA = ("ARRIVAL", "DATE", "SIZE", "FROM", "TO", "CC", "SUBJECT", "DISPLAYFROM", "DISPLAYTO")
SORTS = [f"SORT ({one}) UTF-8 ALL" for one in CRITERIA] + [f"SORT (REVERSE {one}) US-ASCII ALL" for one in CRITERIA] + [
    "SORT (SUBJECT REVERSE DATE) UTF-8 ALL", "SORT (REVERSE FROM SUBJECT SIZE) UTF-8 2:11", "UID SORT (DATE) UTF-8 SUBJECT fw",
    "SORT (DATE) UTF-8 SUBJECT nowhere"]
THREADS = [f"{uid}THREAD {how} UTF-8 {key}" for uid in ("", "UID ") for how in ("ORDEREDSUBJECT", "REFERENCES", "REFS")
           for key in ("ALL", "SUBJECT fw", "SUBJECT nowhere")]
SUBJECTS = (b"a", b"Re: a", b"[list] a", b"RE[2]: a", b"Fwd: a", b"a (fwd)", b"[fwd: a]", b"b", b"re: [list] b", b"=?utf-8?q?Re:_=C3=A4pfel?=",
            "\u00e4pfel".encode(), "\u00c4pfel".encode(), b"", b"re:", b"[x]", b"A   b", b"re : fw: [y] a", b"Fw: c (FWD) (fwd)", b"[a][b] c")
NAMES = (b"ann@a.example", b"Zoe <ann@z.example>", b'"Q. Bee" <bob@b.example>', b"=?utf-8?q?=C3=89ve?= <eve@e.example>", b"ANN@b.example",
         b"<carl@c.example>", b"carl@c.example (Carl)", b"")
ZONES = (b"+0000", b"-0500", b"+1130", b"GMT", b"EST")


def message(dice: random.Random, number: int, odd: bool) -> bytes:
    """odd: ids that others have too, messages that name themselves as their ancestor, ancestors in a circle, and twice."""
    others = [one for one in range(max(0, number - 9), number + 3) if odd or one != number]
    named = dice.sample(others, dice.choice([0, 0, 1, 1, 2, 3] if odd else [0, 0, 1, 1, 2]))
    ids = [b"<%d@x.example>" % one for one in (named + named[:dice.randint(0, 1)] if odd else sorted(named))]
    own = dice.choice(others) if odd and dice.random() < 0.2 else number
    lines = [b"Subject: " + dice.choice(SUBJECTS), b"From: " + dice.choice(NAMES), b"To: " + dice.choice(NAMES), b"Cc: " + dice.choice(NAMES)]
    if dice.random() < 0.9:
        lines.append(b"Date: Mon, %d Jan 2024 %02d:%02d:%02d %b" % (dice.randint(1, 28), dice.randint(0, 23), dice.randint(0, 59),
                                                                    dice.randint(0, 59), dice.choice(ZONES)))
    if dice.random() < 0.9:
        lines.append(b"Message-ID: <%d@x.example>" % own)
    if ids:
        lines.append((b"References: " if dice.random() < 0.7 else b"In-Reply-To: ") + b" ".join(ids))
    dice.shuffle(lines)
    return b"\n".join(lines) + b"\n\n" + b"x" * dice.randint(0, 500)


def test_sort_and_thread_say_the_same() -> None:
    dice = random.Random(11)
    for count, odd in ((12, False), (12, True), (12, True), (30, True), (300, False), (300, True)):
        with directory() as top:
            path = top + "/Maildir"
            mailbox.make(path, ())
            corpus = [message(dice, number, odd) for number in range(count)]
            for number, data in enumerate(corpus):
                name = f"{path}/new/{1_700_000_000 + number}.M{number}P1.host"
                with open(name, "wb") as file:
                    file.write(data)
                os.utime(name, (1_700_000_000 + dice.randint(0, 10**7),) * 2)
            with Dovecot(path) as dovecot:
                dovecot.command("SELECT INBOX")
                theirs = {line: dovecot.command(line)[0] for line in SORTS + THREADS}
            us = Conversation(mailbox.MailStore(path), logged_in=True)            # type: ignore[arg-type]
            us.say("a SELECT INBOX")
            for line, _ in itertools.product(SORTS + THREADS, range(2)):          # the second time from what was kept
                ours = us.say("a " + line)[0].encode()
                assert ours.rstrip() == theirs[line].rstrip(), (line, ours, theirs[line], dict(enumerate(corpus, 1)) if count < 20 else None)
            assert us.session is not None
            us.session.close()
            opened.forget_all()
