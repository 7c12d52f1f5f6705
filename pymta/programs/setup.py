"""pymta-setup: set up mail on a host: names, first user, certificate, and what to publish in the DNS.       pymta-setup(8)

    pymta-setup [--etc DIR] [--host NAME] [--domain NAME]... [--user NAME [--stdin]] ... [--yes | --dry-run] [--json]
    pymta-setup [--etc DIR] --records [--tlsa] [--json]

Shows what it will write before it does, changes only the settings it was asked about, and can be run again at any time.  Exit status: 0;
1 the answer was no; 2 wrong options; 65 a value that will not do; 71 accounts cannot be made; 73, 77 a file cannot be written; 75 somebody
else wrote at the same time; 78 pymta.conf has a fault that must be mended first.
"""
from __future__ import annotations

import argparse
import contextlib
import getpass
import io
import json
import os
import sys
from dataclasses import asdict, replace

from pymta import check, clock, durable, etcfiles, log, privs, settings, zone
from pymta.login import hashes
from pymta.programs import passwd
from pymta.setup import asking, host, plan, telling
from pymta.setup.asking import Wanted, Wrong
from pymta.setup.plan import Change, Plan

NAME = "pymta-setup"
EX_NO, EX_DATAERR, EX_OSERR, EX_CANTCREAT, EX_TEMPFAIL, EX_NOPERM, EX_CONFIG = 1, 65, 71, 73, 75, 77, 78
_SYSTEMD = "/run/systemd/system"


class Refused(Exception):
    """It ends here with this exit status; the text says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def main(argv: list[str] | None = None) -> int:
    log.start(NAME)
    parser = _arguments()
    given = parser.parse_args(argv)
    given.etc = os.path.abspath(given.etc)
    if not (given.records or given.yes or given.dry_run or sys.stdin.isatty()):
        parser.error("no terminal to ask on; say --yes to write without a question, or --dry-run to see what would be written")
    if given.json and not (given.records or given.yes or given.dry_run):
        parser.error("--json is for programs, which cannot be asked; add --yes, --dry-run or --records")
    try:
        in_force = settings.read(given.etc)
        return _records(given, in_force) if given.records else _set_up(given, in_force)
    except Refused as refused:
        return _end(str(refused), refused.status)
    except (Wrong, passwd.Refused) as wrong:
        return _end(str(wrong), EX_DATAERR)
    except host.Failed as failed:
        return _end(str(failed), EX_OSERR)
    except OSError as error:
        return _end(f"{error.filename or given.etc}: {error.strerror or error}", EX_NOPERM if isinstance(error, PermissionError) else EX_CANTCREAT)
    except (KeyboardInterrupt, EOFError):
        sys.stderr.write(f"\n{NAME}: it ends here\n")
        return EX_NO


def _end(text: str, status: int) -> int:
    sys.stderr.write(f"{NAME}: {text}\n")
    return status


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=NAME, description="set up mail on a host; asks for what no option says")
    parser.add_argument("--etc", metavar="DIR", default=settings.DEFAULT_ETC, help=f"where the files are ({settings.DEFAULT_ETC})")
    parser.add_argument("--host", metavar="NAME", help="the name of this host, as others know it")
    parser.add_argument("--domain", metavar="NAME", action="append", help="a domain whose mail stays on this host; may be repeated, and then these are all of them")
    parser.add_argument("--system-users", choices=("yes", "no"), help="whether the users of this system get mail in these domains")
    parser.add_argument("--user", metavar="NAME", help="the first mail user: ann@example.org, or a user of this system")
    parser.add_argument("--stdin", action="store_true", help="read the user's password, one line, from standard input")
    parser.add_argument("--any", action="store_true", help="take a weak password too")
    parser.add_argument("--admin", metavar="WHO", help="who reads the mail for root and postmaster; without it the first user, where nobody does yet")
    parser.add_argument("--address", metavar="IP", action="append", default=[], help="an address by which the world reaches this host; may be repeated")
    parser.add_argument("--self-signed", action="store_true", help="make a self-signed certificate where there is none for the host name")
    parser.add_argument("--tlsa", action="store_true", help="print a TLSA record too")
    parser.add_argument("--json", action="store_true", help="say everything as one object")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--yes", "--no-input", action="store_true", help="ask nothing, and write")
    how.add_argument("--dry-run", action="store_true", help="ask nothing, and only show what would be written")
    how.add_argument("--records", action="store_true", help="print the DNS records for what is configured, and do nothing else")
    return parser


# ---- the records alone ------------------------------------------------------------------------------------------------
def _records(given: argparse.Namespace, in_force: settings.Settings) -> int:
    known = telling.addresses(in_force, _addresses(given))
    records = telling.records(in_force, known, telling.certificate(in_force, False) if given.tlsa else None)
    print(json.dumps(zone.rows(records), indent=1) if given.json else _zone(records, known), end="\n" if given.json else "")
    return 0


def _zone(records: list[zone.Record], known: list[str]) -> str:
    unknown = "" if known else "; the address of this host is not known here (NAT?): say it with --address, for A, AAAA and PTR\n"
    return unknown + zone.text(records)


def _addresses(given: argparse.Namespace) -> tuple[str, ...]:
    try:
        return settings.addresses(" ".join(given.address))
    except ValueError as error:
        raise Wrong(f"{' '.join(given.address)}: {error}") from None


# ---- all of it --------------------------------------------------------------------------------------------------------
def _set_up(given: argparse.Namespace, in_force: settings.Settings) -> int:
    if in_force.complaints:
        raise Refused(EX_CONFIG, "\n".join(["mend this first:", *in_force.complaints]))
    talks = not (given.yes or given.dry_run)
    wanted = _wanted(given, in_force, talks)
    made = plan.make(wanted, in_force)
    password = None if given.dry_run else _password(given, made, talks)
    changes = [*_host_changes(given, made), *made.changes, *_certificate_changes(given, made)]
    if password is not None or given.dry_run and made.user and not made.has_password:
        changes.append(Change(os.path.join(given.etc, "passwords"), (f"+ {made.user}: a password",)))
    if not given.json:
        _show(changes, given)
    if changes and talks and not _agreed():
        print("nothing was written")
        return EX_NO
    if not given.dry_run:
        _write(given, wanted, made, password)
    return _tell(given, made, changes, wanted)


def _wanted(given: argparse.Namespace, in_force: settings.Settings, talks: bool) -> Wanted:
    """What the options say, and what is asked where it may be."""
    wanted = asking.held(in_force)
    named: dict[str, object] = {}
    if given.host is not None:
        named["host"] = asking.host(given.host)
        if wanted.domains == asking.likely_domains(in_force.host):
            wanted = replace(wanted, domains=asking.likely_domains(asking.host(given.host)))
    if given.domain is not None:
        named["domains"] = asking.domains(" ".join(given.domain))
    if given.system_users is not None:
        named["system_users"] = given.system_users == "yes"
    if given.user is not None:
        named["user"] = asking.user(given.user)
    if given.admin is not None:
        named["admin"] = asking.admin(given.admin)
    wanted = replace(wanted, addresses=_addresses(given), **named)             # type: ignore[arg-type]
    if talks:
        return asking.ask(wanted, frozenset(named), _question, print)
    asking.host(wanted.host)                            # what the system says may be no name for the world
    return wanted if wanted.admin or given.admin is not None else replace(wanted, admin=wanted.user)


def _question(text: str, default: str) -> str:
    return input(f"{text} [{default}]: ").strip() or default


def _agreed() -> bool:
    while True:
        try:
            return asking.yes(_question("Write it", "yes"))
        except Wrong as wrong:
            print(f"  {wrong}")


# ---- the password -----------------------------------------------------------------------------------------------------
def _password(given: argparse.Namespace, made: Plan, talks: bool) -> str | None:
    """The password to be set; None where it stays as it is.  Raises Wrong, Refused, passwd.Refused."""
    if not made.user or made.has_password and not given.stdin:
        return None
    if given.stdin:
        password = sys.stdin.buffer.readline().rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        _check(given, made.user, password)
        return None if made.has_password and passwd.Passwd(given.etc).verify(made.user, password) else password
    if not talks:
        raise Wrong(f"{made.user} has no password; give one with --stdin")
    while True:
        first = getpass.getpass(f"Password for {made.user}: ")
        try:
            _check(given, made.user, first)
        except (ValueError, passwd.Refused) as refused:
            print(f"  {refused}")
            continue
        if getpass.getpass("Once more: ") == first:
            return first
        print("  the two are not the same")


def _check(given: argparse.Namespace, user: str, password: str) -> None:
    try:
        hashes.prepare(password)
    except ValueError as error:
        raise Wrong(str(error)) from None
    if not given.any:
        passwd.refuse_weak(user, password)


# ---- what changes -----------------------------------------------------------------------------------------------------
def _is_host(given: argparse.Namespace) -> bool:
    """Whether accounts and places are ours to make: not for a tree elsewhere, and as root alone."""
    return privs.is_root() and given.etc == settings.DEFAULT_ETC


def _host_changes(given: argparse.Namespace, made: Plan) -> list[Change]:
    if not _is_host(given):
        return []
    accounts, places = host.missing_accounts(), host.missing_places(made.future)
    places = [path for path in places if os.path.dirname(path) not in places]
    out = [Change(f"accounts, by {host.way_to_make() or 'hand'}", tuple(f"+ {name}" for name in accounts))] if accounts else []
    return out + ([Change("places", tuple(f"+ {path}/" for path in places))] if places else [])


def _certificate_changes(given: argparse.Namespace, made: Plan) -> list[Change]:
    folder = telling.certificate(made.future, given.self_signed).make
    return [Change(folder, (f"+ cert.pem, key.pem: a self-signed certificate for {', '.join(_names(made))}",))] if folder else []


def _names(made: Plan) -> list[str]:
    return list(dict.fromkeys((made.future.host, *made.future["local.domains"])))


def _write(given: argparse.Namespace, wanted: Wanted, made: Plan, password: str | None) -> None:
    """Raises OSError, host.Failed, Refused."""
    _directory(given.etc)
    if _is_host(given):
        accounts = host.missing_accounts()
        if accounts:
            host.make_accounts(accounts, made.future["local.virtual_home"])
    with etcfiles.alone(given.etc):
        if plan.make(wanted, settings.read(given.etc)).changes != made.changes:
            raise Refused(EX_TEMPFAIL, f"somebody has changed {given.etc} meanwhile, so nothing was written there; run this again")
        for change in made.changes:
            if change.data is not None:
                etcfiles.replace(os.path.realpath(change.path), change.data, 0o644)
    if _is_host(given) and host.missing_places(made.future):
        host.make_places(made.future)
    folder = telling.certificate(made.future, given.self_signed).make
    if folder:
        from pymta.tls import make as tls_make
        _directory(folder)
        tls_make.self_signed(folder, _names(made))
    if password is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            passwd.Passwd(given.etc).set(made.user, password, any_will_do=True)    # it was looked at before


def _directory(path: str) -> None:
    """See that it is there, for the daemons to read whatever our umask is."""
    if not os.path.isdir(path):
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        durable.mkdir(path, 0o755, exact=True)


# ---- what is said -----------------------------------------------------------------------------------------------------
def _show(changes: list[Change], given: argparse.Namespace) -> None:
    if not changes:
        print(f"nothing to change: {given.etc} is as it was asked for")
        return
    print("this would be written:" if given.dry_run else "this will be written:")
    for change in changes:
        print(f"  {change.path}")
        for line in change.lines:
            print(f"    {line}")


def _tell(given: argparse.Namespace, made: Plan, changes: list[Change], wanted: Wanted) -> int:
    future = made.future
    remarks = list(made.remarks) if given.dry_run else [str(one) for one in check.everything(settings.read(given.etc))]
    tls = telling.certificate(future, False)
    known = telling.addresses(future, wanted.addresses)
    records = telling.records(future, known, tls if given.tlsa else None)
    found = telling.ports(future)
    systemd = os.path.isdir(_SYSTEMD) and given.etc == settings.DEFAULT_ETC
    following = telling.next_steps(future, tls, found, made.user, systemd=systemd, changed=bool(changes))
    said = telling.certificate_lines(future, tls, clock.now())
    if given.json:
        print(json.dumps({"changes": [{"path": change.path, "lines": change.lines} for change in changes], "written": bool(changes) and not given.dry_run,
                          "check": remarks, "certificate": said, "ports": [asdict(port) for port in found], "records": zone.rows(records),
                          "next": following}, indent=1))
        return 0
    for title, lines in (("check", remarks), ("certificate", said),
                         ("ports", [f"{port.address:<12} {port.listener:<12} {port.state}{f': {port.by}' if port.by else ''}" for port in found]),
                         ("publish in the DNS", _zone(records, known).splitlines()),
                         ("next", [f"{number}. {text}" for number, text in enumerate(following, 1)])):
        if lines:
            print(f"\n{title}:")
            for line in lines:
                print(f"  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
