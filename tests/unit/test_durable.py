"""durable: what it makes, what it leaves when the disk refuses, and that a replacement is whole or not there."""
import errno
import os

import pytest

from pymta import durable


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    durable.tap = None


def refuse(word, number):
    def tap(kind, *args):
        if kind == word:
            raise OSError(number, os.strerror(number))
    durable.tap = tap


def test_a_file_is_written_in_pieces_and_its_head_at_last(place):
    file = durable.File("x", 0o640, exact=True)
    file.write(b"00000")
    file.write(b" rest")
    file.rewrite(0, b"12345")
    file.start_sync()
    file.sync()
    file.close()
    assert (place / "x").read_bytes() == b"12345 rest" and file.size_octets == 10
    assert (place / "x").stat().st_mode & 0o777 == 0o640


def test_an_existing_file_and_a_link_are_never_written_through(place):
    (place / "there").write_text("mine")
    (place / "link").symlink_to("there")
    for name in ("there", "link"):
        with pytest.raises(FileExistsError):
            durable.create(name, b"other")
    with pytest.raises(OSError):
        durable.append("link", b"other")
    assert (place / "there").read_text() == "mine"


@pytest.mark.parametrize("word", ["write", "sync_file"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_refusal_leaves_nothing(place, word, number):
    refuse(word, number)
    with pytest.raises(OSError) as caught:
        durable.create("x", b"data")
    assert caught.value.errno == number and not os.listdir()


@pytest.mark.parametrize("word", ["create", "write", "sync_file", "rename"])
def test_a_replacement_that_fails_leaves_the_old_file(place, word):
    durable.replace("x", b"old")
    refuse(word, errno.ENOSPC)
    with pytest.raises(OSError):
        durable.replace("x", b"new")
    assert (place / "x").read_bytes() == b"old" and os.listdir() == ["x"]


def test_a_replacement_is_made_in_the_order_that_lasts(place):
    calls = []
    durable.tap = lambda kind, *args: calls.append(kind)
    durable.replace("x", b"new")
    assert calls == ["create", "write", "sync_file", "rename", "sync_dir"]


def test_names_come_and_go(place):
    assert durable.mkdir("d") and not durable.mkdir("d")
    durable.create("d/x", b"1", sync=False)
    durable.link("d/x", "d/y")
    durable.append("d/y", b"2")
    assert (place / "d/x").read_bytes() == b"12"
    durable.truncate("d/x", 1)
    assert not durable.rmdir("d")
    assert durable.unlink_if_there("d/x") and not durable.unlink_if_there("d/x")
    durable.rename("d/y", "z")
    assert durable.rmdir("d") and not durable.rmdir("d")
    assert (place / "z").read_bytes() == b"1"
    durable.sync_file("z")
    durable.sync_dirs([".", "."])
    durable.sync_fs(".")


def test_paths_may_be_any_bytes(place):
    durable.create(b"caf\xe9", b"x")
    durable.replace(b"caf\xe9", b"y")
    assert os.listdir(b".") == [b"caf\xe9"]


def test_directories_that_shall_lie_apart_are_directories_all_the_same(place):
    durable.mkdir("wide")
    durable.spread_subdirectories("wide")
    assert durable.mkdir("wide/0")
