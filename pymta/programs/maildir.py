"""pymta-maildir: check a Maildir, take it over from another server or give it back, and bring back what was expunged.   pymta-maildir(8)

    pymta-maildir [--etc DIR] check    USER|MAILDIR [--repair] [--quick] [--json]
    pymta-maildir [--etc DIR] undelete USER|MAILDIR [MAILBOX] [--since WHEN] [--list] [--json]

Exit status: 0; 1 check found something; 64 usage; 66 no such Maildir; 67 no such user; 75 somebody holds it, try again; 77 no right to.
"""
from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time

from pymta import clock, log, settings
from pymta.upkeep import check, undelete, whose
from pymta.upkeep.finding import NOTE, printable

NAME = "pymta-maildir"
EX_FOUND, EX_USAGE, EX_IOERR, EX_TEMPFAIL, EX_NOPERM = 1, 64, 74, 75, 77


def main(argv: list[str] | None = None) -> int:
    log.start(NAME)
    given = _arguments().parse_args(argv)
    try:
        return given.run(given)
    except whose.Refused as refused:
        print(f"{NAME}: {refused}", file=sys.stderr)
        return refused.status
    except TimeoutError as error:
        print(f"{NAME}: {error}; try again later", file=sys.stderr)
        return EX_TEMPFAIL
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)    # head(1) had enough
        return 0
    except OSError as error:
        where = f"{printable(os.fsdecode(error.filename))}: " if error.filename else ""
        print(f"{NAME}: {where}{error.strerror or error}", file=sys.stderr)
        return EX_NOPERM if isinstance(error, PermissionError) else EX_IOERR


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:              # type: ignore[override]
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


def _arguments() -> argparse.ArgumentParser:
    top = _Parser(prog=NAME, description="check a Maildir, take it over or give it back, bring back what was expunged")
    top.add_argument("--etc", metavar="DIR", default=settings.DEFAULT_ETC, help=f"where pymta.conf lies ({settings.DEFAULT_ETC})")
    commands = top.add_subparsers(required=True, metavar="check | undelete")
    part = commands.add_parser("check", help="say what is not as it should be, and why")
    part.add_argument("name", metavar="USER|MAILDIR")
    part.add_argument("--repair", action="store_true", help="put right what can be without losing anything")
    part.add_argument("--quick", action="store_true", help="do not read the messages")
    part.add_argument("--json", action="store_true", help="one JSON object per finding")
    part.set_defaults(run=_check)
    part = commands.add_parser("undelete", help="bring back what was expunged lately")
    part.add_argument("name", metavar="USER|MAILDIR")
    part.add_argument("mailbox", metavar="MAILBOX", nargs="?", help="only from this one")
    part.add_argument("--since", metavar="WHEN", type=_when, default=0.0, help="2h, 1d, yesterday or 2026-11-23T10:00")
    part.add_argument("--list", action="store_true", help="only say what there is")
    part.add_argument("--json", action="store_true", help="one JSON object per message")
    part.set_defaults(run=_undelete)
    return top


def _when(text: str) -> float:
    """Seconds since 1970 of a moment in the past."""
    try:
        if text in ("today", "yesterday"):
            return time.mktime((datetime.date.today() - datetime.timedelta(text == "yesterday")).timetuple())
        if text[:1].isdigit() and text[-1:].isalpha():
            return clock.now() - settings.duration(text)
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: no moment; write 2h, 1d, yesterday or 2026-11-23T10:00") from None


# ---- check ------------------------------------------------------------------------------------------------------------
def _check(given: argparse.Namespace) -> int:
    root = os.fsencode(whose.maildir(given.name, given.etc))
    count = left = 0
    for found in list(check.everything(root, messages=not given.quick)):
        state = ""
        if given.repair and found.mend:
            try:
                found.mend()
                state = "repaired"
            except OSError as error:
                state = f"not repaired: {error.strerror or error}"
        if given.json:
            print(json.dumps({"path": os.fsdecode(found.path), "line": found.line or None, "grade": found.grade, "why": found.why,
                              "remedy": found.remedy, "repair": state or ("--repair" if found.mend else None)},
                             ensure_ascii=True))
        else:
            print(f"{found}{f' [{state}]' if state else ' [--repair]' if found.mend else ''}")
        count += found.grade != NOTE
        left += found.grade != NOTE and state != "repaired"
    if not given.json:
        print(f"{printable(os.fsdecode(root))}: {count or 'nothing'} wrong" + (f", {count - left} repaired" if given.repair and count else ""))
    return EX_FOUND if left else 0


# ---- undelete ---------------------------------------------------------------------------------------------------------
def _undelete(given: argparse.Namespace) -> int:
    root = os.fsencode(whose.maildir(given.name, given.etc))
    lost = undelete.find(root, given.mailbox, given.since)
    described = [(one, one.header(b"from"), one.header(b"subject")) for one in lost]
    uids = {} if given.list else {id(one): uid for one, uid in undelete.bring_back(root, lost)}
    for one, sender, subject in described:
        uid = uids.get(id(one))
        when = datetime.datetime.fromtimestamp(one.expunged.when).isoformat(" ", "seconds")
        if given.json:
            print(json.dumps({"mailbox": one.mailbox, "uid": uid, "expunged": when, "size": one.expunged.size, "from": sender, "subject": subject,
                              "name": os.fsdecode(one.expunged.name)}))
        else:
            number = f"UID {uid}" if uid else "expunged" if given.list else "gone"
            print(f"{printable(one.mailbox)}  {number}  {when}  {one.expunged.size}  {printable(sender)}  {printable(subject)}")
    if not given.json and not lost:
        print("nothing that was expunged is still there")
    return 0
