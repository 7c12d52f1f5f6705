"""The scanner loses nothing while others rename (DESIGN law 2 of the Maildir); a plain listing does."""
import os
import subprocess
import sys

import pytest

from pymta import watch
from pymta.formats.maildir import base_of
from pymta.mailbox.scanner import CUR, NEW, Scanner, Vanished


@pytest.fixture
def folder(tmp_path):
    for sub in ("tmp", "new", "cur"):
        (tmp_path / sub).mkdir()
    return tmp_path


def scanner_of(folder, watched=True):
    found = Scanner(os.fsencode(folder), watched=watched)
    found.start_watching()
    return found


@pytest.fixture(params=["watched", "unwatched"])
def scanner(request, folder):
    found = scanner_of(folder, request.param == "watched")
    yield found
    found.stop_watching()


def settle(scanner, folder):
    """Make the directories look old, so that times can be trusted."""
    for sub in ("new", "cur"):
        os.utime(folder / sub, (1, 1))


RENAMER = """
import os, sys, time
cur, names = sys.argv[1], sorted(os.listdir(sys.argv[1]))
print("on", flush=True)
names = [(name, name[:-1] if name.endswith("S") else name + "S") for name in names]
parent = os.getppid()
while os.getppid() == parent:
    for old, new in names:
        os.rename(cur + "/" + old, cur + "/" + new)
    names = [(new, old) for old, new in names]
"""


@pytest.fixture
def renamer(folder):
    for number in range(1500):
        (folder / "cur" / f"{number}.host:2,").touch()
    process = subprocess.Popen([sys.executable, "-IS", "-c", RENAMER, str(folder / "cur")], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_a_foreign_renamer_and_a_plain_listing(folder, renamer):
    """What the scanner is there for: this many names at least must be lost by readdir alone, or the next test proves nothing."""
    lost = sum(len({base_of(os.fsencode(name)) for name in os.listdir(folder / "cur")}) < 1500 for _ in range(400))
    assert lost > 0


def test_a_foreign_renamer_and_the_scanner(folder, renamer):
    raw = 0
    for _ in range(80):                                 # cold: a listing each
        scanner = scanner_of(folder)
        assert scanner.watched
        scanner.look()
        assert len(scanner.names) == 1500 and not scanner.twins
        scanner.stop_watching()
        raw += len({base_of(os.fsencode(name)) for name in os.listdir(folder / "cur")}) < 1500
    scanner = scanner_of(folder)
    scanner.look()
    for _ in range(400):                                # warm: replay only
        scanner.look()
        assert len(scanner.names) == 1500 and not scanner.twins
    scanner.stop_watching()
    assert renamer.poll() is None


def test_a_foreign_renamer_and_two_agreeing_listings(folder, renamer):
    scanner = scanner_of(folder, watched=False)
    scanner.look()
    scanner.look()
    for _ in range(60):
        assert scanner.look() is not None
        assert len(scanner.names) == 1500
    assert renamer.poll() is None


def test_what_comes_goes_and_is_renamed(scanner, folder):
    (folder / "new" / "1.h").touch()
    (folder / "cur" / "2.h:2,S").touch()
    assert scanner.look() == {b"1.h", b"2.h"}
    assert scanner.names == {b"1.h": (NEW, b""), b"2.h": (CUR, b":2,S")}
    os.rename(folder / "new" / "1.h", folder / "cur" / "1.h:2,F")
    os.unlink(folder / "cur" / "2.h:2,S")
    (folder / "cur" / "3.h:2,").touch()
    assert scanner.look() >= {b"1.h", b"3.h"}
    scanner.look()                                      # without inotify a second look must agree that 2.h is missing
    assert scanner.names == {b"1.h": (CUR, b":2,F"), b"3.h": (CUR, b":2,")}


def test_nothing_new_costs_no_listing(scanner, folder):
    (folder / "cur" / "2.h:2,S").touch()
    settle(scanner, folder)
    scanner.look()
    listings = scanner.listings
    assert scanner.look() == set() and scanner.listings == listings


def test_dot_files_are_no_messages(scanner, folder):
    for name in (".nfs0001", ":2,S"):
        (folder / "cur" / name).touch()
    scanner.look()
    (folder / "new" / ".hidden").touch()
    scanner.look()
    assert scanner.names == {}


def test_names_that_are_not_utf8(scanner, folder):
    path = os.fsencode(folder / "new") + b"/1.\xff\xe9"
    open(path, "w").close()
    scanner.look()
    os.rename(path, os.fsencode(folder / "cur") + b"/1.\xff\xe9:2,S")
    scanner.look()
    assert scanner.names == {b"1.\xff\xe9": (CUR, b":2,S")}


def test_twins(scanner, folder):
    (folder / "new" / "1.h").touch()
    scanner.look()
    os.link(folder / "new" / "1.h", folder / "cur" / "1.h:2,S")
    scanner.look()
    assert scanner.names == {b"1.h": (CUR, b":2,S")} and scanner.twins == {b"1.h": [(NEW, b"")]}
    os.unlink(folder / "cur" / "1.h:2,S")
    scanner.look()
    assert scanner.names == {b"1.h": (NEW, b"")} and not scanner.twins


def test_our_own_renames_are_heard_without_harm(folder):
    scanner = scanner_of(folder)
    (folder / "cur" / "1.h:2,").touch()
    scanner.look()
    info = b":2,"
    for letters in (b"S", b"FS", b"F", b"", b"S", b""):
        os.rename(os.fsencode(folder / "cur") + b"/1.h" + info, os.fsencode(folder / "cur") + b"/1.h:2," + letters)
        scanner.renamed(b"1.h", (CUR, info), (CUR, b":2," + letters))
        info = b":2," + letters
    scanner.look()
    assert scanner.names == {b"1.h": (CUR, info)} and not scanner.twins
    scanner.stop_watching()


def test_overflow_lists_again(folder):
    scanner = scanner_of(folder)
    scanner.look()
    (folder / "cur" / "1.h:2,").touch()
    watch.shared().drain()
    scanner._queue.clear()                              # this is what an overflow loses
    scanner._queue.append((CUR, watch.OVERFLOW, 0, b""))
    listings = scanner.listings
    scanner.look()
    assert scanner.listings > listings and set(scanner.names) == {b"1.h"}
    scanner.stop_watching()


def test_a_missed_event_is_noticed_by_the_time_of_the_directory(folder):
    scanner = scanner_of(folder)
    scanner.look()
    (folder / "cur" / "1.h:2,").touch()
    watch.shared().drain()
    scanner._queue.clear()
    scanner.look()
    assert set(scanner.names) == {b"1.h"}
    scanner.stop_watching()


def test_watching_again_does_not_list_what_did_not_move(folder):
    (folder / "cur" / "1.h:2,").touch()
    settle(None, folder)
    scanner = scanner_of(folder)
    scanner.look()
    scanner.stop_watching()
    scanner.start_watching()
    scanner.look()
    assert scanner.listings == 1
    scanner.stop_watching()
    (folder / "cur" / "2.h:2,").touch()
    scanner.start_watching()
    scanner.look()
    assert scanner.listings == 2 and set(scanner.names) == {b"1.h", b"2.h"}
    scanner.stop_watching()


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("how", ["removed", "replaced", "renamed"])
def test_a_folder_that_is_no_longer_there(folder, tmp_path, watched, how):
    inner = tmp_path / ".A"
    for sub in ("tmp", "new", "cur"):
        (inner / sub).mkdir(parents=True)
    scanner = scanner_of(inner, watched)
    scanner.look()
    os.rename(inner, tmp_path / ".B")
    if how == "replaced":
        for sub in ("tmp", "new", "cur"):
            (inner / sub).mkdir(parents=True)
    elif how == "removed":
        os.rmdir(tmp_path / ".B" / "cur")
    with pytest.raises(Vanished):
        scanner.look()
    scanner.stop_watching()
