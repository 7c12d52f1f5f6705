"""pymta-mailq: show the queue, and let the admin act on it.                               pymta-mailq(8)

Whatever it shows is read from the directories of the spool, whatever it does is one rename or unlink there: the daemons need
not run, and `ls`, `mv` and `rm` would do as well.
"""
from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import NoReturn

from pymta import clock, durable, settings
from pymta.formats import queuefile
from pymta.queue import survey
from pymta.queue.survey import Contents, Found

ACTIONS = ("hold", "release", "retry", "delete", "show")
SHOWN_RECIPIENTS = 5
USAGE, UNAVAILABLE, NOPERM = 64, 69, 77


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints end with the exit status of sysexits.h."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.format_usage()}{self.prog}: {printable(message)}\n")


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0; 64 usage; 69 a message was not found or could not be moved; 77 something could not be seen."""
    options = _options(argv)
    spool = settings.read(options.etc)["host.spool"]
    unseen: list[str] = []
    try:
        status = _act(options, spool, unseen) if options.action else _list(options, spool, unseen)
        sys.stdout.flush()
    except BrokenPipeError:                             # pymta-mailq | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return 130
    for place in unseen:
        print(f"pymta-mailq: cannot look into {spool}/{place}", file=sys.stderr)
    return status or (NOPERM if unseen else 0)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="pymta-mailq", description="show the queue, and let the admin act on it",
                    epilog="actions: hold, release, retry, delete, show, each with ids; or with --all, for what "
                           "--state, --from and --to select.  See pymta-mailq(8).")
    parser.add_argument("--etc", default=settings.DEFAULT_ETC, metavar="DIR", help="where pymta.conf lies")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--state", metavar="PLACE", help="only messages there: " + ", ".join(survey.STATES) + ", or todo/remote, in/smtpd, ...")
    parser.add_argument("--from", dest="sender", metavar="ADDRESS", help="only from there; part of an address, or a pattern with *; <> for none")
    parser.add_argument("--to", dest="to", metavar="ADDRESS", help="only with such a recipient still owed")
    parser.add_argument("--all", action="store_true", help="act on everything selected instead of on ids")
    parser.add_argument("--yes", action="store_true", help="really delete")
    parser.add_argument("--force", action="store_true", help="also take what is being delivered; it may then be delivered twice")
    parser.add_argument("words", nargs="*", metavar="[ACTION] [ID]", help="hold, release, retry, delete or show, and which")
    options = parser.parse_intermixed_args(argv)
    options.action, options.ids = None, []
    if options.words:
        options.action, *options.ids = options.words
        if options.action not in ACTIONS:
            parser.exit(USAGE, f"pymta-mailq: no such action: {printable(options.action)}; write one of {', '.join(ACTIONS)}\n")
        if bool(options.ids) == options.all:
            parser.exit(USAGE, f"pymta-mailq: {options.action}: give ids, or --all\n")
        if options.action == "delete" and not options.yes:
            parser.exit(USAGE, "pymta-mailq: delete loses mail for good; add --yes\n")
    if options.state and options.state.partition("/")[0] not in survey.STATES:
        parser.exit(USAGE, f"pymta-mailq: no such state: {printable(options.state)}; write one of {', '.join(survey.STATES)}\n")
    return options


# ---- looking ----------------------------------------------------------------------------------------------------------
def _selected(options: argparse.Namespace, spool: str, unseen: list[str]) -> Iterator[tuple[Found, Contents | str]]:
    """(where, contents or why they cannot be read) of each message that was asked for."""
    state = (options.state or "").rstrip("/")
    for found in survey.walk(spool, unseen, [state.partition("/")[0]] if state else survey.STATES):
        if state and found.state != state and not found.path.startswith(state + "/"):
            continue
        try:
            contents: Contents | str = survey.read(spool, found)
        except FileNotFoundError:
            continue                                    # it has moved on since its name was read
        except queuefile.Damaged as error:
            contents = f"damaged: {error}"
        except OSError as error:
            contents = f"cannot be read: {error.strerror}"
        if _matches(options, contents):
            yield found, contents


def _matches(options: argparse.Namespace, contents: Contents | str) -> bool:
    if options.sender is None and options.to is None:
        return True
    if isinstance(contents, str):
        return False
    if options.sender is not None and not _like(contents.envelope.sender, options.sender):
        return False
    return options.to is None or any(_like(contents.envelope.recipients[n].address, options.to) for n in contents.owed)


def _like(address: bytes, pattern: str) -> bool:
    text, pattern = address.decode("utf-8", "replace").lower(), pattern.lower()
    if pattern in ("", "<>"):
        return not text
    return fnmatch.fnmatchcase(text, pattern) if "*" in pattern else pattern.strip("<>") in text


def _list(options: argparse.Namespace, spool: str, unseen: list[str]) -> int:
    now = clock.now()
    states: Counter[str] = Counter()
    octets = 0
    for found, contents in _selected(options, spool, unseen):
        if not states and not options.json:
            print(f"{'ID':15} {'AGE':>4} {'SIZE':>6} {'STATE':11} {'NEXT':>7}  SENDER  RECIPIENTS STILL OWED")
        states[found.state] += 1
        octets += contents.size_octets if isinstance(contents, Contents) else 0
        print(json.dumps(described(found, contents, now)) if options.json else _line(found, contents, now))
    if not options.json:
        parts = ", ".join(f"{count} in {state}" for state, count in states.items())
        total = sum(states.values())
        print(f"{total} message{'' if total == 1 else 's'}, {size(octets).strip()} ({parts})" if total else "the queue is empty"
              if not unseen else "nothing can be seen")
    return 0


def described(found: Found, contents: Contents | str, now: float) -> dict[str, object]:
    """One message as a JSON object; times are seconds since 1970, addresses as they are, with U+FFFD for what is not UTF-8."""
    birth = survey.born(found)
    row: dict[str, object] = {"id": found.id, "file": found.path, "state": found.state, "accepted": birth, "next_try": found.due,
                              "age_s": None if birth is None else round(max(0.0, now - birth), 1)}
    if found.destination:
        row["destination"] = found.destination
    if isinstance(contents, str):
        return row | {"problem": contents}
    envelope = contents.envelope
    if queuefile.release(envelope) > now:
        row["release"] = queuefile.release(envelope)
    recipients = []
    for number in contents.owed:
        last = contents.last(number)
        recipients.append({"address": _text(envelope.recipients[number].address), "kind": envelope.recipients[number].kind.decode("ascii"),
                           "status": last.status if last else None, "text": last.text if last else None})
    return row | {"size": contents.size_octets, "sender": _text(envelope.sender), "attempts": queuefile.attempts(contents.records),
                  "owed": recipients, "settled": len(envelope.recipients) - len(contents.owed)}


def _line(found: Found, contents: Contents | str, now: float) -> str:
    birth = survey.born(found)
    age = "?" if birth is None else span(now - birth)
    start = f"{printable(found.id):15} {age:>4} "
    if isinstance(contents, str):
        return f"{start}{'?':>6} {found.state:11} {'-':>7}  {printable(contents)}"
    shown = [_owed(contents, number) for number in contents.owed[:SHOWN_RECIPIENTS]]
    if len(contents.owed) > SHOWN_RECIPIENTS:
        shown.append(f"and {len(contents.owed) - SHOWN_RECIPIENTS} more")
    place = f"; parked with {printable(found.destination)}" if found.destination else ""
    if queuefile.release(contents.envelope) > now:
        place += f"; not before {when(queuefile.release(contents.envelope))}"
    return f"{start}{size(contents.size_octets)} {found.state:11} {_next(found, now):>7}  " \
           f"<{printable(_text(contents.envelope.sender))}>  {', '.join(shown) or 'nobody'}{place}"


def _owed(contents: Contents, number: int) -> str:
    last = contents.last(number)
    why = f" ({printable(last.status)} {printable(last.text)})" if last else ""
    return f"<{printable(_text(contents.envelope.recipients[number].address))}>{why}"


def _next(found: Found, now: float) -> str:
    if found.due is None:
        return "probe" if found.destination else "-"
    return "now" if found.due <= now else "in " + span(found.due - now)


def span(seconds: float) -> str:
    """A length of time in at most four characters."""
    seconds = max(0, int(seconds))
    for unit, length in (("s", 1), ("m", 60), ("h", 3600), ("d", 86400)):
        if seconds < length * (100 if unit in "sm" else 72) or unit == "d":
            return f"{seconds // length}{unit}"
    raise AssertionError("unreachable")


def size(octets: int) -> str:
    """A size in six characters."""
    value, unit = float(octets), ""
    for larger in "KMGT":
        if value < 10000 and not unit or value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f}{unit}".rjust(6) if unit and value < 100 else f"{value:.0f}{unit}".rjust(6)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def printable(text: str) -> str:
    """Text from outside as a terminal may have it."""
    return "".join(c if c.isprintable() else "?" for c in text)


# ---- acting -----------------------------------------------------------------------------------------------------------
def _act(options: argparse.Namespace, spool: str, unseen: list[str]) -> int:
    status = 0
    touched: dict[str, None] = {}
    probed: set[str] = set()
    for found in _meant(options, spool, unseen):
        if found is None:
            status = UNAVAILABLE
        elif options.action == "show":
            status = _show(spool, found) or status
        elif options.all and options.action == "retry" and found.destination in probed:
            continue                                    # one message is the probe for all of them
        else:
            probed |= {found.destination} - {""}
            status = _move(options, spool, found, touched) or status
    for directory in touched:
        try:
            durable.sync_dir(directory)
        except FileNotFoundError:
            pass                                        # an emptied bucket that the runner has removed
    return status


def _meant(options: argparse.Namespace, spool: str, unseen: list[str]) -> Iterator[Found | None]:
    """The files the words name; None, after a complaint, for an id that is not there."""
    if options.all:
        yield from [found for found, _ in _selected(options, spool, unseen) if _applies(options.action, found)]
        return
    for id, places in survey.find(spool, options.ids, unseen).items():
        if not places:
            print(f"pymta-mailq: {printable(id)}: no such message in the queue", file=sys.stderr)
            yield None
        yield from places


def _applies(action: str, found: Found) -> bool:
    """Whether --all means this one too."""
    if action == "release":
        return found.state == "hold"
    if action == "retry":
        return found.state in ("later", "parked")
    return action == "delete" or found.state not in ("hold", "corrupt")


def destination_of(action: str, found: Found) -> str:
    """The directory a message is moved to.  Raises ValueError, with the reason and the remedy, where the action makes no sense.

    What goes on its way stands in in/qrun/new for the runner, a drop that is not routed yet in in/inject/new; a parked message is
    tried at once where it is the probe: if it gets through, the others follow."""
    go = "in/inject/new" if found.name.endswith(".drop") else "in/qrun/new"
    match action, found.state:
        case "hold", "hold":
            raise ValueError("it is held already")
        case "hold", "corrupt" | "split":
            raise ValueError(f"it is in {found.state}/")
        case "hold", _:
            return "hold"
        case "release", "hold":
            return go
        case "release", _:
            raise ValueError("it is not held")
        case "retry", "later" | "hold":
            return go
        case "retry", "parked":
            return "todo/remote"
        case "retry", "corrupt":
            raise ValueError("it is damaged; read it with `pymta-mailq show`")
    raise ValueError("it is on its way already")


def _move(options: argparse.Namespace, spool: str, found: Found, touched: dict[str, None]) -> int:
    """One rename or unlink.  0, or the exit status after a complaint."""
    path = os.path.join(spool, found.path)
    try:
        if found.state.startswith("todo/") and options.action in ("hold", "delete") and not options.force:
            raise ValueError("it is being delivered just now; wait, or stop the daemon, or add --force")
        if options.action == "delete":
            durable.unlink(path)
            if found.state == "corrupt":
                durable.unlink_if_there(path + ".why")
        else:
            target = os.path.join(spool, destination_of(options.action, found))
            if os.path.lexists(f"{target}/{found.name}"):
                raise ValueError(f"there is one of that name in {target}")
            durable.rename(path, f"{target}/{found.name}")
            touched[target] = None
        touched[os.path.dirname(path)] = None
    except ValueError as error:
        print(f"pymta-mailq: {printable(found.id)}: {error}", file=sys.stderr)
        return UNAVAILABLE
    except FileNotFoundError:
        print(f"pymta-mailq: {printable(found.id)}: it has moved on meanwhile; look again", file=sys.stderr)
        return UNAVAILABLE
    except OSError as error:
        print(f"pymta-mailq: {printable(found.id)}: cannot {options.action}: {error.strerror}", file=sys.stderr)
        return NOPERM
    print(f"{options.action} {printable(found.id)}")
    return 0


def _show(spool: str, found: Found) -> int:
    """Write the file as it is; to a terminal, without what could command it."""
    sys.stdout.flush()
    terminal = os.isatty(1)
    try:
        with open(os.path.join(spool, found.path), "rb", opener=_no_link) as file:
            while chunk := file.read(1 << 16):
                os.write(1, _tame(chunk) if terminal else chunk)
    except FileNotFoundError:
        print(f"pymta-mailq: {printable(found.id)}: it has moved on meanwhile; look again", file=sys.stderr)
        return UNAVAILABLE
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"pymta-mailq: {printable(found.id)}: cannot be read: {error.strerror}", file=sys.stderr)
        return NOPERM
    return 0


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def _tame(chunk: bytes) -> bytes:
    return bytes(c if c >= 32 and c != 127 or c in b"\n\t" else 63 for c in chunk).replace(b"\xc2\x9b", b"??")


def when(seconds: float) -> str:
    """Local time for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
