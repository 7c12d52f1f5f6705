"""Dot locks exclude threads, processes and Dovecot; a dead owner's lock is broken; one instance of a daemon."""
import os
import subprocess
import sys
import threading
import time

import pytest
from lockfile import AlreadyLocked, LockTimeout, NotLocked, NotMyLock

from pymta import locks
from pymta.locks import AlreadyRunning, DotLock, FolderLock, single_instance


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "dovecot-uidlist")


def dead_pid():
    process = subprocess.Popen([sys.executable, "-IS", "-c", ""])
    process.wait()
    return process.pid


def test_two_objects_of_one_thread_exclude_each_other(path):
    one, two = DotLock(path), DotLock(path)
    one.acquire()
    with pytest.raises(AlreadyLocked):
        two.acquire(0)
    with pytest.raises(LockTimeout, match=str(os.getpid())):
        two.acquire(0.05)
    assert one.i_am_locking() and not two.i_am_locking() and two.is_locked()
    one.release()
    two.acquire(0)
    two.release()
    assert os.listdir(os.path.dirname(path)) == []


def test_the_file_says_whose_it_is(path):
    with DotLock(path) as lock:
        assert open(path + ".lock").read().startswith(f"{os.getpid()}:")
        assert lock.holder().startswith(f"{os.getpid()}:")
    assert lock.holder() == "nobody"


def test_a_lock_made_by_o_excl_excludes_us(path):
    os.close(os.open(path + ".lock", os.O_CREAT | os.O_EXCL))
    with pytest.raises(AlreadyLocked):
        DotLock(path).acquire(0)
    os.unlink(path + ".lock")
    with DotLock(path), pytest.raises(FileExistsError):
        os.open(path + ".lock", os.O_CREAT | os.O_EXCL)


def test_a_lock_of_a_dead_process_is_broken(path):
    with open(path + ".lock", "w") as file:
        file.write(f"{dead_pid()}:{locks._host}")
    with DotLock(path) as lock:
        assert lock.i_am_locking()


def test_a_lock_of_another_host_is_broken_when_it_is_old(path):
    with open(path + ".lock", "w") as file:
        file.write(f"{dead_pid()}:elsewhere.example")
    with pytest.raises(AlreadyLocked):
        DotLock(path).acquire(0)
    time.sleep(0.02)
    DotLock(path, stale_after_s=0.01).acquire(0)


def test_breaking_never_takes_a_fresh_lock(path, monkeypatch):
    with open(path + ".lock", "w") as file:
        file.write(f"{dead_pid()}:{locks._host}")
    rename, winner = locks.durable.rename, DotLock(path)

    def late(old, new):                                 # between judging and breaking, somebody else does both and locks
        monkeypatch.setattr(locks.durable, "rename", rename)
        winner.acquire(0)
        rename(old, new)

    monkeypatch.setattr(locks.durable, "rename", late)
    with pytest.raises(AlreadyLocked):
        DotLock(path).acquire(0)
    assert winner.i_am_locking()


def test_release_leaves_a_lock_that_is_no_longer_ours(path):
    one, two = DotLock(path), DotLock(path)
    one.acquire()
    two.break_lock()
    two.acquire()
    with pytest.raises(NotMyLock):
        one.release()
    with pytest.raises(NotLocked):
        one.release()
    assert two.i_am_locking()


def test_threads_take_turns(path):
    inside, most = [0], [0]

    def work():
        for _ in range(20):
            with DotLock(path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and os.listdir(os.path.dirname(path)) == []


def test_folder_lock_may_be_entered_again(tmp_path):
    lock, other = FolderLock(os.fsencode(tmp_path)), FolderLock(os.fsencode(tmp_path), timeout_s=0.01)
    with lock:
        with lock:
            pass
        assert lock.held and os.path.exists(tmp_path / "dovecot-uidlist.lock")
        with pytest.raises(TimeoutError), other:
            pass
    assert not lock.held and os.listdir(tmp_path) == []
    with other:
        pass


def test_single_instance(tmp_path):
    path = str(tmp_path / "daemon.pid")
    (tmp_path / "daemon.pid").write_text("999999999\n")   # of one that died
    instance = single_instance(path)
    assert (tmp_path / "daemon.pid").read_text() == f"{os.getpid()}\n"
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        single_instance(path)
    instance.close()
    with single_instance(path):
        pass


def test_single_instance_goes_with_its_process(tmp_path):
    path = str(tmp_path / "daemon.pid")
    code = f"import sys; from pymta.locks import single_instance; i = single_instance({path!r}); print('ok', flush=True); sys.stdin.read()"
    root = os.path.dirname(os.path.dirname(locks.__file__))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": root})
    assert process.stdout.readline() == b"ok\n"
    with pytest.raises(AlreadyRunning, match=f"pid {process.pid}"):
        single_instance(path)
    process.kill()
    process.communicate()
    single_instance(path).close()
