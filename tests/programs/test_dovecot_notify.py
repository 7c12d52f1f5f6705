"""NOTIFY on the same Maildirs by us and by Dovecot: what each says of mailboxes that are not selected."""
from __future__ import annotations

import re
import time

from pymta import mailbox, watch
from pymta.mailbox import opened
from tests.dovecot import Dovecot, directory, needs_dovecot
from tests.imapengine import Conversation

pytestmark = needs_dovecot

FOLDERS, INDEX = ("Archive", "Sent", "Work"), "mailbox_list_index=yes"
ASK = "NOTIFY SET STATUS (selected (MessageNew MessageExpunge)) (mailboxes Work (MessageNew MessageExpunge FlagChange)) (mailboxes (Archive nowhere) " \
      "(MessageNew MessageExpunge))"


STEPS = ("APPEND Archive {18+}\r\nSubject: x\r\n\r\nhi\r\n", "APPEND Work {18+}\r\nSubject: x\r\n\r\nhi\r\n", "SELECT Work", "STORE 1 +FLAGS.SILENT (\\Seen)",
         "APPEND Work (\\Seen) {18+}\r\nSubject: x\r\n\r\nhi\r\n", "APPEND Sent {18+}\r\nSubject: x\r\n\r\nhi\r\n", "STORE 1 +FLAGS.SILENT (\\Deleted)", "EXPUNGE",
         "COPY 1 Archive", "UNSELECT")


def numbers(line: str) -> tuple[str, dict[str, str]]:
    """The mailbox of a STATUS reply and what it says, but for what each server makes up itself."""
    found = re.fullmatch(r'\* STATUS "?(\w+)"? \(([^()]*)\)', line)
    assert found, line
    words = found[2].split()
    wanted = ("MESSAGES", "UIDNEXT", "UNSEEN") if found[1] == "Work" else ("MESSAGES", "UIDNEXT")     # Dovecot says UNSEEN unasked
    return found[1], {key: value for key, value in zip(words[::2], words[1::2]) if key in wanted}


def last_of(lines: list[str]) -> dict[str, dict[str, str]]:
    out: dict[str, dict[str, str]] = {}
    for line in lines:
        if line.startswith("* STATUS"):
            name, said = numbers(line)
            out.setdefault(name, {}).update(said)       # Dovecot says only what has changed
    return out


def test_the_same_is_told_of_what_another_session_does() -> None:
    """Dovecot hears of what other Dovecots do, and hardly of what others do to the files."""
    with directory() as top:
        for name in ("theirs", "ours"):
            mailbox.make(f"{top}/{name}", FOLDERS)
        with Dovecot(top + "/theirs", INDEX) as dovecot, Dovecot(top + "/theirs", INDEX) as their_other:
            us, our_other = (Conversation(mailbox.MailStore(top + "/ours"), logged_in=True) for _ in range(2))       # type: ignore[arg-type]
            dovecot.command("SELECT INBOX")
            us.say("a SELECT INBOX")
            theirs = last_of([line.decode() for line in dovecot.command(ASK)])
            ours = last_of(us.say("a " + ASK))
            assert ours == theirs and set(ours) == {"Archive", "Work"}
            for step in STEPS:
                their_other.command(step)
                assert our_other.say("a " + step.replace("\r\n", "\n"))[-1].startswith("a OK"), step
                watch.shared().drain()
                ours |= last_of(us.heard())
                deadline = time.monotonic() + 20
                while True:                             # Dovecot takes its time
                    for name, said in last_of([line.decode() for line in dovecot.command("NOOP")]).items():
                        theirs[name] |= said
                    if ours == theirs or time.monotonic() > deadline:
                        break
                    time.sleep(0.05)
                assert ours == theirs, step
            for one in (us, our_other):
                assert one.session is not None
                one.session.close()
            opened.forget_all()
    assert ours["Archive"] == {"MESSAGES": "2", "UIDNEXT": "3"} and ours["Work"] == {"MESSAGES": "1", "UIDNEXT": "3", "UNSEEN": "0"}
