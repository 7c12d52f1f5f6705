"""pymta-passwd: set, remove, list and check the passwords of mail users.                      pymta-passwd(8)"""
from __future__ import annotations

import argparse
import getpass
import json
import os
import sys

from pymta import etcfiles, settings
from pymta.login import hashes
from pymta.accounts import Accounts, Mailbox, Trouble
from pymta.login.auth import ACCOUNT
from pymta.formats import passwords, users

NAME = "pymta-passwd"
EX_WRONG, EX_DATAERR, EX_NOUSER, EX_CANTCREAT, EX_NOPERM = 1, 65, 67, 73, 77
SHORT_CHARS = 8


class Refused(Exception):
    """What was asked cannot be done; status is the exit status, the text says why and what would work."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def main(argv: list[str] | None = None) -> int:
    """0; 1 if --verify found a wrong password; 65 a password refused, 67 no such user, 73 or 77 a file that cannot be written."""
    parser = argparse.ArgumentParser(prog=NAME, description="Set, remove, list and check the passwords of mail users.")
    parser.add_argument("name", nargs="?", help="full address, or the name of a system user or of one in the first domain")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--delete", action="store_true", help="remove the password and the line in users; mail stays where it is")
    what.add_argument("--list", action="store_true", help="list all mailboxes and who can log in")
    what.add_argument("--verify", action="store_true", help="say by the exit status whether the password is right")
    parser.add_argument("--stdin", action="store_true", help="read the password, one line, from standard input")
    parser.add_argument("--any", action="store_true", help="take a weak password too")
    parser.add_argument("--json", action="store_true", help="list as JSON")
    parser.add_argument("--etc", default=settings.DEFAULT_ETC, metavar="DIR", help="where pymta.conf lies (default: %(default)s)")
    options = parser.parse_args(argv)
    if bool(options.name) == options.list:
        parser.error("name a user, or ask for the --list")
    try:
        tool = Passwd(options.etc)
        if options.list:
            tool.show(as_json=options.json)
        elif options.delete:
            tool.delete(options.name)
        elif options.verify:
            return 0 if tool.verify(options.name, _ask(options, twice=False)) else EX_WRONG
        else:
            passwords.check_name(passwords.fold(options.name))
            tool.set(options.name, _ask(options, twice=True), any_will_do=options.any)
    except Refused as refused:
        print(f"{NAME}: {refused}", file=sys.stderr)
        return refused.status
    except ValueError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return EX_DATAERR
    except OSError as error:
        print(f"{NAME}: {error.filename or options.etc}: {error.strerror}", file=sys.stderr)
        return EX_NOPERM if isinstance(error, PermissionError) else EX_CANTCREAT
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    return 0


def _ask(options: argparse.Namespace, *, twice: bool) -> str:
    """The password: a line of standard input, or from the terminal."""
    if options.stdin:
        line = sys.stdin.buffer.readline().rstrip(b"\n").rstrip(b"\r")
        return line.decode("utf-8", "surrogateescape")
    if not sys.stdin.isatty():
        raise Refused(EX_DATAERR, "no terminal to ask on; give the password with --stdin")
    first = getpass.getpass(f"{'New password' if twice else 'Password'} for {options.name}: ")
    if twice and getpass.getpass("Once more: ") != first:
        raise Refused(EX_DATAERR, "the two are not the same; nothing was changed")
    return first


class Passwd:
    """The files of one configuration directory."""

    def __init__(self, etc: str) -> None:
        in_force = settings.read(etc)
        for complaint in in_force.complaints:
            print(f"{NAME}: {complaint}", file=sys.stderr)
        self.etc = etc
        self.accounts = Accounts(in_force)
        self.system_users: bool = in_force["local.system_users"]

    def path(self, name: str) -> str:
        """ETC/name, or what a symbolic link there leads to."""
        return os.path.realpath(os.path.join(self.etc, name))

    # ---- what can be asked --------------------------------------------------------------------------------------------
    def set(self, name: str, password: str, *, any_will_do: bool) -> None:
        """Set a password; a user who has no mailbox yet gets a line in users.  Raises Refused, ValueError, OSError."""
        octets = hashes.prepare(password)
        name = passwords.fold(name)
        if not any_will_do:
            refuse_weak(name, password)
        hash = hashes.make(octets)
        with etcfiles.alone(self.etc):
            address, known = self._who(name)
            row = None if known else _users_line(address)
            data = etcfiles.read(self.path("passwords"))
            under = next((each for each in self._names(name) if each in passwords.decode(data)[0]), address)
            etcfiles.replace(self.path("passwords"), passwords.with_entry(data, under, hash), 0o640, ACCOUNT)
            if row:
                before = etcfiles.read(self.path("users"))
                etcfiles.replace(self.path("users"), before + (b"" if before[-1:] in (b"", b"\n") else b"\n") + row, 0o644)
        print(f"{under}: password set" + (f"; added to {self.path('users')}" if row else ""))

    def delete(self, name: str) -> None:
        """Remove a user's password and line in users.  Raises Refused (no such user), OSError."""
        name = passwords.fold(name)
        with etcfiles.alone(self.etc):
            mailbox = self._mailbox(name)
            before_passwords, before_users = etcfiles.read(self.path("passwords")), etcfiles.read(self.path("users"))
            after_passwords, after_users = before_passwords, before_users
            for each in self._names(name):
                after_passwords = passwords.without(after_passwords, each)
                after_users = _without_user(after_users, each)
            if after_passwords == before_passwords and after_users == before_users:
                raise Refused(EX_NOUSER, f"{name}: neither in {self.path('passwords')} nor in {self.path('users')}")
            if after_passwords != before_passwords:
                etcfiles.replace(self.path("passwords"), after_passwords, 0o640, ACCOUNT)
            if after_users != before_users:
                etcfiles.replace(self.path("users"), after_users, 0o644)
        what = [word for word, gone in (("password", after_passwords != before_passwords), ("user", after_users != before_users)) if gone]
        print(f"{name}: {' and '.join(what)} removed" + (f"; mail stays in {mailbox.maildir}" if mailbox else ""))

    def verify(self, name: str, password: str) -> bool:
        """Whether a password is right, as the daemons would say.  Raises Refused, OSError, Unusable."""
        entries = passwords.decode(etcfiles.read(self.path("passwords")))[0]
        entry = next((entries[each] for each in self._names(passwords.fold(name)) if each in entries), None)
        if entry is None:
            raise Refused(EX_NOUSER, f"{name}: no password in {self.path('passwords')}")
        try:
            return hashes.matches(entry.hash, hashes.prepare(password))
        except hashes.Unusable:
            raise
        except ValueError:
            return False                                # empty, or nothing any hash could hold

    def show(self, *, as_json: bool) -> None:
        """All mailboxes, and the lines in passwords that belong to none."""
        entries, complaints = passwords.decode(etcfiles.read(self.path("passwords")))
        for number, why in complaints:
            print(f"{NAME}: {self.path('passwords')}:{number}: {why}", file=sys.stderr)
        rows, seen = [], set()
        for mailbox in self.accounts.users():
            names = [each for each in self._names(mailbox.address) if each in entries]
            seen.update(names)
            rows.append({"address": mailbox.address, "password": _kind(entries[names[0]].hash) if names else None,
                         "uid": mailbox.uid, "maildir": mailbox.maildir})
        rows += [{"address": entry.name, "password": _kind(entry.hash), "uid": None, "maildir": None}
                 for entry in entries.values() if entry.name not in seen]
        if as_json:
            print(json.dumps(rows, indent=1))
            return
        width = max((len(str(row["address"])) for row in rows), default=0)
        for row in rows:
            print(f"{row['address']:<{width}}  {row['password'] or 'no password':<12}  {row['maildir'] or 'no mailbox'}")

    # ---- names --------------------------------------------------------------------------------------------------------
    def _mailbox(self, name: str) -> Mailbox | None:
        try:
            return self.accounts.login(name)
        except Trouble:
            return None                                 # it has one, but its owner cannot be told now

    def _who(self, name: str) -> tuple[str, bool]:
        """(full address, whether there is such a mailbox already)."""
        try:
            mailbox = self.accounts.login(name)
        except Trouble as trouble:
            print(f"{NAME}: {trouble}", file=sys.stderr)
            return (name if "@" in name else f"{name}@{self.accounts.default_domain}"), True
        if mailbox:
            return mailbox.address, True
        return (name if "@" in name else f"{name}@{self.accounts.default_domain}"), False

    def _names(self, name: str) -> list[str]:
        """The names under which a user may stand in passwords, as login/checker.py looks for them."""
        address, _ = self._who(name)
        names = [name, address]
        bare = address.partition("@")[0]
        mailbox = self._mailbox(address)
        if mailbox is not None and self._mailbox(bare) == mailbox:
            names.append(bare)
        return list(dict.fromkeys(names))


def refuse_weak(name: str, password: str) -> None:
    """Raise Refused for a password that would be guessed first."""
    if len(password) < SHORT_CHARS:
        raise Refused(EX_DATAERR, f"the password is too short: {len(password)} characters, at least {SHORT_CHARS} are wanted (--any takes it)")
    local, _, domain = name.partition("@")
    if password.lower() in (name, local, local[::-1], domain):
        raise Refused(EX_DATAERR, "the password is the name; take another one (--any takes it)")


def _users_line(address: str) -> bytes:
    """The line that makes address a user.  Raises ValueError."""
    found = users.decode(address.encode("utf-8", "surrogateescape"))
    for _, why in found.complaints:
        raise ValueError(why)
    return users.encode(found.by_name[address])


def _without_user(data: bytes, name: str) -> bytes:
    return b"".join(line for line in data.splitlines(keepends=True) if name not in users.decode(line.rstrip(b"\n")).by_name)


def _kind(hash: str) -> str:
    """A word for the list."""
    scheme, _, value = hash[1:].partition("}") if hash.startswith("{") else ("", "", hash)
    if value[:1] in ("!", "*"):
        return "locked"
    return value.split("$")[1] if value.startswith("$") else scheme.lower() or "?"
