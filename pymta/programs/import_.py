"""pymta-import: write our configuration from that of another mail system, and report what changes.    pymta-import(8)

    pymta-import postfix|qmail|exim|dovecot [--root DIR] [--from DIR] [--output FILE] [--etc DIR] [--write] [--json]

Without --write nothing is written.  What stands in ETC already holds; see importing/merge.py.
Exit status: 0; 1 something is unsupported; 2 usage; 66 there is no such configuration; 73, 77 ETC cannot be written.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import asdict

from pymta import check, durable, etcfiles, hostname, log, settings
from pymta.login.auth import ACCOUNT
from pymta.importing import dovecot, exim, merge, postfix, qmail
from pymta.importing.report import DIFFERENT, SAME, UNSUPPORTED, Import
from pymta.importing.source import Source

NAME = "pymta-import"
EX_UNSUPPORTED, EX_NOINPUT, EX_CANTCREAT, EX_NOPERM = 1, 66, 73, 77
NEXT_SHOWN = 40
MODES = {"passwords": (0o640, ACCOUNT)}


READERS = {"postfix": postfix, "qmail": qmail, "exim": exim, "dovecot": dovecot}


def main(argv: list[str] | None = None) -> int:
    log.start(NAME)
    given = _arguments().parse_args(argv)
    reader = READERS[given.what]
    source = Source(given.root)
    directory = given.directory or next((place for place in reader.PLACES if reader.is_there(source, place)), reader.PLACES[0])
    try:
        output = _output(given.output)
        if output is None and not reader.is_there(source, directory):
            sys.stderr.write(f"{NAME}: {os.path.join(given.root, directory.lstrip('/'))}: no configuration of {given.what} there; name its directory with --from\n")
            return EX_NOINPUT
        made = reader.read(source, directory.rstrip("/") or "/", host=hostname.find(), output=output)
        return _finish(given, made)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)     # head(1) had enough
        return 0
    except OSError as error:
        sys.stderr.write(f"{NAME}: {error.filename or given.etc}: {error.strerror or error}\n")
        return EX_NOPERM if isinstance(error, PermissionError) else EX_CANTCREAT if error.filename != given.output else EX_NOINPUT


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=NAME, description="write our configuration from that of another mail system, and report what changes")
    parser.add_argument("what", choices=list(READERS), help="whose configuration to read")
    parser.add_argument("--from", dest="directory", metavar="DIR", help="where it lies (" + "; ".join(
        f"{name}: {', '.join(reader.PLACES)}" for name, reader in READERS.items()) + ")")
    parser.add_argument("--root", metavar="DIR", default="/", help="the root of the system it belongs to: all its paths are below it")
    parser.add_argument("--output", metavar="FILE", help="what its own program says of it (postconf -n, exim -bP config, doveconf -n), read instead of the main file; - is standard input")
    parser.add_argument("--etc", metavar="DIR", default=settings.DEFAULT_ETC, help=f"where our files are ({settings.DEFAULT_ETC})")
    parser.add_argument("--write", action="store_true", help="write; without it, only show")
    parser.add_argument("--json", action="store_true", help="one object: rows, files, kept, check, next")
    return parser


def _output(path: str | None) -> bytes | None:
    if path is None:
        return None
    if path == "-":
        return sys.stdin.buffer.read()
    with open(path, "rb") as file:
        return file.read()


def _finish(given: argparse.Namespace, made: Import) -> int:
    """Merge, check, write if asked, and say all of it."""
    def merged() -> merge.Merged:
        there = {name: etcfiles.read(os.path.join(given.etc, name)) for name in merge.NAMES}
        return merge.merge(made, {name: data for name, data in there.items() if data}, f"from {given.what}, by {NAME}")
    if given.write:
        os.makedirs(given.etc, exist_ok=True)
        with etcfiles.alone(given.etc):
            result = merged()
            for name, data in result.files.items():
                etcfiles.replace(os.path.realpath(os.path.join(given.etc, name)), data, *MODES.get(name, (0o644, "")))
    else:
        result = merged()
    findings = _check(given.etc, result)
    (_print_json if given.json else _print)(given, made, result, findings)
    return EX_UNSUPPORTED if made.some_unsupported else 0


def _check(etc: str, result: merge.Merged) -> list[str]:
    """What pymta-config check says of ETC as it is with this."""
    with tempfile.TemporaryDirectory(prefix="pymta-import-") as trial:
        for name in merge.NAMES:
            data = result.files.get(name) or etcfiles.read(os.path.join(etc, name))
            if data:
                durable.create(os.path.join(trial, name), data, 0o600, sync=False)
        return [str(one).replace(trial, etc.rstrip("/")) for one in check.everything(settings.read(trial))]


def shown(name: str, line: str) -> str:
    """A line as it may be seen: a password's hash is its scheme alone."""
    if name != "passwords":
        return line
    login, _, hash = line.partition(":")
    scheme = hash[:hash.index("}") + 1] if hash.startswith("{") and "}" in hash else "$".join(hash.split("$")[:2]) + "$" if hash.startswith("$") else ""
    return f"{login}:{scheme}..."


def _print_json(given: argparse.Namespace, made: Import, result: merge.Merged, findings: list[str]) -> None:
    print(json.dumps({
        "rows": [asdict(row) for row in made.rows],
        "files": {name: [shown(name, line) for line in lines] for name, lines in result.added.items()},
        "kept": [{"file": name, "stands": shown(name, before), "import": shown(name, line)} for name, before, line in result.kept],
        "check": findings, "next": list(made.next), "written": given.write}, indent=1))


def _print(given: argparse.Namespace, made: Import, result: merge.Merged, findings: list[str]) -> None:
    say: Callable[[str], None] = _say
    for verdict in (UNSUPPORTED, DIFFERENT, SAME):
        rows = [row for row in made.rows if row.verdict == verdict]
        for row in rows:
            say(f"{verdict}: {row.where}: {row.what}")
            for line in textwrap.wrap(row.text, 116, break_on_hyphens=False, break_long_words=False):
                say(f"    {line}")
        if rows:
            say("")
    for name, lines in result.added.items():
        say(f"{'written to' if given.write else 'would be written to'} {os.path.join(given.etc, name)}:")
        for line in lines:
            say(f"    {shown(name, line)}")
        say("")
    for name, before, line in result.kept:
        say(f"kept: {os.path.join(given.etc, name)}: {shown(name, before)}")
        say(f"    stands there and holds; the import says: {shown(name, line)}; edit the file if that is meant")
    if result.kept:
        say("")
    for finding in findings:
        say(f"check: {finding}")
    for command in list(made.next)[:NEXT_SHOWN]:
        say(f"next: {command}")
    if len(made.next) > NEXT_SHOWN:
        say(f"next: {len(made.next) - NEXT_SHOWN} more; --json lists all")
    counts = ", ".join(f"{sum(row.verdict == verdict for row in made.rows)} {verdict}" for verdict in (SAME, DIFFERENT, UNSUPPORTED))
    say(f"{given.what}: {counts}" + ("" if given.write else "; nothing was written, --write does"))


def _say(line: str) -> None:
    print("".join(c if c.isprintable() else "?" for c in line))
