"""python -m tests.bench [--only rates,idle] [--json FILE] [--n N] [--runs N]: measure, and print a table.

BENCH=DIR names a harness that measures pymta side by side with other servers (bench.py in it, as root); its table follows.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

from tests.bench import measure, strangers, tls
from tests.running import ROOT

PARTS = {
    "rates": ("Mail by SMTP into Maildirs, 4 KiB, one recipient", lambda options: measure.rates(options.n, options.runs)),
    "syncs": ("Sync calls, 50 sessions", lambda options: measure.syncs(options.n)),
    "latency": ("One session alone", lambda options: measure.latency(max(50, options.n // 5))),
    "tls": ("SMTP over TLS, 20 sessions", lambda options: tls.tls(options.n, options.runs)),
    "inject": ("A local program's mail", lambda options: measure.inject(max(10, options.n // 20))),
    "strangers": ("2,000 who say an octet a second, and a flood", lambda options: strangers.crowd(2000, max(50, options.n // 10))),
    "idle": ("Doing nothing", lambda options: measure.idle(options.idle)),
}


def main() -> int:
    """Exit status: 0, or 1 where a figure is worse than what is wanted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default=",".join(PARTS), help="which parts (default %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--n", type=int, default=2000, help="messages in one run (default %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median is taken (default %(default)s)")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to watch the idle system (default %(default)s)")
    options = parser.parse_args()
    print(f"pymta on {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, {time.strftime('%F %R')}")
    figures, bad = {}, 0
    for part in options.only.split(","):
        if part not in PARTS:
            parser.error(f"{part}: no such part; {', '.join(PARTS)}")
        title, run = PARTS[part]
        rows = run(options)
        figures[part] = [{"figure": row.figure.strip(), "value": row.value, "unit": row.unit, "at_most": row.at_most} for row in rows]
        bad += sum(not row.good for row in rows)
        show(title, rows)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    if os.environ.get("BENCH"):
        side_by_side(os.environ["BENCH"], options.n, options.runs)
    return 1 if bad else 0


def show(title: str, rows: list[measure.Row]) -> None:
    print(f"\n{title}")
    width = max(len(row.figure) for row in rows)
    for row in rows:
        value = f"{row.value:.0f}" if row.value >= 100 else f"{row.value:.3g}"
        wanted = "" if row.at_most is None else f"   at most {row.at_most:g}" + ("" if row.good else ": TOO MUCH")
        print(f"  {row.figure:{width}}  {value:>7} {row.unit}{wanted}", flush=True)


def side_by_side(harness: str, messages: int, runs: int) -> None:
    """The harness's own table: Postfix and pymta in one run."""
    environment = {"PYMTA_SRC": ROOT, "PYMTA_PYTHON": sys.executable, **os.environ}
    subprocess.run(["python3", "-B", os.path.join(harness, "bench.py"), "--peers", "postfix,pymta", "--workloads", "S1,S3",
                    "--runs", str(runs), "--n", str(messages)], env=environment)


if __name__ == "__main__":
    sys.exit(main())
