"""mailq, why, survey: what an onlooker sees of the queue, and what the admin's words move where."""
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pymta import layout
from pymta.formats import queuefile
from pymta.formats.queuefile import Record
from pymta.programs import mailq, why
from pymta.queue import survey

IDS: dict[float, queuefile.Ids] = {}                    # one for each age: an Ids never goes back in time
NOW = 1_700_000_000.0


@pytest.fixture
def spool(tmp_path, monkeypatch):
    layout.make_spool(str(tmp_path / "spool"), single_uid=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pymta.conf").write_text(f"host.spool = {tmp_path}/spool\nhost.name = h.example\n")
    monkeypatch.setattr(mailq.clock, "now", lambda: NOW)
    monkeypatch.setattr(why.clock, "now", lambda: NOW)
    return tmp_path / "spool"


def put(spool: Path, place: str, *to: bytes, sender: bytes = b"ann@a.example", ending: str = "remote", age_s: float = 3600,
        records: tuple[Record, ...] = (), body: bytes = b"Subject: x\n\nhello\n") -> str:
    """Write a queue file; its id."""
    id = IDS.setdefault(age_s, queuefile.Ids()).new(NOW - age_s)
    recipients = [queuefile.Recipient(queuefile.REMOTE, address) for address in to or (b"bob@b.example",)]
    (spool / place).mkdir(parents=True, exist_ok=True)
    data = queuefile.encode(queuefile.Envelope(sender, recipients, id), body) + b"".join(map(queuefile.encode_record, records))
    (spool / place / f"{id}.{ending}").write_bytes(data)
    return id


def run(spool: Path, capsys, *words: str, program=mailq) -> tuple[int, str, str]:
    try:
        status = program.main(["--etc", str(spool.parent / "etc"), *words])
    except SystemExit as done:
        status = int(done.code or 0)
    return status, *capsys.readouterr()


def places(spool: Path) -> dict[str, str]:
    """id -> directory of everything in the queue."""
    return {found.id: os.path.dirname(found.path) for found in survey.walk(str(spool), [])}


LATE = "later/20231114T221500"                          # 100 s after NOW


# ---- looking ----------------------------------------------------------------------------------------------------------
def test_an_empty_queue(spool, capsys):
    assert run(spool, capsys) == (0, "the queue is empty\n", "")
    assert run(spool, capsys, "--json") == (0, "", "")


def test_every_place_is_looked_at(spool, capsys):
    wanted = {"in/smtpd/new": "in/smtpd", "in/inject/new": "in/inject", "in/qrun/new": "in/qrun", "split": "split", "todo/local": "todo/local",
              "todo/remote": "todo/remote", LATE: "later", "parked/b.example": "parked", "hold": "hold", "corrupt": "corrupt"}
    ids = {put(spool, place): state for place, state in wanted.items()}
    put(spool, "in/smtpd/tmp"), put(spool, "in/qrun/tmp"), put(spool, "in/inject/tmp")
    status, out, err = run(spool, capsys, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["id"]: row["state"] for row in rows} == ids and (status, err) == (0, "")
    assert all((spool / row["file"]).exists() for row in rows)
    assert "10 messages" in run(spool, capsys)[1]


def test_a_line_tells_what_is_owed_and_why(spool, capsys):
    records = (Record(1, int(NOW) - 60, 0, "delivered", "2.1.5", "ok"), Record(1, int(NOW) - 60, 1, "deferred", "4.4.1", "no host answers"),
               Record(2, int(NOW) - 30, 1, "deferred", "4.2.2", "mailbox full"))
    id = put(spool, LATE, b"bob@b.example", b"carl@c.example", b"dan@d.example", records=records, age_s=3610)
    _, out, _ = run(spool, capsys)
    lines = out.splitlines()
    assert lines[1].split()[:4] == [id, "60m", "18", "later"]
    assert lines[1].endswith("in 1m  <ann@a.example>  <carl@c.example> (4.2.2 mailbox full), <dan@d.example>")
    assert lines[2] == "1 message, 18 (1 in later)"
    row = json.loads(run(spool, capsys, "--json")[1])
    assert row["next_try"] == NOW + 100 and row["age_s"] == 3610.0 and row["attempts"] == 2 and row["settled"] == 1
    assert row["owed"] == [{"address": "carl@c.example", "kind": "Pymta-Relay-To", "status": "4.2.2", "text": "mailbox full"},
                           {"address": "dan@d.example", "kind": "Pymta-Relay-To", "status": None, "text": None}]


@pytest.mark.parametrize("words, which", [
    (["--state", "later"], "b"), (["--state", "todo"], "a"), (["--state", "todo/remote"], "a"), (["--state", "todo/local"], ""),
    (["--state", LATE], "b"), (["--from", "ann"], "ab"), (["--from", "<>"], "c"), (["--from", "*@A.example"], "ab"), (["--from", "a.exampl*"], ""),
    (["--to", "carl@c.example"], "b"), (["--to", "bob", "--from", "<>"], "c"), (["--to", "nobody"], "")])
def test_a_choice_can_be_made(spool, capsys, words, which):
    ids = {put(spool, "todo/remote"): "a", put(spool, LATE, b"carl@c.example"): "b", put(spool, "hold", sender=b""): "c"}
    out = run(spool, capsys, "--json", *words)[1]
    assert sorted(ids[json.loads(line)["id"]] for line in out.splitlines()) == sorted(which)


def test_damage_is_shown_and_does_not_stop_the_list(spool, capsys):
    (spool / "corrupt/x.remote").write_bytes(b"junk")
    (spool / "corrupt/x.remote.why").write_bytes(b"todo/remote/x.remote: torn\n")
    (spool / "hold/dangling").symlink_to("/etc/passwd")
    id = put(spool, "hold")
    status, out, _ = run(spool, capsys)
    assert status == 0 and "damaged" in out and "cannot be read" in out and id in out and ".why" not in out and "root:" not in out


def test_nothing_from_outside_commands_the_terminal(spool, capsys):
    records = (Record(1, 1, 0, "deferred", "4.0.0", "\x1b]0;owned\x07"),)
    put(spool, "todo/remote", b"\x1b[2Jx@b.example", sender=b"\x9b\xc2\x9b\x07@a.example", records=records)
    for words in ([], ["--json"]):
        out = run(spool, capsys, *words)[1]
        assert all(c.isprintable() or c == "\n" for c in out)
    id = next(iter(places(spool)))
    assert all(c.isprintable() or c == "\n" for c in run(spool, capsys, id, program=why)[1])


def test_what_cannot_be_seen_is_named(spool, capsys):
    os.rmdir(spool / "parked")
    status, _, err = run(spool, capsys)
    assert status == 77 and f"cannot look into {spool}/parked" in err


@pytest.mark.parametrize("seconds, shown", [(0, "0s"), (99, "99s"), (100, "1m"), (5999, "99m"), (6000, "1h"), (3600 * 71, "71h"), (3600 * 72, "3d"),
                                            (86400 * 900, "900d"), (-5, "0s")])
def test_spans(seconds, shown):
    assert mailq.span(seconds) == shown


@pytest.mark.parametrize("octets, shown", [(0, "     0"), (9999, "  9999"), (10000, "  9.8K"), (200000, "  195K"), (52428800, " 50.0M"), (5 << 30, "  5.0G")])
def test_sizes(octets, shown):
    assert mailq.size(octets) == shown


# ---- acting -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("action, place, ending, target", [
    ("hold", LATE, "remote", "hold"), ("hold", "parked/b.example", "remote", "hold"), ("hold", "in/smtpd/new", "local", "hold"),
    ("release", "hold", "remote", "in/qrun/new"), ("release", "hold", "mixed", "in/qrun/new"), ("release", "hold", "drop", "in/inject/new"),
    ("retry", LATE, "local", "in/qrun/new"), ("retry", "parked/b.example", "remote", "todo/remote"), ("retry", "hold", "local", "in/qrun/new"),
])
def test_actions_are_renames(spool, capsys, action, place, ending, target):
    id, other = put(spool, place, ending=ending), put(spool, place, ending=ending)
    before = (spool / place / f"{id}.{ending}").stat().st_ino
    assert run(spool, capsys, action, id) == (0, f"{action} {id}\n", "")
    assert (spool / target / f"{id}.{ending}").stat().st_ino == before
    assert places(spool) == {id: target, other: place}


@pytest.mark.parametrize("action, place", [("hold", "hold"), ("hold", "corrupt"), ("hold", "todo/remote"), ("release", LATE), ("retry", "corrupt"),
                                           ("retry", "todo/local"), ("retry", "in/smtpd/new"), ("hold", "split"), ("delete", "todo/local")])
def test_what_makes_no_sense_is_explained(spool, capsys, action, place):
    id = put(spool, place)
    status, out, err = run(spool, capsys, action, id, "--yes")
    assert status == 69 and out == "" and id in err and places(spool) == {id: place}


def test_delete_wants_a_yes(spool, capsys):
    id, other = put(spool, LATE), put(spool, LATE)
    assert run(spool, capsys, "delete", id)[0] == 64 and id in places(spool)
    assert run(spool, capsys, "delete", id, "--yes") == (0, f"delete {id}\n", "")
    assert list(places(spool)) == [other]
    assert run(spool, capsys, "delete", "--all", "--from", "nobody", "--yes")[0] == 0 and list(places(spool)) == [other]
    assert run(spool, capsys, "--yes", "delete", "--all")[0] == 0 and places(spool) == {}


def test_deleting_what_is_damaged_takes_the_reason_along(spool, capsys):
    (spool / "corrupt/x.remote").write_bytes(b"junk")
    (spool / "corrupt/x.remote.why").write_bytes(b"torn\n")
    assert run(spool, capsys, "delete", "x", "--yes")[0] == 0 and not os.listdir(spool / "corrupt")


def test_force_takes_what_is_being_delivered(spool, capsys):
    id = put(spool, "todo/remote")
    assert run(spool, capsys, "hold", id, "--force")[0] == 0 and places(spool) == {id: "hold"}


def test_all_acts_on_what_was_chosen(spool, capsys):
    late, held = put(spool, LATE, sender=b"spam@x"), put(spool, "hold", sender=b"spam@x")
    other = put(spool, LATE)
    assert run(spool, capsys, "hold", "--all", "--from", "spam@x")[0] == 0
    assert places(spool) == {late: "hold", held: "hold", other: LATE}
    assert run(spool, capsys, "release", "--all")[0] == 0
    assert places(spool) == {late: "in/qrun/new", held: "in/qrun/new", other: LATE}


def test_retrying_all_probes_a_dead_destination_once(spool, capsys):
    parked = [put(spool, f"parked/{destination}") for destination in ("b.example", "b.example", "c.example")]
    late = put(spool, LATE)
    assert run(spool, capsys, "retry", "--all")[0] == 0
    where = places(spool)
    assert where[late] == "in/qrun/new" and where[parked[2]] == "todo/remote"
    assert sorted(where[id] for id in parked[:2]) == ["parked/b.example", "todo/remote"]


def test_a_name_that_is_taken_is_not_overwritten(spool, capsys):
    id = put(spool, LATE)
    (spool / "hold" / f"{id}.remote").write_bytes(b"other")
    assert run(spool, capsys, "hold", id)[0] == 69
    assert (spool / "hold" / f"{id}.remote").read_bytes() == b"other" and (spool / LATE / f"{id}.remote").exists()


def test_words_that_mean_nothing(spool, capsys):
    assert run(spool, capsys, "frobnicate", "x")[0] == 64 and run(spool, capsys, "--what")[0] == 64
    assert run(spool, capsys, program=why)[0] == 64
    assert run(spool, capsys, "hold")[0] == 64 and run(spool, capsys, "hold", "x", "--all")[0] == 64
    assert run(spool, capsys, "--state", "nowhere")[0] == 64
    status, _, err = run(spool, capsys, "hold", "no-such-id")
    assert status == 69 and "no such message" in err


def test_show(spool, capfd):
    id = put(spool, "hold", body=b"Subject: \xff\n\nhello\n")
    assert mailq.main(["--etc", str(spool.parent / "etc"), "show", id]) == 0
    assert capfd.readouterr().out.encode("utf-8", "surrogateescape").startswith(b"Return-Path: <ann@a.example>\n")


# ---- why --------------------------------------------------------------------------------------------------------------
def test_why_tells_all(spool, capsys):
    records = (Record(1, int(NOW) - 60, 0, "delivered", "2.1.5", "ok"), Record(1, int(NOW) - 60, 1, "deferred", "4.4.1", "no host answers"))
    id = put(spool, LATE, b"bob@b.example", b"carl@c.example", records=records)
    status, out, err = run(spool, capsys, id, program=why)
    assert (status, err) == (0, "")
    for words in (LATE, "<ann@a.example>", "<bob@b.example>", "delivered", "<carl@c.example>", "owed; last answer 4.4.1 no host answers", "in 1m",
                  "try 1, to 1: deferred 4.4.1 no host answers"):
        assert words in out, words
    row = json.loads(run(spool, capsys, "--json", f"{LATE}/{id}.remote", program=why)[1])
    assert [recipient["owed"] for recipient in row["recipients"]] == [False, True] and len(row["records"]) == 2
    assert row["records"][1]["text"] == "no host answers" and row["next_try"] == NOW + 100


def test_why_of_what_has_gone(spool, capsys):
    status, out, err = run(spool, capsys, "1j0ug8tcdr597dd", program=why)
    assert status == 69 and out == "" and "not in the queue" in err


@pytest.mark.parametrize("place", ["in/inject/new", "split", "todo/local", "hold", "corrupt", "parked/b.example"])
def test_why_says_what_comes_next(spool, capsys, place):
    out = run(spool, capsys, put(spool, place), program=why)[1]
    assert next(line for line in out.splitlines() if line.startswith("  next")).split(None, 1)[1]
