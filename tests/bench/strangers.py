"""2,000 who say an octet a second, a network that connects without end, and what others notice of it."""
from __future__ import annotations

import statistics
import time

from tests import strangers
from tests.bench import proc
from tests.bench.measure import Row
from tests.running import Sandbox, Sandboxes, wait_until
from tests.strangers import Flood, SlowOnes

_LIMITS = ("smtp.client_sessions=50", "smtp.network_sessions=200", "smtp.client_connects=120", "smtp.network_connects=600",
           "smtp.tarpit=15s", "smtp.early_talk=strict")


def crowd(count: int, messages: int) -> list[Row]:
    """count slow sessions; messages of others one after the other: alone, beside the slow ones, and with the flood as well."""
    with Sandboxes() as sandboxes:
        sandbox = sandboxes.start(set=_LIMITS)
        port = sandbox.ends["smtp"]
        alone = _times(port, messages)
        before = _memory(sandbox)
        with SlowOnes(port, count) as slow:
            wait_until(lambda: slow.greeted >= count, 120, lambda: f"{slow.open} open, {slow.greeted} greeted")
            spent, began = _cpu(sandbox), time.monotonic()
            beside = _times(port, messages)
            time.sleep(max(0.0, began + 10 - time.monotonic()))
            spent, took = _cpu(sandbox) - spent, time.monotonic() - began
            memory = _memory(sandbox) - before
            with Flood(port) as flood:
                wait_until(lambda: flood.refused > 100)
                tried, began = flood.tried, time.monotonic()
                flooded = _times(port, messages)
                rate = (flood.tried - tried) / (time.monotonic() - began)
            kept = slow.open
    rows = [Row(f"{name}: {what}", value * 1000, "ms", limit) for name, times, limit in
            (("others alone", alone, None), (f"beside {count} slow ones", beside, None), ("and a flood", flooded, None))
            for what, value in (("median", statistics.median(times)), ("99 of 100", sorted(times)[len(times) * 99 // 100]))]
    return [*rows, Row("slow sessions that were lost", count - kept, "", 0), Row("memory of a slow session", memory / count / 1024, "KiB PSS", 40),
            Row(f"processor time for {count} octets a second", spent / took * 100, "% of one", None), Row("the flood: connections", rate, "/s")]


def _times(port: int, messages: int) -> list[float]:
    """Each from one of ten networks."""
    return [strangers.send(port, f"127.3.{number % 10}.1") for number in range(messages)]


def _memory(sandbox: Sandbox) -> int:
    return sum(map(proc.pss_octets, sandbox.ends["pids"]["pymta-smtpd"]))


def _cpu(sandbox: Sandbox) -> float:
    return sum(map(proc.cpu_s, sandbox.ends["pids"]["pymta-smtpd"]))
