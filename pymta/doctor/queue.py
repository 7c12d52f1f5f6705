"""queue: how the mail moves: what waits longer than it should, what waits for the admin, and what crashes and strangers left."""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from pymta.doctor.finding import FAULT, NOTE, WARNING, Case, Finding, unseen
from pymta.queue import survey

SUBJECT = "queue"
_STUCK_S = 600.0                                        # nothing due stands still for so long while its program runs
_TMP_S = 2 * 86400.0                                    # what a crash left in tmp/ is tidied after a day
_FUTURE_S = 300.0
_TMP = ("in/smtpd/tmp", "in/inject/tmp", "in/qrun/tmp", "report/local/tmp", "report/remote/tmp")
_MOVED_BY = {"in/smtpd": "pymta-qrun", "in/inject": "pymta-qrun", "in/qrun": "pymta-qrun", "split": "pymta-qrun",
             "todo/local": "pymta-local", "todo/remote": "pymta-remote"}


def look(case: Case) -> Iterator[Finding]:
    """A walk over names; of what is due now each file's times are read too."""
    missing: list[str] = []
    count: Counter[str] = Counter()
    stuck: Counter[str] = Counter()
    parked: Counter[str] = Counter()
    late, future = 0, 0
    oldest: tuple[float, str] | None = None
    for found in survey.walk(case.spool, missing):
        count[found.state] += 1
        born = None if found.state == "in/inject" else survey.born(found)              # there anybody may choose names
        if born is not None:
            future += born > case.now + _FUTURE_S
            if found.state not in ("hold", "corrupt") and (oldest is None or born < oldest[0]):
                oldest = born, found.id
        if found.state in _MOVED_BY and _still_s(case, found.path) > _STUCK_S:
            stuck[found.state] += 1
        late += found.state == "later" and found.due is not None and found.due < case.now - _STUCK_S
        if found.state == "parked":
            parked[found.destination] += 1
    yield from _unseen(missing)
    for state, number in stuck.items():
        yield Finding(SUBJECT, state, f"{_messages(number, 'stands', 'stand')} still there for more than {_STUCK_S / 60:.0f} minutes",
                      f"see whether {_MOVED_BY[state]} runs, and its log" + ("; what is no message (a directory, say) must be removed by hand"
                                                                            if state == "in/inject" else ""))
    if late:
        yield Finding(SUBJECT, "later", f"{_messages(late)} should have been tried more than {_STUCK_S / 60:.0f} minutes ago", "see whether pymta-qrun runs, and its log")
    if count["hold"]:
        yield Finding(SUBJECT, "hold", f"{_messages(count['hold'], 'waits', 'wait')} for the admin", "pymta-mailq shows why, and releases or removes them", WARNING)
    if count["corrupt"]:
        yield Finding(SUBJECT, "corrupt", f"{_messages(count['corrupt'], 'is', 'are')} damaged", "the .why beside each says how; look, then remove them", WARNING)
    for destination, number in parked.most_common(5):
        yield Finding(SUBJECT, f"parked/{destination}", f"{_messages(number, 'waits', 'wait')}, for the host does not answer", "it is tried again by itself; pymta-why ID says more",
                      WARNING)
    if len(parked) > 5:
        yield Finding(SUBJECT, "parked", f"{len(parked)} destinations do not answer", "where it is that many, look at the network: --outside", WARNING)
    if future:
        yield Finding(SUBJECT, "ids", f"{_messages(future, 'comes', 'come')} from the future", "the clock has been set back: set it right, they wait no longer for that", WARNING)
    if oldest is not None:
        shown = ", ".join(f"{number} in {state}" for state, number in sorted(count.items()))
        age = max(0.0, case.now - oldest[0])
        too_old = age > 2 * case.settings["queue.lifetime"]
        yield Finding(SUBJECT, "all", f"{_messages(sum(count.values()))} ({shown}); the oldest that moves, {oldest[1]}, is {_age(age)} old",
                      "pymta-why says what holds it" if too_old else "", WARNING if too_old else NOTE)
    yield from _leftovers(case)


def _still_s(case: Case, path: str) -> float:
    """How long a file has stood where it is: a rename changes its ctime."""
    try:
        return case.now - os.lstat(os.path.join(case.spool, path)).st_ctime
    except OSError:
        return 0.0                                      # it has moved on


def _unseen(missing: list[str]) -> Iterator[Finding]:
    closed = [text.partition(": ")[0] for text in missing if text.endswith("Permission denied")]
    if closed:
        yield Finding(SUBJECT, ", ".join(closed), "may not be looked at by this user", "run pymta-doctor as root", NOTE)
    for text in missing:
        place, _, why = text.partition(": ")
        if place not in closed and why != "it is not there":            # places.py tells what is missing
            yield Finding(SUBJECT, place, f"cannot be looked at: {why}", "mend it", FAULT)


def _leftovers(case: Case) -> Iterator[Finding]:
    for place in _TMP:
        stale = 0
        try:
            for top, folders, files in os.walk(os.path.join(case.spool, place), onerror=_raise):
                stale += sum(_still_s(case, os.path.relpath(os.path.join(top, name), case.spool)) > _TMP_S for name in files)
        except PermissionError:
            continue                                    # told above
        except FileNotFoundError:
            continue                                    # places.py tells
        except OSError as error:
            yield unseen(SUBJECT, place, error)
            continue
        if stale:
            yield Finding(SUBJECT, place, f"{stale} {'file has' if stale == 1 else 'files have'} lain there for more than two days; what a crash leaves is removed "
                          "after one", "see whether the daemons run; what is left belongs to no message and may be removed", WARNING)


def _raise(error: OSError) -> None:
    raise error


def _messages(number: int, one: str = "", more: str = "") -> str:
    """`1 message waits`, `2 messages wait`."""
    return f"{number} {'message' if number == 1 else 'messages'} {one if number == 1 else more}".rstrip()


def _age(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
