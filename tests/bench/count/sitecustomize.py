"""Counts the sync calls of every process below a sandbox: python imports this at start where PYTHONPATH names its directory.

durable is the only caller of fsync, fdatasync and syncfs and tells its tap before each.  Each process writes how many there
were into a file named after its pid in the directory PYMTA_BENCH_SYNCS.
"""
import os
import sys

_WORDS = ("sync_file", "sync_dir", "sync_fs")
_directory = os.environ.get("PYMTA_BENCH_SYNCS", "")
_counts: dict[int, list[int]] = {}                      # pid -> [descriptor, syncs]: a forked child begins anew


def _tap(word: str, *_: object) -> None:
    if word not in _WORDS:
        return
    pid = os.getpid()
    if pid not in _counts:
        _counts[pid] = [os.open(f"{_directory}/{pid}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644), 0]
    counter = _counts[pid]
    counter[1] += 1
    os.pwrite(counter[0], b"%d" % counter[1], 0)


if _directory and "pymta-sandbox" not in sys.argv[0]:
    try:
        from pymta import durable
        durable.tap = _tap
    except ImportError:
        pass
