"""pymta-doctor: look for what is wrong with a mail system, and say why and what to do.                  pymta-doctor(8)

    pymta-doctor [--etc DIR] [--json] [--only SUBJECT]... [--outside [DOMAIN]] [--quiet]

Reads and asks, and changes nothing.  Exit status: 0 nothing worse than a note; 1 a warning; 2 wrong options; 66 pymta.conf cannot be read;
69 a fault.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter

from pymta import clock, log, settings
from pymta.doctor.examine import SUBJECTS, examine
from pymta.doctor.finding import FAULT, NOTE, WARNING, Case, Finding

EX_WARNING, EX_NOINPUT, EX_FAULT = 1, 66, 69
_OUTSIDE = "gmail.com"


def main(argv: list[str] | None = None) -> int:
    log.start("pymta-doctor")
    given = _arguments().parse_args(argv)
    given.etc = os.path.abspath(given.etc)
    try:
        in_force = settings.read(given.etc)
    except OSError as error:
        sys.stderr.write(f"pymta-doctor: {error.filename or given.etc}: {error.strerror}\n")
        return EX_NOINPUT
    only = given.only or [*SUBJECTS]
    case = Case(in_force, clock.now(), given.outside)
    try:
        return _tell(given, list(examine(case, [name for name in SUBJECTS if name in only])))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)    # head(1) had enough
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pymta-doctor", description="look for what is wrong with a mail system, and say why and what to do")
    parser.add_argument("--etc", metavar="DIR", default=settings.DEFAULT_ETC, help=f"where the files are ({settings.DEFAULT_ETC})")
    parser.add_argument("--json", action="store_true", help="an object with all findings")
    parser.add_argument("--only", action="append", metavar="SUBJECT", choices=[*SUBJECTS], help=f"look at this alone; may be repeated: {', '.join(SUBJECTS)}")
    parser.add_argument("--outside", nargs="?", const=_OUTSIDE, default="", metavar="DOMAIN",
                        help=f"connect to the mail host of DOMAIN too ({_OUTSIDE}); else nobody but the name server is asked")
    parser.add_argument("--quiet", action="store_true", help="leave the notes out")
    return parser


def _tell(given: argparse.Namespace, found: list[Finding]) -> int:
    count = Counter(one.grade for one in found)
    shown = [one for one in found if one.grade != NOTE or not given.quiet]
    if given.json:
        print(json.dumps({"faults": count[FAULT], "warnings": count[WARNING], "notes": count[NOTE], "findings": [one.row() for one in shown]}, indent=1))
    else:
        for one in shown:
            print(one)
        print(", ".join(f"{count[grade] or 'no'} {grade}{'' if count[grade] == 1 else 's'}" for grade in (FAULT, WARNING, NOTE)))
    return EX_FAULT if count[FAULT] else EX_WARNING if count[WARNING] else 0


if __name__ == "__main__":
    sys.exit(main())
