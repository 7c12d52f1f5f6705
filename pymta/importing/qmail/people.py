"""qmail.people: .qmail files, users/assign, virtual domains."""
from __future__ import annotations

import re

from pymta.importing.qmail import dot
from pymta.importing.qmail.dot import Instructions
from pymta.importing.qmail.reading import Reading
from pymta.importing.source import text


def here(it: Reading, name: str) -> list[str]:
    """A name in the local domains, as aliases must have it."""
    return [f"{name}@{domain}" for domain in it.local] if it.virtual and it.local else [name]


def local_names(it: Reading) -> None:
    """.qmail files of the system's users, of users/assign, and of alias."""
    out = it.out
    for name, (uid, home) in it.users.system.items():
        if name == "alias" or not uid.isdigit() or int(uid) < 1000:
            continue
        virtual = tuple(control.extension for control in map(it.users.of, _prefixes(it)) if control.user == name)
        for extension, told in dot.files(it.source, home):
            # what serves a virtual domain is written for that domain alone
            if not extension or not any(extension == one or not one or extension.startswith(f"{one}-") for one in virtual):
                _dot(it, told, name, extension, mailbox=name, home=home)
    for name, control in it.users.exact.items():
        if name not in it.users.system:
            out.user(f"{it.directory}/users/assign", name, control.uid, control.gid, control.home)
        if control.home != it.users.system.get(name, ("", ""))[1]:
            for extension, told in dot.files(it.source, control.home):
                if extension == control.extension:
                    _dot(it, told, name, "", mailbox=name, home=control.home)
    alias = it.users.alias
    owned = tuple(control.extension + "-" for control in map(it.users.of, _prefixes(it)) if control.user == "alias" and control.extension)
    for extension, told in dot.files(it.source, alias.home):
        if not extension or extension.startswith(owned):
            continue
        if extension == "default":
            _catch_all(it, told, it.local, alias.home)
        else:
            _dot(it, told, extension.removesuffix("-default"), "default" if extension.endswith("-default") else "", mailbox="", home=alias.home)


def _prefixes(it: Reading) -> list[str]:
    return [line.lower().partition(":")[2] for _, line in it.lines("virtualdomains")]


def _dot(it: Reading, told: Instructions, name: str, extension: str, *, mailbox: str, home: str) -> None:
    """Mail for name (and -extension).  mailbox: whose it is that ./Maildir/ means, or ""."""
    out = it.out
    where = f"{told.path}:1"
    if extension == "default" or extension.endswith("-default"):
        it.wild = True
        extension = extension.removesuffix("default").removesuffix("-")
    full = f"{name}-{extension}" if extension else name
    if extension == "" and told.path.endswith("-default") and mailbox:
        # user-anything reaches the user by local.extension alone
        if not told.default and (told.forwards or told.commands or told.files or told.discards):
            out.unsupported(where, f"{name}-anything", f"went elsewhere than {name}'s own mail; here {name}-anything is {name}'s; write aliases for the extensions in use")
        else:
            out.same(where, f"{name}-anything", f"{name}'s mailbox (local.extension)")
        return
    _targets(it, told, here(it, full), mailbox, home, itself=full == mailbox)


def _targets(it: Reading, told: Instructions, names: list[str], mailbox: str, home: str, *, itself: bool = False,
             uid: str = "") -> None:
    """What a .qmail says becomes an alias.  itself: names are the mailbox's own; uid: that of a mailbox which is nobody's own, else alias's."""
    out, where, targets = it.out, f"{told.path}:1", []
    if told.discards:
        out.unsupported(where, names[0], "threw all its mail away; nothing here does; its mail is refused, or goes into its mailbox")
        return
    if told.default:
        targets = [f"\\{mailbox}"] if mailbox else []
    for command in told.commands:
        out.unsupported(where, f"{names[0]}: |{command}", _program(command))
    for path in told.files:
        out.unsupported(where, f"{names[0]}: {path}", "an mbox file; ours is ~/Maildir: convert it (mb2md)")
    for path in told.maildirs:
        whole = re.sub("/+", "/", path if path.startswith("/") else f"{home}/{path.removeprefix('./')}").rstrip("/")
        if mailbox and whole == f"{home}/Maildir":
            targets.append(f"\\{mailbox}")
        elif whole.endswith("/Maildir") and not mailbox and names[0].count("@") <= 1 and out.user(where, names[0].partition("@")[0] if len(names) > 1 else names[0],
                                                                                                  uid or it.users.alias.uid, "", whole.removesuffix("/Maildir")):
            targets.append(f"\\{names[0]}")
        else:
            out.unsupported(where, f"{names[0]}: {path}", f"a Maildir that is nobody's: make a user whose home is {whole.rpartition('/')[0]}, and an alias to it")
    targets += [_address(it, address) for address in told.forwards]
    if itself and targets == [f"\\{mailbox}"]:
        out.same(where, names[0], "~/Maildir")
    elif targets and targets != [f"\\{names[0]}"] and out.alias_each(where, names, targets):
        out.same(where, f"{names[0]}: {', '.join(targets)}", f"aliases: {', '.join(names)}")


def _address(it: Reading, address: str) -> str:
    """A bare name on the right is one at control/me."""
    return address if "@" in address or it.me.lower() in it.local else f"{address}@{it.me}"


def _catch_all(it: Reading, told: Instructions, domains: list[str], home: str) -> None:
    out, where = it.out, f"{told.path}:1"
    for command in told.commands:
        out.unsupported(where, f"@{', @'.join(domains)}: |{command}", _program(command))
    for path in [*told.files, *told.maildirs]:
        out.unsupported(where, f"@{', @'.join(domains)}: {path}", "a mailbox for all other names: make a user, and the alias @domain: user")
    if told.discards:
        out.unsupported(where, f"@{', @'.join(domains)}", "threw mail for all other names away; here it is refused")
    if told.forwards and domains and out.alias_each(where, [f"@{domain}" for domain in domains], [_address(it, one) for one in told.forwards]):
        out.same(where, f"default: {', '.join(told.forwards)}", f"catch-all aliases: {', '.join('@' + domain for domain in domains)}")


def virtual_domains(it: Reading) -> None:
    out = it.out
    for where, line in it.lines("virtualdomains"):
        name, colon, prefix = line.lower().partition(":")
        if not colon or not prefix:
            out.same(where, line, "no virtual domain: sent on, or local")
            continue
        if not name or name.startswith("."):
            out.unsupported(where, line, "a virtual domain for many domains; write one line for each domain, then import again")
            continue
        control = it.users.of(f"{prefix}-")
        begin = control.extension.rstrip("-")
        before = len(out.aliases) + len(out.users) + sum(row.verdict == "unsupported" for row in out.rows)
        local, at, domain = name.rpartition("@")
        if name.partition("@")[2] in it.local or name in it.local:
            out.different(where, line, "stands in locals too, which holds")
            continue
        if not at and _vpopmail(it, where, name, control):
            continue
        for extension, told in sorted(dot.files(it.source, control.home), key=lambda row: row[0] == "default" or row[0].endswith("-default")):
            if begin and not extension.startswith(f"{begin}-") or not extension:
                continue
            user = extension[len(begin) + 1:] if begin else extension
            if at and user not in (local, "default"):
                continue
            if at:
                _targets(it, told, [name], "", control.home, uid=control.uid)
                break
            if user == "default":
                if told.maildirs and not told.forwards and not told.commands and control.user in it.users.system and control.user != "alias":
                    out.alias(f"{told.path}:1", f"@{name}", [f"\\{control.user}"])
                else:
                    _catch_all(it, told, [name], control.home)
            elif user.endswith("-default"):
                out.unsupported(f"{told.path}:1", f"{user}@{name}", "took every name that begins so; write an alias for each")
            else:
                _targets(it, told, [f"{user}@{name}"], "", control.home, uid=control.uid)
        made = len(out.aliases) + len(out.users) + sum(row.verdict == "unsupported" for row in out.rows) > before
        if made:
            out.same(where, line, f"local.virtual_domains; what {control.home}/.qmail-{begin + '-' if begin else ''}* say")
        else:
            out.different(where, line, "nobody gets mail there: there is no .qmail file for it")


def _vpopmail(it: Reading, where: str, domain: str, control: dot.Control) -> bool:
    """A domain of vpopmail, whose users stand in vpasswd."""
    path = f"{control.home}/vpasswd"
    default = text(it.source.read(f"{control.home}/.qmail-default"))
    if "vdelivermail" not in default:
        return False
    out, count = it.out, 0
    for number, line in enumerate(text(it.source.read(path)).split("\n"), 1):
        fields = line.split(":")
        if len(fields) < 6 or not fields[0]:
            continue
        count += 1
        name = f"{fields[0]}@{domain}"
        if out.user(f"{path}:{number}", name, control.uid, control.gid, fields[5], told=True):
            out.password(f"{path}:{number}", name, fields[1])
        if len(fields) > 6 and fields[6] not in ("", "NOQUOTA"):
            out.unsupported(f"{path}:{number}", f"{name}: {fields[6]}", "a quota; write quota= behind the user's line")
    if not count:
        out.unsupported(where, f"{domain} (vpopmail)", f"its users stand in a database, not in {path}; print them with vuserinfo, and write users and passwords")
    else:
        out.different(where, f"{domain} (vpopmail)", f"{count} users of {path}, now in users and passwords; pymta-passwd takes the place of vadduser and vpasswd")
    for extension, told in dot.files(it.source, control.home):
        if extension and extension != "default":
            _targets(it, told, [f"{extension}@{domain}"], "", control.home, uid=control.uid)
    rest = re.search(r"vdelivermail\s+\S+\s+(\S+)", default)
    if rest and rest[1] == "delete":
        out.unsupported(f"{control.home}/.qmail-default:1", f"@{domain}: delete", "threw mail for unknown names away; here it is refused")
    elif rest and "@" in rest[1]:
        out.alias(f"{control.home}/.qmail-default:1", f"@{domain}", [rest[1].removeprefix("&")])
    elif rest and rest[1].startswith("/"):
        out.alias(f"{control.home}/.qmail-default:1", f"@{domain}", [f"{rest[1].rstrip('/').rpartition('/')[2]}@{domain}"])
    return True


def _program(command: str) -> str:
    for word, name in (("vdeliver", "vmailmgr"), ("vdelivermail", "vpopmail"), ("procmail", "procmail"), ("maildrop", "maildrop"), ("ezmlm", "ezmlm"), ("qmail-autoresponder", "an autoresponder"),
                       ("autorespond", "an autoresponder"), ("condredirect", "condredirect"), ("preline", "a program"), ("forward", "forward: write an alias instead")):
        if word in command:
            return f"ran a program ({name}) for each mail; none is run here"
    return "ran a program for each mail; none is run here"
