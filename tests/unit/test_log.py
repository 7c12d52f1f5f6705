"""log: a stranger's text is a value on one line and nothing else."""
import os

from hypothesis import given, strategies as st

from pymta import log, outcome


def test_a_line_is_a_word_and_values():
    assert log.line("accept", id="x1", from_="<a@b.example>", tls=None, why="a b") == 'accept id=x1 from=<a@b.example> why="a b"'


def test_what_would_break_the_line_is_escaped():
    assert log.line("refuse", why='a\nb "c" \\ \x1b[1m') == r'refuse why="a\nb \"c\" \\ \x1b[1m"'
    assert log.line("refuse", why="") == 'refuse why=""'
    assert log.line("refuse", why=b"caf\xe9") == r'refuse why=caf\xe9'


@given(st.one_of(st.text(), st.binary()))
def test_any_value_is_one_printable_line(value):
    line = log.line("refuse", why=value, end=1)
    assert line.isprintable() and line.startswith("refuse why=") and line.endswith(" end=1")


def test_an_event_is_one_write(monkeypatch):
    written = []
    monkeypatch.setattr(os, "write", lambda fd, data: written.append((fd, data)))
    log.event("accept", id="x")
    assert written == [(2, b"%s: accept id=x\n" % log.program.encode())]


def test_events_together_are_few_writes(monkeypatch):
    written = []
    monkeypatch.setattr(os, "write", lambda fd, data: written.append(data))
    alone = f"{log.program}: accept id=".encode()
    with log.together():
        log.event("accept", id="x")
        log.event("accept", id=12)
        assert not written
    assert written == [alone + b"x\n" + alone + b"12\n"]
    written.clear()
    try:
        with log.together():
            for _ in range(5):
                log.event("accept", id="a" * 1500)
            raise KeyError
    except KeyError:
        log.event("accept", id="x")
    assert b"".join(written) == (alone + b"a" * 1500 + b"\n") * 5 + alone + b"x\n"
    assert all(len(data) <= 4096 and data.endswith(b"\n") for data in written)


def test_a_full_log_stops_nothing(monkeypatch):
    def full(fd, data):
        raise OSError(28, "no space left")
    monkeypatch.setattr(os, "write", full)
    log.event("accept", id="x")


def test_every_outcome_is_one_row_of_classes_that_agree():
    rows = {name: row for name, row in vars(outcome).items() if isinstance(row, outcome.Outcome)}
    assert len(rows) > 40
    for name, row in rows.items():
        assert str(row.reply)[0] == row.status[0], name
        assert (row.delivered, row.temporary, row.permanent).count(True) == 1, name
        assert (row.exit == 0) == row.delivered and (row.exit == 75) == row.temporary, name
        assert row.text.isascii() and row.text.isprintable(), name


@given(st.text())
def test_a_text_from_outside_is_bounded_and_printable(text):
    row = outcome.LOCAL_ERROR.because(text)
    assert len(row.text) <= 400 and row.text.isprintable() and row.smtp().count(b"\n") == 1
