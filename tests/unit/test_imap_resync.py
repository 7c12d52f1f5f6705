"""What QRESYNC tells of UIDs that went: the sums, against sets; and message sequence match data on a Maildir whose log is gone."""
from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from pymta import mailbox
from pymta.mailbox import opened
from pymta.proto.imap import resync
from pymta.proto.imap.args import STAR
from pymta.proto.imap.view import View
from tests.imapengine import Conversation
from tests.mailboxes import Store

PAIR = st.tuples(st.one_of(st.integers(1, 40), st.just(STAR)), st.one_of(st.integers(1, 40), st.just(STAR)))


def view_of(uids: list[int], uidnext: int) -> View:
    folder = Store().folders["INBOX"]
    for uid in uids:
        folder.uidnext = uid
        folder.append(b"Subject: x\n\nx\n")
    folder.uidnext = uidnext
    return View("INBOX", folder, None, read_only=True, wake=lambda: None)


def said(reply: bytes) -> list[int]:
    pairs = [part.split(b":") for part in reply.split()[-1].split(b",")] if reply else []
    return [uid for pair in pairs for uid in range(int(pair[0]), int(pair[-1]) + 1)]


@given(st.sets(st.integers(1, 29)), st.sets(st.integers(1, 29)), st.one_of(st.none(), st.lists(PAIR, min_size=1, max_size=5).map(tuple)))
def test_vanished_earlier(there: set[int], went: set[int], known: tuple[tuple[int, int], ...] | None) -> None:
    view = view_of(sorted(there), 30)
    wanted = set(range(1, 30))
    if known is not None:
        ends = [sorted(29 if number == STAR else number for number in pair) for pair in known]
        wanted = {uid for first, last in ends for uid in range(first, last + 1)}
    reply = resync.vanished_earlier(view, [(uid, uid) for uid in sorted(went)], known)
    assert said(reply) == sorted((went - there) & wanted)


@given(st.sets(st.integers(1, 30), min_size=1), st.data())
def test_match_holds_up_to_the_last_that_is_right(before: set[int], data: st.DataObject) -> None:
    """The client knew all of before; some went since.  It sends some of its numbers with their UIDs, as runs where it likes."""
    ordered = sorted(before)
    there = data.draw(st.sets(st.sampled_from(ordered)))
    told = sorted(data.draw(st.sets(st.integers(1, len(ordered)))))
    as_runs = data.draw(st.booleans())
    numbers = runs(told) if as_runs else tuple((number, number) for number in told)
    uids = runs([ordered[number - 1] for number in told])
    view = view_of(sorted(there), 31)
    holds = resync._holds_up_to(view, (numbers, uids))
    now = sorted(there)
    right = [ordered[number - 1] for number in told if number <= len(now) and now[number - 1] == ordered[number - 1]]
    assert holds == max(right, default=0)
    assert {uid for uid in before if uid <= holds} <= there                     # so that nothing is kept from the client


def runs(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    out: list[tuple[int, int]] = []
    for number in numbers:
        if out and out[-1][1] == number - 1:
            out[-1] = out[-1][0], number
        else:
            out.append((number, number))
    return tuple(out)


def test_without_a_log_the_client_is_spared_what_it_knows(tmp_path) -> None:
    store = mailbox.MailStore(str(tmp_path / "Maildir"))
    folder = store.open("INBOX")
    folder.append_all([(b"Subject: x\n\nx\n", (), None)] * 20)
    uidvalidity, modseq = folder.uidvalidity, folder.highestmodseq
    folder.expunge([2, 15, 16])
    store.close(folder)
    opened.forget_all()
    os.unlink(tmp_path / "Maildir" / "pymta-changes")
    for match, vanished in (("", "2,15:16"), (" (1 1)", "2,15:16"), (" (1,9 1,10)", "15:16"), (" (1:5,9:17 1,3:6,10:14,17:20)", None),
                            (" (5:20 5:20)", "2,15:16")):
        talk = Conversation(store, logged_in=True)                                # type: ignore[arg-type]
        talk.say("a ENABLE QRESYNC")
        lines = talk.say(f"b SELECT INBOX (QRESYNC ({uidvalidity} {modseq} 1:20{match}))")
        told = [line.split()[-1] for line in lines if line.startswith("* VANISHED (EARLIER)")]
        assert told == ([vanished] if vanished else []), (match, lines)
        talk.session.close()                                                      # type: ignore[union-attr]
    opened.forget_all()
