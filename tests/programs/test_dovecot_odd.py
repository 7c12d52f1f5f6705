"""Odd and broken mail, to us and to Dovecot: every item of FETCH, differences explained one by one."""
from __future__ import annotations

from tests.dovecot import Dovecot, needs_dovecot
from tests.oddmail import ODDER
from tests.programs.test_dovecot_imap import plain
from tests.programs.test_dovecot_items import fetched, fetched_by, maildir, us

pytestmark = needs_dovecot

_SECTIONS = ("1", "2", "3", "1.1", "1.2", "2.1", "2.2", "1.1.1", "2.1.1", "1.1.1.1")
ITEMS = ("UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY RFC822.HEADER BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[TEXT]<1.5> "
         "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM CONTENT-TYPE)] BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT TO)] "
         + " ".join(f"BODY.PEEK[{path}] BODY.PEEK[{path}.MIME] BODY.PEEK[{path}.HEADER] BODY.PEEK[{path}.TEXT]" for path in _SECTIONS))

# (name of the message, item) -> why we say something else than Dovecot 2.3.
_LINE_END = "RFC 2046 §5.1.1: the line end before a delimiter belongs to the delimiter, also where it is the only one of a message within"
_INVALID = "RFC 2045 §5.2: a type that cannot be read is text/plain"
_FIELDS = "BODY[HEADER.FIELDS (SUBJECT FROM CONTENT-TYPE)]"
_STRUCTURE = ("BODYSTRUCTURE", "BODY")
_WHY = {
    ("rfc822 without a body", *_STRUCTURE, "BODY[1]"): _LINE_END,
    ("rfc822 that is only a header", *_STRUCTURE, "BODY[1]"): _LINE_END,
    ("an empty boundary", *_STRUCTURE): "RFC 2046 §5.1.1: a boundary has a character at least",
    ("text behind a delimiter", *_STRUCTURE, "BODY[1]"): "a delimiter is the whole line: mailers number their boundaries, and 1 is not 10",
    ("the same boundary within", *_STRUCTURE, *(f"BODY[{part}]" for part in ("1", "1.MIME", "2", "2.MIME", "3", "3.MIME", "1.1", "1.1.MIME"))):
        "what stands outside is read first: nothing within a part can end the multipart it is in",
    ("a boundary of 200", *_STRUCTURE): "Dovecot looks at 80 characters, and takes the end for one more delimiter",
    ("fields twice", "ENVELOPE"): "the first counts, as in the type of the part",
    ("UTF-8 in fields", "ENVELOPE", *_STRUCTURE): "RFC 6855 §7: UTF-8 is said in encoded words to a client that has not enabled UTF8=ACCEPT",
    ("8 bits in fields", *_STRUCTURE): "what a field says is sent as it stands",
    ("a header without end", _FIELDS): "chosen fields always end with an empty line",
    ("CR alone", _FIELDS): "chosen fields always end with an empty line",
    ("CR CR LF", _FIELDS): "octets of a header are sent as they stand",
    ("a NUL in a header", "ENVELOPE"): "NUL is 0x80 wherever it is shown",
    ("a type without a subtype", *_STRUCTURE): _INVALID, ("a type of nothing", *_STRUCTURE): _INVALID, ("a type of signs", *_STRUCTURE): _INVALID,
    ("a parameter without its end", *_STRUCTURE): "what is there of it is shown: clients find a name in it",
    ("a parameter of signs", *_STRUCTURE): "a value without quotes goes on to the next semicolon: names of files with signs in them are frequent",
    ("encoded and continued", *_STRUCTURE): "RFC 2231 §7: what stands in an encoded value is encoded",
    ("both forms of a parameter", "BODYSTRUCTURE"): "a disposition is shown also where there is no type",
    ("dispositions", "BODYSTRUCTURE"): "one without a word is none",
    ("locations and ids", *_STRUCTURE): "blanks at the end of a field are not part of it",
    ("encodings", *_STRUCTURE): "the first word is the encoding",
    ("groups", "ENVELOPE"): "a group in a group",
    ("brackets only", "ENVELOPE"): "an address that cannot be read is read another way",
    ("a name without an address", "ENVELOPE"): "one word or several without an address are a local part",
    ("fields of addresses twice", "ENVELOPE"): "an empty Sender is none",
}
EXPLAINED = {(name, item.encode()): why for (name, *items), why in _WHY.items() for item in items}


def test_odd_mail_is_shown_the_same() -> None:
    names = list(ODDER)
    with maildir(*ODDER.values()) as path:
        with Dovecot(path) as dovecot:
            dovecot.command("SELECT INBOX")
            theirs = fetched_by(dovecot, f"1:* ({ITEMS})")
        with us(path) as talk:
            ours = fetched(talk, f"1:* ({ITEMS})")
    assert len(theirs) == len(ours) == len(names)
    different, met = [], set()
    for number, row in theirs.items():
        name = names[number - 1]
        for item, value in row.items():
            mine = ours[number][item]
            if plain(value) == plain(mine) or item.startswith(b"BODY[") and value == b"" and mine == b"NIL":
                continue                                # Dovecot says "" of a part that is not there
            if mine == b"NIL" and value == row.get(item.replace(b".1.MIME]", b".MIME]").replace(b".1]", b"]")):
                continue                                # and thinks that a leaf has a part 1, itself, and so on: RFC 3501 §6.4.5 says it has none
            met.add((name, item))
            if (name, item) not in EXPLAINED:
                different.append(f"{name}: {item.decode()}\n  {ODDER[name][:300]!r}\n  Dovecot {str(value)[:600]}\n  we      {str(mine)[:600]}")
    assert not different, "\n".join(different)
    assert met == set(EXPLAINED), "explained, and the same now"
