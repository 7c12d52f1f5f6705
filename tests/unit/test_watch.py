"""The watcher: bytes names, lost events, directories that go; from a loop and from a blocking program."""
import asyncio
import os
import struct

import pytest

from pymta import watch


@pytest.fixture
def watcher():
    try:
        found = watch.Watcher()
    except OSError as error:
        pytest.skip(f"no inotify here: {error}")
    yield found
    found.close()


def test_names_come_and_go_as_bytes(watcher, tmp_path):
    events = []
    watcher.add(str(tmp_path), events.append, "tag")
    odd = os.fsencode(tmp_path) + b"/caf\xe9\xff"
    open(odd, "w").close()
    os.rename(odd, os.fsencode(tmp_path) + b"/b")
    os.unlink(tmp_path / "b")
    assert watcher.drain() == 4
    assert [(tag, mask, name) for tag, mask, _, name in events] == [
        ("tag", watch.CREATE, b"caf\xe9\xff"), ("tag", watch.MOVED_FROM, b"caf\xe9\xff"), ("tag", watch.MOVED_TO, b"b"),
        ("tag", watch.DELETE, b"b")]
    assert events[1][2] == events[2][2] != 0            # the cookie that joins the halves of a rename
    assert watcher.drain() == 0


def test_a_directory_whose_path_is_not_utf8(watcher, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff\xfe")
    os.mkdir(path)
    events = []
    watcher.add(path, events.append)
    open(os.path.join(path, b"x"), "w").close()
    watcher.drain()
    assert [event[3] for event in events] == [b"x"]


def test_what_cannot_be_watched_is_an_oserror(watcher, tmp_path):
    with pytest.raises(FileNotFoundError):
        watcher.add(str(tmp_path / "none"), print)
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        watcher.add(str(tmp_path / "file"), print)


def test_remove_ends_it(watcher, tmp_path):
    events = []
    number = watcher.add(str(tmp_path), events.append)
    (tmp_path / "x").touch()
    watcher.remove(number)
    (tmp_path / "y").touch()
    watcher.drain()
    assert events == []
    assert watcher.add(str(tmp_path), events.append) != number
    (tmp_path / "z").touch()
    watcher.drain()
    assert [event[3] for event in events] == [b"z"]


def test_two_may_watch_one_directory(watcher, tmp_path):
    one, two = [], []
    first = watcher.add(str(tmp_path), one.append, mask=watch.CREATE)
    second = watcher.add(os.fsencode(tmp_path), two.append, mask=watch.DELETE)
    (tmp_path / "x").touch()
    os.unlink(tmp_path / "x")
    watcher.drain()
    assert [event[1] for event in one] == [watch.CREATE, watch.DELETE] == [event[1] for event in two]
    watcher.remove(first)
    (tmp_path / "y").touch()
    watcher.drain()
    assert len(one) == 2 and len(two) == 3
    watcher.remove(second)
    watcher.remove(second)
    assert watcher._watches == {}


def test_a_directory_that_goes_says_so(watcher, tmp_path):
    (tmp_path / "d").mkdir()
    events = []
    watcher.add(str(tmp_path / "d"), events.append)
    os.rmdir(tmp_path / "d")
    watcher.drain()
    assert events[-1][1] & watch.IGNORED


def test_overflow_is_told_to_everybody_and_watches_are_set_again(watcher, tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
    events = {name: [] for name in "abc"}
    for name in "abc":
        watcher.add(str(tmp_path / name), events[name].append, name)
    os.rmdir(tmp_path / "c")
    watcher._dispatch(struct.pack("iIII", -1, watch.OVERFLOW, 0, 0))    # the real one takes 16,384 events; what follows is the same
    assert [name for name in "abc" if any(event[1] & watch.OVERFLOW for event in events[name])] == ["a", "b", "c"]
    assert any(event[1] & watch.IGNORED for event in events["c"])
    assert watcher.overflows == 1
    watcher.drain()
    (tmp_path / "a" / "x").touch()
    watcher.drain()
    assert events["a"][-1][3] == b"x"


def test_blocking_wait(watcher, tmp_path):
    watcher.add(str(tmp_path), lambda event: None)
    assert not watcher.wait(0)
    (tmp_path / "x").touch()
    assert watcher.wait(10)


def test_in_a_loop(watcher, tmp_path):
    async def run():
        heard = asyncio.Event()
        watcher.add(str(tmp_path), lambda event: heard.set())
        asyncio.get_running_loop().add_reader(watcher, watcher.drain)
        (tmp_path / "x").touch()
        await asyncio.wait_for(heard.wait(), 10)
        asyncio.get_running_loop().remove_reader(watcher)

    asyncio.run(run())


def test_a_fork_has_its_own(tmp_path):
    try:
        mine = watch.shared()
    except OSError as error:
        pytest.skip(f"no inotify here: {error}")
    assert watch.shared() is mine
    pid = os.fork()
    if pid == 0:
        os._exit(0 if watch.shared() is not mine else 1)
    assert os.waitpid(pid, 0)[1] == 0
