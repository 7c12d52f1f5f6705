"""live: a file as it stands now, whatever an editor does to it."""
import os

import pytest

from pymta import clock
from pymta.formats.live import PATIENCE_S, Live


@pytest.fixture
def ticks(monkeypatch):
    """The time that never jumps, as a list with one number to set."""
    now = [1000.0]
    monkeypatch.setattr(clock, "tick", lambda: now[0])
    return now


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file"


def live(path, **more):
    return Live(str(path), lambda data: data, **more)


def test_missing_is_empty(file):
    assert live(file).get() == b""


def test_an_edit_counts_at_once(file):
    table = live(file)
    for text in (b"one", b"two", b"three", b"seven"):           # the same length too, within one tick of the clock
        file.write_bytes(text)
        assert table.get() == text


def test_a_replaced_file_counts_at_once(file):
    file.write_bytes(b"one")
    table = live(file)
    assert table.get() == b"one"
    new = file.with_name("new")
    new.write_bytes(b"two")
    os.utime(new, ns=(os.stat(file).st_atime_ns, os.stat(file).st_mtime_ns))
    os.replace(new, file)
    assert table.get() == b"two"


def test_a_settled_file_is_read_once(file):
    file.write_bytes(b"one")
    os.utime(file, (1, 1))
    read = []
    table = Live(str(file), lambda data: read.append(data) or data)
    for _ in range(5):
        assert table.get() == b"one"
    assert read == [b"one"]


def test_told_once_for_each_content(file):
    told = []
    table = live(file, changed=told.append)
    file.write_bytes(b"one")
    table.get(), table.get()
    os.utime(file, (1, 1))
    table.get()
    file.write_bytes(b"two")
    table.get(), table.get()
    assert told == [b"one", b"two"]


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_gone_for_a_moment(file, ticks, how):
    file.write_bytes(b"one")
    table = live(file)
    assert table.get() == b"one"
    file.unlink() if how == "removed" else file.write_bytes(b"")
    assert table.get() == b"one"
    ticks[0] += PATIENCE_S * 0.9
    assert table.get() == b"one"
    file.write_bytes(b"two")
    assert table.get() == b"two"
    file.unlink() if how == "removed" else file.write_bytes(b"")
    assert table.get() == b"two"
    ticks[0] += PATIENCE_S * 1.1
    assert table.get() == b""
    file.write_bytes(b"three")
    assert table.get() == b"three"


def test_what_was_never_empty_to_begin_with(file, ticks):
    file.write_bytes(b"")
    table = live(file)
    assert table.get() == b""
    file.unlink()
    assert table.get() == b""


@pytest.mark.parametrize("obstacle", ["directory", "loop"])
def test_unreadable(file, obstacle, capfd):
    file.mkdir() if obstacle == "directory" else file.symlink_to(file)
    if obstacle == "directory":
        (file / "x").touch()
    table = live(file)
    with pytest.raises(OSError):
        table.get()
    file.rmdir if obstacle == "loop" else (file / "x").unlink()
    file.unlink() if obstacle == "loop" else file.rmdir()
    file.write_bytes(b"one")
    assert table.get() == b"one"
    file.unlink()
    file.symlink_to(file)
    assert table.get() == b"one" and table.get() == b"one"      # the old one holds
    assert capfd.readouterr().err.count("trouble") == 2


def test_a_fifo_does_not_stop_the_mail(file):
    os.mkfifo(file)
    assert live(file).get() == b""


def test_too_long(file, capfd):
    with open(file, "wb") as out:
        out.truncate(1 << 40)
    with pytest.raises(OSError):
        live(file).get()


def test_a_checked_file_must_be_there_and_stay_good(file):
    def check(stat):
        if stat.st_mode & 0o002:
            raise OSError(0, "not this")
    table = live(file, check=check)
    with pytest.raises(OSError):
        table.get()
    file.write_bytes(b"one")
    assert table.get() == b"one"
    file.chmod(0o666)
    file.write_bytes(b"other")
    with pytest.raises(OSError, match="not this"):
        table.get()
    file.chmod(0o644)
    assert table.get() == b"other"
