"""Each measurement starts a sandbox of its own, or uses one that runs, and gives rows."""
from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from pymta import watch
from tests.bench import proc
from tests.running import ROOT, Sandbox, Sandboxes

USERS = [f"u{number}" for number in range(10)]
OCTETS = 4096
MESSAGE = b"Subject: from a program\n\n" + b"One line of a report that nobody reads.\n" * 10


@dataclass(frozen=True)
class Row:
    """One figure; at_most: what is asked for, if anything is."""

    figure: str
    value: float
    unit: str
    at_most: float | None = None

    @property
    def good(self) -> bool:
        return self.at_most is None or self.value <= self.at_most


def start(sandboxes: Sandboxes, directory: str | None = None, counts: str = "", **settings: str) -> Sandbox:
    """A sandbox with USERS.  counts: a directory into which every process writes how many sync calls it made."""
    environment = dict(os.environ)
    if counts:
        os.chmod(counts, 0o1777)                        # the sandbox may be another user
        environment["PYTHONPATH"] = os.path.join(ROOT, "tests", "bench", "count")
        environment["PYMTA_BENCH_SYNCS"] = counts
    return sandboxes.start(directory, environment=environment, user=[f"{name}:pw" for name in USERS],
                           set=[f"{name.replace('__', '.')}={value}" for name, value in settings.items()])


def daemons(sandbox: Sandbox) -> dict[int, str]:
    """pid -> program, the sandbox's supervisor among them."""
    return {pid: name for name, pids in sandbox.ends["pids"].items() for pid in pids} | {sandbox.process.pid: "pymta-sandbox"}


# ---- load -------------------------------------------------------------------------------------------------------------
class Arrivals:
    """Counts what comes into the Maildirs of USERS."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.count = 0
        self.watcher = watch.Watcher()
        for user in sandbox.ends["users"]:
            self.watcher.add(os.path.join(user["maildir"], "new"), self._told, mask=watch.CAME)

    def _told(self, event: watch.Event) -> None:
        self.count += 1

    def wait(self, wanted: int, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while self.count < wanted:
            if time.monotonic() > end:
                raise SystemExit(f"only {self.count} of {wanted} messages arrived within {seconds:.0f} s")
            self.watcher.wait(1)
            self.watcher.drain()


@dataclass
class Run:
    """What one load did: messages per second accepted and in Maildirs, processor ms per message by program, waits for the 250."""

    accept: float
    deliver: float
    cpu_ms: dict[str, float]
    waits_s: list[float]


def load(sandbox: Sandbox, messages: int, sessions: int, *, each: int, pipelining: bool) -> Run:
    """Send messages, wait until all are in Maildirs."""
    ends, processes = sandbox.ends, daemons(sandbox)
    arrivals = Arrivals(sandbox)
    before = {pid: proc.cpu_s(pid) for pid in processes}
    began = time.perf_counter()
    order = {"port": ends["smtp"], "messages": messages, "sessions": sessions, "each": each, "pipelining": pipelining,
             "recipients": [user["address"] for user in ends["users"]], "octets": OCTETS}
    client = subprocess.Popen([sys.executable, "-m", "tests.bench.load", json.dumps(order)], cwd=ROOT, stdout=subprocess.PIPE)
    arrivals.wait(messages)
    seconds = time.perf_counter() - began
    assert client.stdout
    said = json.loads(client.stdout.read())
    if client.wait() or said["accepted"] != messages:
        raise SystemExit(f"the load generator says: {said}")
    arrivals.watcher.close()
    cpu: dict[str, float] = {}
    for pid, name in processes.items():
        cpu[name] = cpu.get(name, 0.0) + (proc.cpu_s(pid) - before[pid]) * 1000 / messages
    # the generator's own start is not the server's: it counts from its first connection
    return Run(messages / said["seconds"], messages / max(said["seconds"], seconds - START_S), cpu, said["waits_s"])


def _interpreter_start_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tests.bench.load"], cwd=ROOT, check=True)
    return time.perf_counter() - began


START_S = _interpreter_start_s()


def rates(messages: int, runs: int) -> list[Row]:
    """S1a and S1b: one message per connection, or all on the same; medians of several runs, the kinds in turn."""
    kinds = [(sessions, each, pipelining) for sessions in (20, 50) for each in (1, 0) for pipelining in (False, True)]
    done: dict[tuple[int, int, bool], list[Run]] = {kind: [] for kind in kinds}
    with Sandboxes() as sandboxes:
        sandbox = start(sandboxes)
        load(sandbox, 200, 20, each=0, pipelining=True)                       # everything is imported and warm
        for _ in range(runs):
            for sessions, each, pipelining in kinds:
                done[sessions, each, pipelining].append(load(sandbox, messages, sessions, each=each, pipelining=pipelining))
    rows = []
    for (sessions, each, pipelining), its in done.items():
        name = f"{'S1a, 1 a connection' if each else 'S1b, many a connection'}, {sessions} sessions{', pipelining' if pipelining else ''}"
        rows.append(Row(f"{name}: accepted", statistics.median(run.accept for run in its), "/s"))
        rows.append(Row(f"{name}: delivered", statistics.median(run.deliver for run in its), "/s"))
        rows.append(Row(f"{name}: processor time", statistics.median(sum(run.cpu_ms.values()) for run in its), "ms/message"))
        for program in its[0].cpu_ms:
            value = statistics.median(run.cpu_ms[program] for run in its)
            if value >= 0.001:
                rows.append(Row(f"    {program}", value, "ms/message"))
    return rows


# ---- syncs ------------------------------------------------------------------------------------------------------------
def syncs(messages: int) -> list[Row]:
    """Sync calls for each accepted message at 50 sessions, counted where the one durable module makes them."""
    rows = []
    for setting, name, at_most in (("yes", "spool with a file system of its own", 0.3), ("no", "spool elsewhere", 1.1)):
        with tempfile.TemporaryDirectory(prefix="pymta-bench-") as counts, Sandboxes() as sandboxes:
            sandbox = start(sandboxes, counts=counts, queue__own_filesystem=setting)
            load(sandbox, 200, 50, each=0, pipelining=True)
            before = _syncs(counts)
            load(sandbox, messages, 50, each=0, pipelining=False)
            made = {pid: count - before.get(pid, 0) for pid, count in _syncs(counts).items()}
            smtpd = set(sandbox.ends["pids"]["pymta-smtpd"])
        rows.append(Row(f"{name}: up to the 250", sum(made[pid] for pid in made if pid in smtpd) / messages, "syncs/message", at_most))
        rows.append(Row(f"{name}: the whole path", sum(made.values()) / messages, "syncs/message"))
    return rows


def _syncs(directory: str) -> dict[int, int]:
    return {int(name): int(open(os.path.join(directory, name), "rb").read() or 0) for name in os.listdir(directory)}


# ---- one session ------------------------------------------------------------------------------------------------------
def latency(messages: int) -> list[Row]:
    """One session alone: from the final dot to the 250, beside what the disk needs for the same calls."""
    with Sandboxes() as sandboxes:
        sandbox = start(sandboxes)
        load(sandbox, 100, 1, each=0, pipelining=True)
        waits = load(sandbox, messages, 1, each=0, pipelining=False).waits_s
        bare = sorted(_bare_commit(os.path.join(sandbox.directory, "bare"), number) for number in range(messages))
    return [Row("one session: dot to 250, median", waits[len(waits) // 2] * 1000, "ms"),
            Row("one session: dot to 250, 99 of 100", waits[len(waits) * 99 // 100] * 1000, "ms"),
            Row("the bare disk: create, fdatasync, rename, fsync of the directory, median", bare[len(bare) // 2] * 1000, "ms"),
            Row("the bare disk: 99 of 100", bare[len(bare) * 99 // 100] * 1000, "ms")]


def _bare_commit(directory: str, number: int) -> float:
    os.makedirs(directory, exist_ok=True)
    began = time.perf_counter()
    fd = os.open(f"{directory}/tmp{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    os.write(fd, bytes(OCTETS))
    os.fdatasync(fd)
    os.close(fd)
    os.rename(f"{directory}/tmp{number}", f"{directory}/{number}")
    fd = os.open(directory, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    return time.perf_counter() - began


# ---- pymta-inject -----------------------------------------------------------------------------------------------------
def inject(starts: int) -> list[Row]:
    """Wall time of handing in one message by the command, beside Postfix's where BENCH_ROOTS/postfix is a root with one."""
    commands: dict[str, list[str]] = {}
    with Sandboxes() as sandboxes:
        sandbox = start(sandboxes)
        commands["pymta-inject"] = [sandbox.ends["sendmail"], "-i", sandbox.ends["users"][0]["address"]]
        commands["bare python3 -IS"] = [sys.executable, "-IS", "-c", "pass"]
        root = os.path.join(os.environ.get("BENCH_ROOTS", "/nonexistent"), "postfix")
        dropped: set[str] = set()
        if os.geteuid() == 0 and os.path.exists(f"{root}/usr/sbin/sendmail"):
            commands["Postfix's sendmail"] = ["chroot", root, "/usr/sbin/sendmail", "-i", "nobody@localhost"]
            dropped = set(os.listdir(f"{root}/var/spool/postfix/maildrop"))
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(starts):
            for name, command in commands.items():
                began = time.perf_counter()
                ended = subprocess.run(command, input=MESSAGE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                times[name].append((time.perf_counter() - began) * 1000)
                if ended.returncode:
                    raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr.decode(errors='replace')}")
        if "Postfix's sendmail" in commands:
            for name in set(os.listdir(f"{root}/var/spool/postfix/maildrop")) - dropped:
                os.unlink(f"{root}/var/spool/postfix/maildrop/{name}")
    rows = []
    for name, its in times.items():
        rows += [Row(f"{name}: wall time, lowest", min(its), "ms"), Row(f"{name}: wall time, median", statistics.median(its), "ms")]
    if "Postfix's sendmail" in times:
        for what, of in (("lowest", min), ("median", statistics.median)):
            rows.append(Row(f"pymta-inject / Postfix's sendmail, {what}", of(times["pymta-inject"]) / of(times["Postfix's sendmail"]), "x", 1.5))
    return rows


# ---- doing nothing ----------------------------------------------------------------------------------------------------
def idle(seconds: float, settle: float = 62.0) -> list[Row]:
    """Wake-ups of every process in so many seconds, and memory, of a system that has worked and has nothing to do."""
    with Sandboxes() as sandboxes:
        sandbox = start(sandboxes)
        load(sandbox, 200, 20, each=0, pipelining=True)
        time.sleep(settle)                              # the supervisor looks a few times after a start, the others once after the load
        processes = daemons(sandbox)
        before = {pid: proc.sleeps(pid) for pid in processes}
        time.sleep(seconds)
        woken = {pid: (proc.sleeps(pid) - before[pid]) * 60 / seconds for pid in processes}
        memory = {pid: proc.pss_octets(pid) for pid in processes}
    rows = []
    for program in dict.fromkeys(processes.values()):
        pids = [pid for pid, name in processes.items() if name == program]
        rows.append(Row(f"{program}: wake-ups a minute, most of {len(pids)}", max(woken[pid] for pid in pids), "", 2))
        rows.append(Row(f"{program}: memory of {len(pids)}", sum(memory[pid] for pid in pids) / 2 ** 20, "MiB PSS"))
    rows.append(Row(f"all {len(processes)} processes: memory", sum(memory.values()) / 2 ** 20, "MiB PSS", 150))
    return rows
