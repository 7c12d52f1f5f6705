"""What /proc says of processes: processor time, wake-ups, memory."""
from __future__ import annotations

import os


def cpu_s(pid: int) -> float:
    """Processor time of all its threads so far, in seconds; 0 if it has gone."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    except OSError:
        pass
    return total / 1e9


def sleeps(pid: int) -> int:
    """How often its threads have gone to sleep, and so woken, so far."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status", encoding="ascii", errors="replace") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches:"))
    except OSError:
        pass
    return total


def pss_octets(pid: int) -> int:
    """Proportional set size: its own pages, and its share of those that others map too."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
    except OSError:
        return 0
