"""dot: .qmail files and who controls an address: dot-qmail(5), qmail-users(5), qmail-getpw(8).

    .qmail  = *( "#" anything / "|" command / "/" path / "." path / ["&"] address ) LF        ; a path that ends in "/" is a Maildir
    assign  = "=" local ":" user ":" uid ":" gid ":" home ":" dash ":" ext ":" / "+" beginning of local ":" the same / "."
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pymta.importing.source import Source, system_users, text


@dataclass(slots=True)
class Instructions:
    """What a .qmail says.  forwards: addresses; maildirs, files: paths; commands; discards: there is nothing but comments."""

    path: str
    forwards: list[str] = field(default_factory=list)
    maildirs: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    discards: bool = False
    default: bool = False                                   # empty: as if it were not there


@dataclass(frozen=True, slots=True)
class Control:
    """Who controls a name: home, and what of the name is left for .qmail-ext ("" for .qmail itself)."""

    user: str
    uid: str
    gid: str
    home: str
    extension: str


def parse(data: bytes, path: str) -> Instructions:
    out = Instructions(path, default=not data.strip(b"\n"))
    for line in text(data).split("\n"):
        line = line.rstrip(" \t")
        if not line or line.startswith("#"):
            continue
        if line.startswith("|"):
            out.commands.append(line[1:].strip())
        elif line.startswith(("/", ".")):
            (out.maildirs if line.endswith("/") else out.files).append(line)
        elif not line.startswith("+"):
            out.forwards.append(line.removeprefix("&").strip())
    out.discards = not out.default and not (out.forwards or out.maildirs or out.files or out.commands)
    return out


def files(source: Source, home: str) -> Iterator[tuple[str, Instructions]]:
    """(extension, instructions) of each .qmail-ext in a home, "" for .qmail."""
    for name in source.names(home):
        if name == ".qmail" or name.startswith(".qmail-"):
            data = source.read(f"{home}/{name}")
            if data is not None:
                yield name[7:].replace(":", "."), parse(data, f"{home}/{name}")


class Users:
    """The users of the system, and users/assign over them."""

    def __init__(self, source: Source, directory: str) -> None:
        self.system = {name: (str(uid), home) for name, uid, home in system_users(source)}
        self.exact: dict[str, Control] = {}
        self.begins: dict[str, Control] = {}
        for line in text(source.read(f"{directory}/users/assign")).split("\n"):
            fields = line.split(":")
            if len(fields) < 8 or line[:1] not in ("=", "+"):
                continue
            name, user, uid, gid, home, _, extension = fields[:7]
            (self.exact if line[0] == "=" else self.begins)[name[1:].lower()] = Control(user, uid, gid, home, extension)
        self.alias = Control("alias", *(self.system.get("alias", ("", ""))[0], ""), self.system.get("alias", ("", f"{directory}/alias"))[1], "")

    def of(self, local: str) -> Control:
        """Who controls a local part (lower case): users/assign, a user of the system whose name it begins with, else alias."""
        if local in self.exact:
            return self.exact[local]
        for size in range(len(local), -1, -1):
            if local[:size] in self.begins:
                found = self.begins[local[:size]]
                return Control(found.user, found.uid, found.gid, found.home, found.extension + local[size:])
        for size in [len(local), *(at for at in range(len(local) - 1, 0, -1) if local[at] == "-")]:
            known = self.system.get(local[:size])
            if known and known[0] != "0" and local[:size] != "alias":
                return Control(local[:size], known[0], "", known[1], local[size + 1:])
            if local[:size] == "alias":
                return Control("alias", self.alias.uid, "", self.alias.home, local[size + 1:])
        return Control("alias", self.alias.uid, "", self.alias.home, local)
