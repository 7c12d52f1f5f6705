"""The same mail to us and to Courier's imapd: ENVELOPE, sizes and octets of whole messages.

Courier names parts in ways of its own (BODY[2.HEADER] of a part that is no message, BODY[1] of a message without its header), so parts
are compared with Dovecot alone; and it takes a CR in a file for an octet of a line, where Dovecot and we take it for half a line end.
"""
from __future__ import annotations

import random

from pymta.upkeep.servers import Courier
from tests.courier import courier_programs, needs_courier
from tests.oddmail import ODDER
from tests.programs.test_dovecot_imap import ordinary, plain, rows
from tests.programs.test_dovecot_items import fetched, maildir, us

pytestmark = needs_courier

ITEMS = "(RFC822.SIZE ENVELOPE BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[]<7.30>)"

_UNENDED = "Courier takes half of the last line end, or the last line of a header without one, for the body"
_ADDRESS = "Courier shows a word, a quote, a route or a group as a mailbox of its own; we read it as Dovecot does, or as RFC 5322 §3.4 has it"
EXPLAINED = {
    ("no body", "BODY[HEADER]"): _UNENDED, ("no body", "BODY[TEXT]"): _UNENDED, ("a header without end", "ENVELOPE"): _UNENDED,
    ("a header without end", "BODY[HEADER]"): _UNENDED, ("a header without end", "BODY[TEXT]"): _UNENDED,
    ("fields twice", "ENVELOPE"): "Courier puts them together; the first counts",
    ("8 bits in fields", "ENVELOPE"): "Courier leaves the octets out",
    ("UTF-8 in fields", "ENVELOPE"): "an encoded word is no domain: RFC 2047 §5; the A-label is",
    ("a blank before the colon", "ENVELOPE"): "RFC 5322 §4.5 allows it",
    ("an empty field", "ENVELOPE"): "RFC 3501 §7.4.2: a field that is there but empty is not NIL",
    ("a folded subject", "ENVELOPE"): "a fold and the blanks behind it are one blank",
    ("a long field", "ENVELOPE"): "Courier cuts it",
    ("fields of addresses twice", "ENVELOPE"): "RFC 3501 §7.4.2: Sender and Reply-To are never NIL",
    **{(name, "ENVELOPE"): _ADDRESS for name in ("groups", "routes", "quoted local parts", "missing commas", "brackets only",
                                                 "a name without an address")},
}


def test_whole_messages_and_envelopes_are_the_same() -> None:
    dice = random.Random(5)
    corpus = {f"ordinary {number}": b"From: a@b.example\nSubject: m%d\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nMime-Version: 1.0\n" % number + ordinary(dice)
              for number in range(100)}
    corpus |= {name: data for name, data in ODDER.items() if b"\r" not in data and b"\0" not in data}
    names = list(corpus)
    with maildir(*corpus.values()) as path:
        courier = Courier(courier_programs(path + "/programs") + "/imapd", "")
        with courier.talk(courier.imapd, path) as talk:
            talk.line()
            talk.command(b"SELECT INBOX")
            theirs = rows(talk.command(b"FETCH 1:* " + ITEMS.encode())[0])
        with us(path) as conversation:
            ours = fetched(conversation, "1:* " + ITEMS)
    assert len(theirs) == len(ours) == len(names)
    different, met = [], set()
    for number, row in theirs.items():
        for item, value in row.items():
            key = names[number - 1], item.decode()
            if plain(value) == plain(ours[number][item]):
                continue
            met.add(key)
            if key not in EXPLAINED:
                different.append(f"{key}\n  {corpus[key[0]][:200]!r}\n  Courier {str(value)[:400]}\n  we      {str(ours[number][item])[:400]}")
    assert not different, "\n".join(different)
    assert met == set(EXPLAINED), "explained, and the same now"
