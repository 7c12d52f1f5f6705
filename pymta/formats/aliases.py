"""aliases: who else is meant by an address, in sendmail's syntax.                            pymta-aliases(5)

    file    = *(entry / comment / blank)
    entry   = name ":" target *("," target) LF *(WSP more of it LF)         ; a line that begins with a blank goes on
    name    = local                   ; in every domain of ours
            / local "@" domain        ; this address alone
            / "@" domain              ; every address of the domain that nothing else claims: a catch-all
    target  = local / local "@" domain / [phrase] "<" local "@" domain ">"
            / "\\" local              ; the mailbox itself, whatever aliases say
            / ":include:" path        ; the targets in that file, one or more a line
    comment = "#" anything            ; also after a blank behind a target

    postmaster: root
    root: ann, \\root-archive, boss@office.example
    info@shop.test: bob,
        carol
    @shop.test: bob
    staff: :include:/etc/pymta/lists/staff

Names are compared without regard to case.  Any name, target or part of one may stand in quotes, which take the meaning from
comma, colon, blank and #.  Of two lines for one name the later holds and both are named.  `|command` and `/file` are known
and not carried out yet; their line counts as bad.

Written by the admin, at any time; read by pymta-smtpd, pymta-qrun and pymta-whatif at each use.  A bad line is named with its
number, the reason and the remedy, and the other lines hold; mail for the name of a bad line waits (451) until it is mended.
The last line may lack its newline.  If lost: no aliases; root's mail goes to local.admin.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pymta.message import address as addresses

ADDRESS, MAILBOX, INCLUDE = "address", "mailbox", "include"


@dataclass(frozen=True, slots=True)
class Target:
    """kind: ADDRESS (value: user or user@domain, domain lower case), MAILBOX (the same, not expanded) or INCLUDE (a path)."""

    kind: str
    value: str
    number: int                                             # of the line it stands in


@dataclass(frozen=True, slots=True)
class Alias:
    """name: lower case, "user", "user@domain" or "@domain"; reason: why the line cannot be used, else empty."""

    name: str
    targets: tuple[Target, ...]
    number: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Aliases:
    """by_name: name -> Alias, bad ones included; complaints: [(line number, reason; remedy)]."""

    by_name: dict[str, Alias]
    complaints: list[tuple[int, str]]


def decode(data: bytes) -> Aliases:
    """The aliases of a file's bytes.  Never raises."""
    aliases = Aliases({}, [])
    for number, lines in _entries(data):
        try:
            name, rest = _name(lines)
        except ValueError as error:
            aliases.complaints.append((number, str(error)))
            continue
        try:
            targets = _targets(rest)
            if not targets:
                raise ValueError("nobody behind the colon; write a user or an address")
            alias = Alias(name, tuple(targets), number)
        except Bad as error:
            alias = Alias(name, (), error.number, str(error))
        except ValueError as error:
            alias = Alias(name, (), number, str(error))
        if alias.reason:
            aliases.complaints.append((alias.number, f"{name}: {alias.reason}"))
        _add(aliases, alias)
    return aliases


def decode_list(data: bytes) -> tuple[list[Target], list[tuple[int, str]]]:
    """(targets, complaints) of an :include: file: the right side of an entry, each line on its own.  Never raises."""
    targets: list[Target] = []
    complaints: list[tuple[int, str]] = []
    for number, line in enumerate(_text(data).split("\n"), 1):
        if not line.lstrip().startswith("#"):
            try:
                targets += _targets([(number, line)])
            except ValueError as error:
                complaints.append((number, str(error)))
    return targets, complaints


def parse_targets(text: str) -> list[Target]:
    """The targets in one line of text, as behind a colon.  Raises ValueError."""
    return _targets([(0, text)])


class Bad(ValueError):
    """A target that cannot be used, and the line it stands in."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


# ---- parts ------------------------------------------------------------------------------------------------------------
def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff").replace("\r\n", "\n")


def _entries(data: bytes) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """(number of the first line, [(number, line)]) of each entry; comments and blank lines may stand within."""
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(_text(data).split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] not in " \t" and lines:
            yield lines[0][0], lines
            lines = []
        lines.append((number, line))
    if lines:
        yield lines[0][0], lines


def _add(aliases: Aliases, alias: Alias) -> None:
    before = aliases.by_name.get(alias.name)
    if before and alias.reason and not before.reason:
        return                                              # a bad line does not take a good one away
    if before and not alias.reason:
        aliases.complaints.append((before.number, f"{alias.name} stands again in line {alias.number}, which holds; remove one of them"))
    aliases.by_name[alias.name] = alias


def _name(lines: list[tuple[int, str]]) -> tuple[str, list[tuple[int, str]]]:
    """(name, what is behind the colon) of an entry."""
    number, first = lines[0]
    if first[0] in " \t":
        raise ValueError("goes on with a line that is not there; begin it at the margin, or write name: before it")
    head = next(_split(first, ":"))
    if len(head) == len(first):
        raise ValueError(f"{shown(first)}: no colon behind the name; write name: target, target")
    return _left(head.strip()), [(number, first[len(head) + 1:]), *lines[1:]]


def _left(name: str) -> str:
    raw = addresses.folded(name).encode("utf-8", "surrogateescape")
    if raw.startswith(b'"') and raw.endswith(b'"') and len(raw) > 2 and raw[1:2] == b"@" and addresses.is_domain(raw[2:-1], utf8=True):
        raw = raw[1:-1]
    try:
        if raw.startswith(b"@"):
            domain = raw[1:].removesuffix(b".")
            if not addresses.is_domain(domain, utf8=True):
                raise addresses.BadAddress("not a domain")
            return "@" + addresses.ascii_domain(_str(domain))
        return _mailbox(raw)
    except addresses.BadAddress as error:
        raise ValueError(f"{shown(name)}: {error}; write user:, user@domain: or @domain:") from None


def _mailbox(raw: bytes) -> str:
    """user or user@domain in its normal spelling (case kept in user).  Raises BadAddress."""
    if raw.startswith(b'"') and raw.endswith(b'"') or b"@" not in raw:
        local, _ = addresses.parse(raw + b"@localhost", utf8=True)
        return _str(local)
    local, domain = addresses.parse(raw.removesuffix(b"."), utf8=True)
    return _str(local + b"@" + domain)


def _str(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise addresses.BadAddress("not UTF-8") from None


def _targets(lines: list[tuple[int, str]]) -> list[Target]:
    """Raises Bad."""
    targets = []
    for number, line in lines:
        try:
            for item in _split(_without_comment(line), ","):
                if item := item.strip():
                    targets.append(_target(item, number))
        except ValueError as error:
            raise Bad(number, str(error)) from None
    return targets


def _target(item: str, number: int) -> Target:
    plain = _unquoted(item)
    if plain.startswith("|"):
        raise ValueError(f"{shown(plain)}: commands are not supported yet; name a user or an address")
    if plain.startswith("/"):
        raise ValueError(f"{shown(plain)}: delivery to a file is not supported yet; name a user or an address")
    if plain.lower().startswith(":include:"):
        path = plain[9:].strip()
        if not path.startswith("/") or not path.isprintable():
            raise ValueError(f"{shown(plain)}: not an absolute path; write :include:/path")
        return Target(INCLUDE, path, number)
    if plain.startswith(":"):
        raise ValueError(f"{shown(plain)}: unknown; only :include:/path begins with a colon")
    if plain.startswith("\\"):
        return Target(MAILBOX, _right(plain[1:]), number)
    if plain.endswith(">") and "<" in plain:
        return Target(ADDRESS, _right(plain[plain.rindex("<") + 1:-1]), number)
    return Target(ADDRESS, _right(plain if "@" in plain else item), number)


def _right(text: str) -> str:
    try:
        return _mailbox(text.strip().encode("utf-8", "surrogateescape"))
    except addresses.BadAddress as error:
        raise ValueError(f"{shown(text)}: {error}; write user or user@domain, and a comma between two") from None


def _unquoted(item: str) -> str:
    """An item that stands in quotes as a whole, without them; any other as it is."""
    if len(item) < 2 or item[0] != '"' or item[-1] != '"' or '"' in item[1:-1].replace('\\"', ""):
        return item
    return item[1:-1].replace('\\"', '"').replace("\\\\", "\\")


def _split(line: str, separator: str) -> Iterator[str]:
    """line parted at each separator outside quotes.  Raises ValueError where a quote does not end."""
    if '"' not in line:
        yield from line.split(separator)
        return
    begin = at = 0
    while at < len(line):
        if line[at] == '"':
            at += 1
            while at < len(line) and line[at] != '"':
                at += 2 if line[at] == "\\" else 1
            if at >= len(line):
                raise ValueError(f"{shown(line[begin:])}: a quote does not end; write the second one")
        elif line[at] == separator:
            yield line[begin:at]
            begin = at + 1
        at += 1
    yield line[begin:]


def _without_comment(line: str) -> str:
    if "#" not in line:
        return line
    quoted = False
    for at, char in enumerate(line):
        if char == '"' and (at == 0 or line[at - 1] != "\\"):
            quoted = not quoted
        elif char == "#" and not quoted and (at == 0 or line[at - 1] in " \t"):
            return line[:at]
    return line


def shown(text: str, limit: int = 80) -> str:
    """text made safe and short for a complaint."""
    safe = "".join(c if c.isprintable() else "?" for c in text.strip())
    return safe if len(safe) <= limit else safe[:limit] + "..."
