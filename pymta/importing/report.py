"""report: what an import says (rows) and what it makes (entries of our files).

A row has a verdict:

    same          ours does it; the text says where
    different     something changes for users or the admin; the text says what, and what to do
    unsupported   nothing of ours does it; the text says what it did, and the remedy

Whatever is put into an Import is first read by the module that owns its format: what that one refuses becomes a row, so what is written
is always in order.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pymta import settings
from pymta.formats import aliases as formats_aliases
from pymta.formats import passwords as formats_passwords
from pymta.formats import relay_recipients as formats_relay
from pymta.formats import senders as formats_senders
from pymta.formats import transports as formats_transports
from pymta.formats import users as formats_users
from pymta.formats.users import clean
from pymta.login import hashes

SAME, DIFFERENT, UNSUPPORTED = "same", "different", "unsupported"


@dataclass(frozen=True, slots=True)
class Row:
    """where: file:line of the source; what: the setting or entry there; text: reason; remedy."""

    verdict: str
    where: str
    what: str
    text: str


@dataclass(slots=True)
class Import:
    """settings: name -> value as written.  aliases: name -> targets.  users, passwords, transports, relay_recipients: name -> line.
    senders: login -> addresses.  next: commands that remain for the admin."""

    rows: list[Row] = field(default_factory=list)
    told: set[Row] = field(default_factory=set, repr=False)
    settings: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    transports: dict[str, str] = field(default_factory=dict)
    senders: dict[str, list[str]] = field(default_factory=dict)
    relay_recipients: dict[str, str] = field(default_factory=dict)
    next: dict[str, None] = field(default_factory=dict)

    # ---- the report ---------------------------------------------------------------------------------------------------
    def same(self, where: str, what: str, text: str) -> None:
        self._row(SAME, where, what, text)

    def different(self, where: str, what: str, text: str) -> None:
        self._row(DIFFERENT, where, what, text)

    def unsupported(self, where: str, what: str, text: str) -> None:
        self._row(UNSUPPORTED, where, what, text)

    def rows_for(self, verdict: str) -> Callable[[str, str, str], None]:
        """The method of this name."""
        return {SAME: self.same, DIFFERENT: self.different, UNSUPPORTED: self.unsupported}[verdict]

    def _row(self, verdict: str, where: str, what: str, text: str) -> None:
        row = Row(verdict, clean(where, 300), clean(what, 200), clean(text, 500))
        if row not in self.told:
            self.told.add(row)
            self.rows.append(row)

    # ---- what is made -------------------------------------------------------------------------------------------------
    def set(self, where: str, what: str, name: str, value: str, note: str = "") -> bool:
        """One of our settings from one of theirs (what).  note: what is different about it."""
        try:
            settings.BY_NAME[name].kind(value)
            if not value.isprintable() or " #" in value or value.startswith("#"):
                raise ValueError("cannot be written")
        except ValueError as error:
            self.unsupported(where, what, f"{name} = {value}: {error}")
            return False
        self.settings[name] = value
        if note:
            self.different(where, what, f"{name} = {value}: {note}")
        else:
            self.same(where, what, f"{name} = {value}".rstrip())
        return True

    def alias(self, where: str, name: str, targets: list[str], *, told: bool = False) -> bool:
        """name: user, user@domain or @domain; targets: as in pymta-aliases(5).  A target that cannot be is left out and told.
        told: the caller makes the row."""
        good = []
        for target in targets:
            try:
                formats_aliases.parse_targets(target)
                if not target.isprintable() or _cut(target):
                    raise ValueError("cannot be written in one line; name the address otherwise")
                good.append(target)
            except ValueError as error:
                self.unsupported(where, f"{name}: {target}", f"{error}" if str(error).startswith(clean(target)) else f"{target}: {error}")
        if not good:
            return False
        complaints = formats_aliases.decode(f"{name}: {', '.join(good)}\n".encode("utf-8", "surrogateescape")).complaints
        if complaints or not name.isprintable():
            self.unsupported(where, f"{name}: {', '.join(targets)}", complaints[0][1] if complaints else "cannot be written")
            return False
        if name.lower() in self.aliases:
            return False                                    # of two the first holds, as it did there
        self.aliases[name.lower()] = good
        if not told:
            self.same(where, f"{name}: {', '.join(good)}", "aliases")
        return True

    def alias_each(self, where: str, names: list[str], targets: list[str]) -> bool:
        """The same alias under each of these names; what is wrong with it is told once, and no row made of what is right."""
        if not self.alias(where, names[0], targets, told=True):
            return False
        for name in names[1:]:
            self.alias(where, name, self.aliases[names[0].lower()], told=True)
        return True

    def user(self, where: str, name: str, uid: str = "", gid: str = "", home: str = "", quota: str = "", *, told: bool = False) -> bool:
        """A line of users."""
        line = ":".join([name, uid, gid, home]).rstrip(":") + (f":quota={quota}" if quota else "")
        table = formats_users.decode(line.encode("utf-8", "surrogateescape"))
        if table.complaints or not table.by_name or _cut(line) or not line.isprintable():
            self.unsupported(where, name, table.complaints[0][1] if table.complaints else "cannot be a user's line; rename the user")
            return False
        self.users.setdefault(name.lower(), line)
        if not told:
            self.same(where, name, f"users: {line}")
        return True

    def password(self, where: str, name: str, hash: str) -> bool:
        """A line of passwords; the hash is not shown."""
        try:
            formats_passwords.check_name(formats_passwords.fold(name))
            if not hash or not hash.isascii() or not hash.isprintable() or ":" in hash:
                raise ValueError("no hash that can be kept; set the password with pymta-passwd")
            hashes.check_form(hash)
        except ValueError as error:
            text = str(error).replace(hash, "...") if hash else str(error)
            self.unsupported(where, f"password of {name}", text if "pymta-passwd" in text else f"{text}; set the password with pymta-passwd")
            return False
        self.passwords.setdefault(formats_passwords.fold(name), hash)
        return True

    def transport(self, where: str, what: str, pattern: str, route: str, note: str = "") -> bool:
        """A line of transports."""
        line = f"{pattern} {route}"
        complaints = formats_transports.decode(line.encode("utf-8", "surrogateescape")).complaints
        if complaints or _cut(line) or not line.isprintable():
            self.unsupported(where, what, complaints[0][1] if complaints else "cannot be written")
            return False
        self.transports.setdefault(pattern.lower(), line)
        if note:
            self.different(where, what, f"transports: {line}: {note}")
        else:
            self.same(where, what, f"transports: {line}")
        return True

    def sender(self, where: str, login: str, address: str) -> bool:
        """That a login may send from an address (or @domain, or *)."""
        complaints = formats_senders.decode(f"{login}: {address}".encode("utf-8", "surrogateescape")).complaints
        if complaints or not f"{login}{address}".isprintable() or {"#", ","} & set(login + address):
            self.unsupported(where, f"{address} {login}", complaints[0][1] if complaints else "cannot be written")
            return False
        known = self.senders.setdefault(login.lower(), [])
        if address.lower() not in known:
            known.append(address.lower())
        return True

    def relay_recipient(self, where: str, address: str) -> bool:
        """user@domain or @domain."""
        complaints = formats_relay.decode(address.encode("utf-8", "surrogateescape")).complaints
        if complaints or _cut(address) or not address.isprintable():
            self.unsupported(where, address, complaints[0][1] if complaints else "cannot be written")
            return False
        self.relay_recipients.setdefault(address.lower(), address)
        return True

    @property
    def some_unsupported(self) -> bool:
        return any(row.verdict == UNSUPPORTED for row in self.rows)


def _cut(line: str) -> bool:
    """Whether a part of line would be taken for a comment."""
    return line.startswith("#") or " #" in line or "\t#" in line
