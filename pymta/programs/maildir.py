"""pymta-maildir: check a Maildir, take it over from another server or give it back, and bring back what was expunged.   pymta-maildir(8)

    pymta-maildir [--etc DIR] check    USER|MAILDIR [--repair] [--quick] [--json]
    pymta-maildir [--etc DIR] adopt    USER|MAILDIR --from dovecot|courier [--dry-run] [--anyway]
    pymta-maildir [--etc DIR] leave    USER|MAILDIR --to dovecot|courier [--dry-run] [--anyway]
    pymta-maildir [--etc DIR] undelete USER|MAILDIR [MAILBOX] [--since WHEN] [--list] [--json]
    pymta-maildir [--etc DIR] who      USER|MAILDIR [MAILBOX UID] [--message-id ID] [--json]

Exit status: 0; 1 check found something, or clients would notice the move; 64 usage; 66 no such Maildir; 67 no such user; 75 somebody holds it, try again; 77 no right to.
"""
from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from dataclasses import replace

from pymta import clock, log, settings
from pymta.mailbox import tidying
from pymta.upkeep import adopt, check, moving, servers, undelete, who, whose
from pymta.upkeep.finding import FAULT, NOTE, printable

NAME = "pymta-maildir"
EX_FOUND, EX_USAGE, EX_NOINPUT, EX_IOERR, EX_TEMPFAIL, EX_NOPERM = 1, 64, 66, 74, 75, 77


def main(argv: list[str] | None = None) -> int:
    log.start(NAME)
    given = _arguments().parse_args(argv)
    tidying.keep_expunged(float("inf"))                 # what somebody wants back must not be tidied away by us
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
    commands = top.add_subparsers(required=True, metavar="check | adopt | leave | undelete | who")
    part = commands.add_parser("check", help="say what is not as it should be, and why")
    part.add_argument("name", metavar="USER|MAILDIR")
    part.add_argument("--repair", action="store_true", help="put right what can be without losing anything")
    part.add_argument("--quick", action="store_true", help="do not read the messages")
    part.add_argument("--json", action="store_true", help="one JSON object per finding")
    part.set_defaults(run=_check)
    for word, option, act, what in (("adopt", "--from", _adopt, "take over from another server"), ("leave", "--to", _leave, "give back to another server")):
        part = commands.add_parser(word, help=what)
        part.add_argument("name", metavar="USER|MAILDIR")
        part.add_argument(option, dest="other", choices=("dovecot", "courier"), required=True, help="the other server")
        part.add_argument("--dry-run", action="store_true", help="only compare, on copies, what both servers would say")
        part.add_argument("--anyway", action="store_true", help="although clients will notice")
        part.add_argument("--programs", metavar="DIR", help="where the other server's imap and pop3, or imapd and courierpop3d, are")
        part.add_argument("--uidl-format", metavar="FORMAT", help="the pop3_uidl_format of that Dovecot")
        part.add_argument("--utf7", action="store_true", help="a Courier before version 5, which names folders in modified UTF-7")
        part.set_defaults(run=act)
    part = commands.add_parser("undelete", help="bring back what was expunged lately")
    part.add_argument("name", metavar="USER|MAILDIR")
    part.add_argument("mailbox", metavar="MAILBOX", nargs="?", help="only from this one")
    part.add_argument("--since", metavar="WHEN", type=_when, default=0.0, help="2h, 1d, yesterday or 2026-11-23T10:00")
    part.add_argument("--list", action="store_true", help="only say what there is")
    part.add_argument("--json", action="store_true", help="one JSON object per message")
    part.set_defaults(run=_undelete)
    part = commands.add_parser("who", help="say what happened to a message, and who did it")
    part.add_argument("name", metavar="USER|MAILDIR")
    part.add_argument("mailbox", metavar="MAILBOX", nargs="?")
    part.add_argument("uid", metavar="UID", nargs="?", type=int)
    part.add_argument("--message-id", metavar="ID", help="every message with this Message-ID")
    part.add_argument("--json", action="store_true", help="one JSON object per event")
    part.set_defaults(run=_who)
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


# ---- adopt and leave --------------------------------------------------------------------------------------------------
def _adopt(given: argparse.Namespace) -> int:
    root = os.fsencode(whose.maildir(given.name, given.etc))
    server, uidl_format = _server(given)
    if given.other == "courier" and (why := adopt.worked_here_since(root)) and not given.anyway:
        print(f"{why}; what Courier knows may be out of date: --anyway takes it all the same")
        return EX_FOUND
    compared, theirs = moving.compare_adopt(root, server, given.other, uidl_format)
    if not _go_on(given, compared):
        return EX_FOUND
    if not given.dry_run:
        for done in moving.taking(root, given.other, uidl_format, theirs):
            print(printable(done))
    return 0


def _leave(given: argparse.Namespace) -> int:
    root = os.fsencode(whose.maildir(given.name, given.etc))
    server, _ = _server(given)
    if not _go_on(given, moving.compare_leave(root, server, given.other, given.utf7)):
        return EX_FOUND
    if not given.dry_run:
        for done in moving.giving(os.fsdecode(root), given.other, server, given.utf7):
            print(printable(done))
    return 0


def _server(given: argparse.Namespace) -> tuple[servers.Dovecot | servers.Courier | None, str]:
    """The other server, None where it is not installed; how it makes UIDLs."""
    places = (given.programs,) if given.programs else None
    if given.other == "courier":
        return (servers.courier(places) if places else servers.courier()), ""
    server = servers.dovecot(places) if places else servers.dovecot()
    uidl_format = given.uidl_format or (server.uidl_format if server else servers.UIDL_FORMAT)
    return (replace(server, uidl_format=uidl_format) if server else None), uidl_format


def _go_on(given: argparse.Namespace, compared: moving.Compared) -> bool:
    """Say what was compared; whether clients would notice nothing, or may."""
    other = given.other.capitalize()
    if not compared.server:
        print(f"nothing was compared: {other} is not installed here (--programs DIR names the directory of its programs)")
        return True
    for difference in compared.differences:
        print(difference)
    faults = sum(difference.grade == FAULT for difference in compared.differences)
    print(f"compared with {other}: {compared.boxes} mailboxes, {compared.messages} messages, {compared.drop} of POP3: "
          + (f"{faults} differences that clients notice" if faults else "clients notice nothing"))
    if other == "Courier":
        print("names: Courier shows every mailbox below INBOX, we beside it: a client that has the prefix `INBOX.` in its settings must change it")
    if faults and not given.anyway and not given.dry_run:
        print("nothing was done; --anyway does it all the same")
    return not faults or given.anyway


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


# ---- who --------------------------------------------------------------------------------------------------------------
def _who(given: argparse.Namespace) -> int:
    if (given.uid is None) == (given.message_id is None):
        raise whose.Refused(EX_USAGE, "name a MAILBOX and a UID, or a --message-id")
    root = os.fsencode(whose.maildir(given.name, given.etc))
    meant = who.find(root, given.message_id, given.mailbox) if given.message_id else [(given.mailbox, given.uid)]
    try:
        happened = [one for mailbox, uid in meant for one in who.to_message(root, mailbox, uid)]
    except KeyError:
        raise whose.Refused(EX_NOINPUT, f"{given.mailbox}: no such mailbox") from None
    for one in sorted(happened, key=lambda one: one.when):
        when = datetime.datetime.fromtimestamp(one.when).isoformat(" ")
        if given.json:
            print(json.dumps({"mailbox": one.mailbox, "uid": one.uid, "when": when, "what": one.what, "who": one.who or None}))
        else:
            print(f"{when}  {printable(one.mailbox)} {one.uid}  {printable(one.what)}  {printable(one.who) or '(found on the disk)'}")
    if not happened and not given.json:
        print("nothing is known of it" if meant else "no such message is there, nor waits in limbo")
    return 0
