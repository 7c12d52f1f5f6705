"""The runner itself: a transcript that does not hold has to fail, and say where."""
import pytest

from tests.sessions import runner


class Echo:
    """A server that greets, repeats every line, and ends at QUIT."""

    def __init__(self) -> None:
        self.out, self.rest, self.ended, self.pieces = b"hello\r\n", b"", False, []

    def feed(self, octets: bytes) -> None:
        self.pieces.append(octets)
        *lines, self.rest = (self.rest + octets).split(b"\r\n")
        for line in lines:
            self.out += line + b"\r\n"
            self.ended = self.ended or line == b"QUIT"

    def take(self) -> bytes:
        out, self.out = self.out, b""
        return out


def play(tmp_path, text, bite=0):
    path = tmp_path / "x.session"
    path.write_text("# a promise\n" + text)
    echo = Echo()
    runner.play(runner.read(path), runner.EnginePeer(echo.feed, echo.take, lambda: echo.ended, bite=bite))
    return echo


@pytest.mark.parametrize("bite", [0, 1, 3])
@pytest.mark.parametrize("text", [
    "S: hello\nC: a\nC: b\nS: a\nS: b\n", "S: h*o\nC: QUIT\nS: *\nEND\n", "S: hello\nC: a\nC: b\nS...\nS: b\n",
    "@ some option\nS: hello\nC!: \\x61\\r\\n\nS: a\n", "S: hello\nC: a\nPAUSE\nC: b\nS: a\nS: b\n", "S: hello\nC: x\nC: QUIT\nS...\nEND\n"])
def test_what_holds(tmp_path, text, bite):
    play(tmp_path, text, bite)


@pytest.mark.parametrize("text, why", [
    ("S: bye\n", "x.session:2 .*expected b'bye', got b'hello'"), ("S: hello\nC: a\nS: b\n", "x.session:4 "),
    ("S: hello\nS: more\n", "says no more"), ("S: hello\nC: a\nEND\n", "does not close"), ("S: hello\nC: a\nC: b\nS: a\n", "after the last line"),
    ("S: hello\nC: QUIT\nEND\n", "said at the end"), ("S: hello\nC: a\nS...\nS: z\n", "says no more"), ("S...\nC: a\nS: a\n", "has to be followed")])
def test_what_does_not(tmp_path, text, why):
    with pytest.raises(AssertionError, match=why):
        play(tmp_path, text)


def test_lines_without_an_answer_between_them_go_in_one_piece(tmp_path):
    assert play(tmp_path, "S: hello\nC: a\nC: b\nS: a\nS: b\nC: c\nS: c\n").pieces == [b"a\r\nb\r\n", b"c\r\n"]
    assert play(tmp_path, "S: hello\nC: ab\nS: ab\n", bite=1).pieces == [b"a", b"b", b"\r", b"\n"]


@pytest.mark.parametrize("text", ["X: what\n", "S:missing blank\n"])
def test_a_line_that_is_none_is_an_error(tmp_path, text):
    with pytest.raises(ValueError, match="x.session:2"):
        play(tmp_path, text)


@pytest.mark.parametrize("pattern, line, does", [
    (b"+OK *", b"+OK x", True), (b"+OK *", b"+OK", False), (b"* OK [*] *", b"* OK [A] b", True), (b"a.c", b"abc", False), (b"*", b"", True)])
def test_patterns(pattern, line, does):
    assert runner.fits(pattern, line) == does
