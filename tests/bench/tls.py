"""TLS: what a handshake costs the server, and a 64 KiB body."""
from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

from tests.bench import proc
from tests.bench.measure import Arrivals, Row, daemons, start
from tests.running import ROOT, Sandbox, Sandboxes

BODY_OCTETS = 64 << 10
SESSIONS = 20


def order(port: int, recipients: list[str], connections: int, each: int, direct: bool = False) -> dict:
    """Run the load; what it says.  SystemExit if not all went well."""
    words = {"port": port, "sessions": SESSIONS, "connections": connections, "each": each, "recipients": recipients, "octets": BODY_OCTETS, "direct": direct}
    done = subprocess.run([sys.executable, "-m", "tests.bench.load_tls", json.dumps(words)], cwd=ROOT, stdout=subprocess.PIPE)
    said = json.loads(done.stdout or b"{}")
    if done.returncode or said["connections"] != connections or said["accepted"] != connections * each:
        raise SystemExit(f"the load generator says: {said}")
    return said


def tls(messages: int, runs: int) -> list[Row]:
    rows: dict[str, tuple[list[float], str]] = {}

    def note(figure: str, value: float, unit: str) -> None:
        rows.setdefault(figure, ([], unit))[0].append(value)

    with Sandboxes() as sandboxes:
        sandbox = start(sandboxes)
        recipients = [user["address"] for user in sandbox.ends["users"]]
        order(sandbox.ends["smtp"], recipients, 40, 1)
        for _ in range(runs):
            for name, port, direct in (("STARTTLS", "smtp", False), ("TLS from the first byte", "submissions", True)):
                before = _cpu(sandbox)
                said = order(sandbox.ends[port], recipients, messages, 0, direct)
                spent = _cpu(sandbox)["pymta-smtpd"] - before["pymta-smtpd"]
                note(f"{name}: connections", messages / said["seconds"], "/s")
                note(f"{name}: connections per second of the server's processor time", messages / spent, "/s")
            arrivals, before = Arrivals(sandbox), _cpu(sandbox)
            said = order(sandbox.ends["smtp"], recipients, max(SESSIONS, messages // 20), 10)
            arrivals.wait(said["accepted"])
            arrivals.watcher.close()
            after = _cpu(sandbox)
            note("64 KiB bodies, 10 a connection: accepted", said["accepted"] / said["seconds"], "/s")
            note("64 KiB bodies: processor time of pymta-smtpd", (after["pymta-smtpd"] - before["pymta-smtpd"]) * 1000 / said["accepted"], "ms/message")
            note("64 KiB bodies: processor time in all", (sum(after.values()) - sum(before.values())) * 1000 / said["accepted"], "ms/message")
        print(f"  {said['cipher']}, key of the sandbox's certificate: P-256; {os.cpu_count()} processors")
    return [Row(figure, statistics.median(values), unit) for figure, (values, unit) in rows.items()]


def _cpu(sandbox: Sandbox) -> dict[str, float]:
    out: dict[str, float] = {}
    for pid, name in daemons(sandbox).items():
        out[name] = out.get(name, 0.0) + proc.cpu_s(pid)
    return out
