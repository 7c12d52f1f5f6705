"""pymta-why: tell everything the queue knows about one message.                            pymta-why(8)

Where it stands, its envelope, what was tried and what was answered, and when it is tried next.
"""
from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from pymta import clock, settings
from pymta.formats import queuefile
from pymta.programs.mailq import Parser, described, printable, size, span, when
from pymta.queue import survey
from pymta.queue.survey import Contents, Found

UNAVAILABLE, NOPERM = 69, 77
_NEXT = {"in": "pymta-qrun takes it next", "split": "pymta-qrun is parting it into a local and a remote message",
         "todo": "it is being delivered", "hold": "it waits for the admin: pymta-mailq release, or delete",
         "corrupt": "it is damaged: pymta-mailq show"}


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0; 64 usage; 69 no such message (delivered, returned, or never here: the log knows); 77 something could not be seen."""
    parser = Parser(prog="pymta-why", description="tell everything the queue knows about one message")
    parser.add_argument("--etc", default=settings.DEFAULT_ETC, metavar="DIR", help="where pymta.conf lies")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("ids", nargs="+", metavar="ID", help="queue id, as in the log and in pymta-mailq")
    options = parser.parse_args(argv)
    spool = settings.read(options.etc)["host.spool"]
    unseen: list[str] = []
    status = 0
    ids = [word.rpartition("/")[2].partition(".")[0] for word in options.ids]
    for id, places in survey.find(spool, ids, unseen).items():
        if not places:
            print(f"pymta-why: {printable(id)}: not in the queue; it was delivered or returned, and the log says which, or it was never "
                  "here" if not unseen else f"pymta-why: {printable(id)}: not where this user may look", file=sys.stderr)
            status = UNAVAILABLE
        for found in places:
            _tell(spool, found, options.json)
    for place in unseen:
        print(f"pymta-why: cannot look into {spool}/{place}", file=sys.stderr)
    return status or (NOPERM if unseen else 0)


def _tell(spool: str, found: Found, as_json: bool) -> None:
    try:
        contents: Contents | str = survey.read(spool, found)
    except FileNotFoundError:
        contents = "it has moved on just now; look again"
    except queuefile.Damaged as error:
        contents = f"damaged: {error}"
    except OSError as error:
        contents = f"cannot be read: {error.strerror}"
    if as_json:
        row = described(found, contents, clock.now())
        if isinstance(contents, Contents):
            row |= {"facts": contents.envelope.facts, "recipients": [_recipient(contents, n) for n in range(len(contents.envelope.recipients))],
                    "records": [{name: getattr(record, name) for name in queuefile.Record.__slots__} for record in contents.records]}
        print(json.dumps(row))
    else:
        print("\n".join(_lines(found, contents, clock.now())))


def _recipient(contents: Contents, number: int) -> dict[str, object]:
    recipient = contents.envelope.recipients[number]
    return {"number": number, "address": _text(recipient.address), "kind": recipient.kind.decode("ascii"),
            "original": _text(recipient.original), "owed": number in contents.owed,
            "notes": [[_text(name), _text(value)] for name, value in recipient.notes]}


def _lines(found: Found, contents: Contents | str, now: float) -> Iterator[str]:
    birth = survey.born(found)
    yield f"{printable(found.id)}"
    yield f"  file      {printable(found.path)}"
    if birth is not None:
        yield f"  accepted  {when(birth)}, {span(now - birth)} ago"
    yield f"  next      {_next(found, now)}"
    if isinstance(contents, str):
        yield f"  trouble   {printable(contents)}"
        return
    envelope = contents.envelope
    yield f"  size      {size(contents.size_octets).strip()}"
    yield f"  from      <{printable(_text(envelope.sender))}>"
    for key, value in envelope.facts.items():
        yield f"  {key:9} {printable(value)}"
    for number, recipient in enumerate(envelope.recipients):
        fate = _fate(contents, number)
        was = f" (was <{printable(_text(recipient.original))}>)" if recipient.original != recipient.address else ""
        yield f"  to {number:<6} <{printable(_text(recipient.address))}>{was}, {recipient.kind.decode('ascii')}: {fate}"
    for record in contents.records:
        which = "all" if record.recipient is None else f"to {record.recipient}"
        yield f"  {when(record.when)}  try {record.attempt}, {which}: {record.word} {printable(record.status)} {printable(record.text)}".rstrip()


def _fate(contents: Contents, number: int) -> str:
    last = contents.last(number)
    if number in contents.owed:
        return "not tried yet" if last is None else f"owed; last answer {printable(last.status)} {printable(last.text)}"
    return "settled" if last is None else f"{last.word} {when(last.when)}"


def _next(found: Found, now: float) -> str:
    if found.state == "later" and found.due is not None:
        return f"{when(found.due)}, in {span(found.due - now)}" if found.due > now else "now"
    if found.state == "parked":
        return f"when {printable(found.destination)} answers again (pymta-mailq retry tries it now)"
    return _NEXT.get(found.state.partition("/")[0], "")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
