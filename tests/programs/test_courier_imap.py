"""The same Maildir, the same commands, to us and to Courier's imapd: LIST, STATUS, FETCH, SEARCH, SORT and THREAD.

Each works on a copy of its own.  Where both differ, the difference has a name: a way of writing that means the same (see `alike`), or a
row of EXPLAINED.  A row that is not needed any more fails the test.
"""
from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pymta import mailbox
from pymta.mailbox import opened
from pymta.upkeep import servers
from pymta.upkeep.talk import Talk
from tests.courier import courier_programs, needs_courier
from tests.dovecot import directory
from tests.imapengine import Conversation
from tests.oddmail import ODD
from tests.programs.test_dovecot_imap import NOBODY, lines_of, ordinary, rows

pytestmark = needs_courier

ITEMS = ("(UID INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1] BODY.PEEK[2] BODY.PEEK[1.MIME] "
         "BODY.PEEK[2.MIME] BODY.PEEK[]<7.30> BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)])")
SEARCHES = ("ALL", "SEEN", "UNSEEN", "FLAGGED", "UNFLAGGED", "DELETED", "KEYWORD work", "UNKEYWORD work", "1:5", "UID 3:9",
            "BEFORE 15-Nov-2023", "ON 15-Nov-2023", "SINCE 16-Nov-2023", "SUBJECT m1", "NOT SUBJECT m", "OR SUBJECT m2 SEEN", "FROM a@b.example",
            "HEADER Subject m", "BODY line", "TEXT line", "SUBJECT nowhere", "SENTON 1-Jan-2024", "SENTBEFORE 1-Jan-2024", "SENTSINCE 2-Jan-2024")

# Courier looks for MIME only in messages that say MIME-Version.
CORPUS = [b"MIME-Version: 1.0\n" + one if one[:1] not in (b"\n", b"") and b":" in one.partition(b"\n")[0] and not one.startswith(b"From mbox") else one
          for one in [*ODD, *(b"From: a@b.example\nSubject: m%d\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n" % number + ordinary(random.Random(number), 2)
                              for number in range(120))]]
_ADDRESS, _PART = "an address is read another way", "a multipart without parts is one part to Courier"
# number of the message in ODD from 1: (items, reason)
EXPLAINED: dict[int, tuple[str, str]] = {
    4: ("ENVELOPE BODYSTRUCTURE BODY BODY[HEADER] BODY[TEXT] BODY[1] BODY[HEADER.FIELDS", "Courier takes a last header line without an end for the body"),
    6: ("ENVELOPE", "Courier leaves out an address that is empty"), 7: ("ENVELOPE", _ADDRESS), 8: ("ENVELOPE", "Courier leaves a local part quoted"),
    9: ("ENVELOPE", "Courier names no group"), 10: ("ENVELOPE", "Courier leaves the tab of a fold"), 12: ("ENVELOPE", "Courier encodes 8-bit text"),
    13: ("BODYSTRUCTURE BODY", "Courier gives no subtype where none stands"), 15: ("BODYSTRUCTURE BODY BODY[1] BODY[1.MIME] BODY[2.MIME]", _PART),
    16: ("BODYSTRUCTURE BODY", _PART), 17: ("BODYSTRUCTURE BODY", _PART),
    18: ("BODYSTRUCTURE BODY BODY[2]", "Courier takes the last line end away where the closing boundary is missing"),
    23: ("BODYSTRUCTURE BODY BODY[1] BODY[2]", "a boundary that begins with the other"),
    20: ("BODYSTRUCTURE BODY BODY[1]", "a message in a digest: see below"),
    25: ("BODYSTRUCTURE", "Courier knows no list of languages"), 27: ("ENVELOPE", "Courier joins fields that stand there twice"),
    30: ("ENVELOPE BODY[HEADER.FIELDS", "a blank before the colon"), 31: ("ENVELOPE", "From is taken from Sender where it is absent"),
    32: ("ENVELOPE", _ADDRESS), 33: ("ENVELOPE", "Courier leaves the route in the local part"), 37: ("BODYSTRUCTURE BODY", "a parameter in pieces"),
    38: ("BODYSTRUCTURE BODY", "an encoding of two words"), 42: ("BODYSTRUCTURE BODY BODY[2] BODY[1.MIME]", "a part that is all header"),
    43: ("RFC822.SIZE BODY[HEADER] BODY[TEXT]", "Courier makes CR CR LF of the CR LF in a file"), 44: ("BODY[1]", "a message in base64"),
}


def explained(number: int, item: bytes) -> str:
    """Why Courier says something else; "" where nothing explains it."""
    items, reason = EXPLAINED.get(number, ("", ""))
    if item.decode().split(" ")[0] in items.split():
        return reason
    if item.startswith(b"BODY") and b"message/rfc822" in CORPUS[number - 1]:
        return "Courier ends a message within a message one CR late, and sees MIME in it only where that says MIME-Version"
    if item.startswith(b"BODY") and any(b"boundary=q%d" % one in CORPUS[number - 1] for one in range(4)):
        return "Courier takes the boundary --q0 for --q"
    return ""


def alike(item: bytes, value: object) -> object:
    """What both mean: case does not count, nor the names Dovecot and we give to what is missing."""
    if item in (b"BODY", b"BODYSTRUCTURE"):
        return structure(value)
    if isinstance(value, list):
        return b"nil" if value == NOBODY else [alike(b"", one) for one in value]
    assert isinstance(value, bytes)
    return b"" if value in (b"MISSING_MAILBOX", b"MISSING_DOMAIN") else value.lower()


def structure(value: object) -> object:
    """A body structure without what Courier leaves out: the default charset, 7bit for what states no encoding, and the location, which came
    after RFC 2060."""
    if not isinstance(value, list):
        return alike(b"", value)
    if isinstance(value[0], list):
        parts = [one for one in value if isinstance(one, list) and one and isinstance(one[0], (list, bytes)) and is_part(one)]
        rest = value[len(parts):]
        return [*(structure(one) for one in parts), *(alike(b"", one) for one in rest[:4])]
    kind = (value[0].lower(), value[1].lower())
    text, message = kind[0] == b"text", kind == (b"message", b"rfc822")
    params = value[2] if isinstance(value[2], list) else []
    params = [one for at in range(0, len(params), 2) for one in params[at:at + 2] if params[at:at + 2] != [b"charset", b"us-ascii"]]
    params = alike(b"", params) if params else b"nil"
    head = [*kind, params, alike(b"", value[3]), alike(b"", value[4]), value[5].lower().replace(b"8bit", b"7bit"), value[6]]
    if message and len(value) > 8:
        head += [alike(b"", value[7]), structure(value[8]), value[9]]
        rest = value[10:]
    else:
        head += value[7:8] if text else []
        rest = value[8 if text else 7:]
    return head + [alike(b"", one) for one in rest[:3]]


def is_part(value: list[object]) -> bool:
    return isinstance(value[0], list) or len(value) >= 7 and isinstance(value[1], bytes)


@contextmanager
def both(corpus: list[bytes], times: list[int] | None = None) -> Iterator[tuple[Conversation, Talk]]:
    """Us and Courier, each in front of its copy, with everything selected."""
    with directory() as top:
        os.chmod(top, 0o755)
        for name in ("ours", "theirs"):
            for sub in ("", "/tmp", "/new", "/cur", "/.A", "/.A/tmp", "/.A/new", "/.A/cur", "/.A.B", "/.A.B/tmp", "/.A.B/new", "/.A.B/cur"):
                os.mkdir(f"{top}/{name}{sub}", 0o700)
            for number, message in enumerate(corpus):
                for place in ("/cur", "/.A.B/cur")[:1 + (number < 9)]:
                    path = f"{top}/{name}{place}/{1_700_000_000 + number}.M{number}P1.host:2,{('', 'S', 'F', 'FS', 'T')[number % 5]}"
                    with open(path, "wb") as file:
                        file.write(message)
                    os.utime(path, ((times[number] if times else 1_700_000_000 + number * 3600),) * 2)
        server = servers.courier((courier_programs(top + "/programs"),))
        assert server
        us = Conversation(mailbox.MailStore(top + "/ours"), logged_in=True)               # type: ignore[arg-type]
        us.say("a ENABLE UTF8=ACCEPT")                  # else header fields are not said as they stand
        us.say("a SELECT INBOX")
        with server.talk(server.imapd, top + "/theirs") as talk:
            while not talk.line().startswith(b"* PREAUTH"):
                pass
            talk.ok(b"SELECT INBOX")
            yield us, talk
        assert us.session is not None
        us.session.close()
        opened.forget_all()


@pytest.fixture(scope="module")
def answers() -> tuple[dict[str, object], dict[str, object]]:
    """What each says to all that is asked over the corpus."""
    with both(CORPUS) as (us, talk):
        for who in (us.say, lambda line: talk.ok(line.removeprefix("a ").encode())):
            who("a STORE 2,4,9 +FLAGS (work)")
        us.feed(f"a FETCH 1:* {ITEMS}\r\n".encode())
        ours: dict[str, object] = {"FETCH": rows(lines_of(us.take()))}
        theirs: dict[str, object] = {"FETCH": rows([line.replace(b'("FROM" "SUBJECT")', b"(FROM SUBJECT)")
                                                    for line in talk.ok(b"FETCH 1:* " + ITEMS.encode())])}
        for search in (*SEARCHES, "LARGER 100"):
            ours[search] = us.say(f"a SEARCH {search}")[0].split()[2:]
            theirs[search] = talk.ok(b"SEARCH " + search.encode())[0].decode().split()[2:]
        ours["LIST"] = sorted(us.say('a LIST "" *')[:-1])
        theirs["LIST"] = sorted(line.decode() for line in talk.ok(b'LIST "" *'))
        for name in ("INBOX", "A.B"):
            ours["STATUS " + name] = us.say(f"a STATUS {name} (MESSAGES UNSEEN UIDNEXT)")[0].partition("(")[2]
            wire = name if name == "INBOX" else "INBOX." + name
            theirs["STATUS " + name] = talk.ok(f"STATUS {wire} (MESSAGES UNSEEN UIDNEXT)".encode())[0].decode().partition("(")[2]
    return ours, theirs


def test_fetch(answers) -> None:
    ours, theirs = (each["FETCH"] for each in answers)
    assert len(ours) == len(theirs) == len(CORPUS)
    different, needed = [], set()
    for number, row in theirs.items():
        for item, value in row.items():
            mine = ours[number][item]
            if item.endswith(b".MIME]") and ours[number][b"BODYSTRUCTURE"] and not isinstance(ours[number][b"BODYSTRUCTURE"][0], list):
                continue                                # Courier takes other fields than Content-* out of the MIME header of the only part
            if alike(item, value) == alike(item, mine) or item.startswith(b"BODY[") and value == b"" and mine == b"NIL":
                continue
            if explained(number, item):
                needed.add(number)
                continue
            different.append(f"{number} {item.decode()}\n  {CORPUS[number - 1]!r}\n  Courier {alike(item, value)!r}\n  we      {alike(item, mine)!r}")
    assert not different, f"{len(different)}:\n" + "\n".join(different[:300])
    assert needed >= set(EXPLAINED), f"alike after all: {sorted(set(EXPLAINED) - needed)}"
    assert len([number for number in needed if number > len(ODD)]) < 60, "ordinary mail is alike, as a rule"


@pytest.mark.parametrize("search", SEARCHES)
def test_search(answers, search) -> None:
    ours, theirs = answers
    assert ours[search] == theirs[search]


def test_courier_takes_the_size_of_the_file(answers) -> None:
    """LARGER, SMALLER and SORT (SIZE) mean RFC822.SIZE (RFC 9051 §6.4.4), which counts CRLF: that is ours.  Courier's are octets on disk."""
    ours, theirs = answers
    sizes = {number: int(row[b"RFC822.SIZE"]) for number, row in ours["FETCH"].items()}
    assert ours["LARGER 100"] == [str(number) for number, size in sizes.items() if size > 100]
    assert theirs["LARGER 100"] == [str(number) for number, message in enumerate(CORPUS, 1) if len(message) > 100] != ours["LARGER 100"]


def test_list_and_status(answers) -> None:
    ours, theirs = answers
    for name in ("INBOX", "A.B"):
        assert sorted(ours["STATUS " + name].strip("()").split()) == sorted(theirs["STATUS " + name].strip("()").split())
    assert names(ours["LIST"]) == names(theirs["LIST"])


def names(lines: list[str]) -> set[str]:
    """Without the prefix INBOX. that Courier puts before all but INBOX."""
    return {line.rpartition(" ")[2].strip('"').removeprefix("INBOX.") for line in lines}


SORTS = ("ARRIVAL", "DATE ARRIVAL", "FROM ARRIVAL", "TO ARRIVAL", "SUBJECT ARRIVAL", "REVERSE DATE ARRIVAL", "SUBJECT REVERSE DATE ARRIVAL")
SUBJECTS = (b"a", b"Re: a", b"RE: a", b"b", b"re: b", b"c", b"Fwd: d", b"e (fwd)", b"A   b")


def message(dice: random.Random, number: int) -> bytes:
    """Without what is odd: how base subjects of odd ones are found is Dovecot's to compare (test_dovecot_sort)."""
    named = sorted(dice.sample(range(max(0, number - 9), number), dice.randint(0, min(2, number))))
    lines = [b"Subject: " + dice.choice(SUBJECTS), b"From: %b@x.example" % dice.choice([b"ann", b"bob", b"carl"]),
             b"To: Some <%b@y.example>" % dice.choice([b"dora", b"eve"]), b"Message-ID: <%d@x.example>" % number,
             b"Date: Mon, %d Jan 2024 %02d:00:00 %b" % (dice.randint(1, 28), dice.randint(0, 23), dice.choice([b"+0000", b"-0500"]))]
    if named:
        lines.append(b"References: " + b" ".join(b"<%d@x.example>" % one for one in named))
    return b"\n".join(lines) + b"\n\n" + b"x" * dice.randint(0, 500) + b"\n"


@pytest.mark.parametrize("count", [12, 60, 200])
def test_sort_and_thread(count: int) -> None:
    """Ties are broken by ARRIVAL, which Courier leaves open; it writes the children of ORDEREDSUBJECT one below the other, as the drafts of
    RFC 5256 had it, and its REFERENCES makes no parents for what is missing: threads are compared as sets."""
    dice = random.Random(17)
    corpus = [message(dice, number) for number in range(count)]
    with both(corpus, [1_700_000_000 + one * 60 for one in dice.sample(range(100_000), count)]) as (us, talk):
        for line in [f"SORT ({one}) UTF-8 ALL" for one in SORTS]:
            assert us.say(f"a {line}")[0].strip() == talk.ok(line.encode())[0].decode().strip(), line
        for how in ("ORDEREDSUBJECT", "REFERENCES"):
            line = f"THREAD {how} UTF-8 ALL"
            assert threads(us.say(f"a {line}")[0]) == threads(talk.ok(line.encode())[0].decode()), line


def threads(line: str) -> set[frozenset[int]]:
    """The members of each thread."""
    found, depth, word = set(), 0, ""
    members: list[int] = []
    for char in line.removeprefix("* THREAD "):
        depth += (char == "(") - (char == ")")
        if char.isdigit():
            word += char
            continue
        if word:
            members.append(int(word))
            word = ""
        if not depth and members:
            found.add(frozenset(members))
            members = []
    return found
