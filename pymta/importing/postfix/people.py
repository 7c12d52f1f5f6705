"""postfix.people: who gets mail here: aliases, virtual users, .forward files."""
from __future__ import annotations

import re

from pymta.importing import aliasfile
from pymta.importing.postfix.maps import Table
from pymta.importing.postfix.reading import Reading
from pymta.importing.source import system_users, text


def virtual_domains(it: Reading) -> None:
    out = it.out
    it.alias_table = it.table("virtual_alias_maps") if it.values.list("virtual_alias_maps") else Table()
    it.box_table = it.table("virtual_mailbox_maps") if it.values.list("virtual_mailbox_maps") else Table()
    for name in ("virtual_alias_domains", "virtual_mailbox_domains"):
        domains = [domain for domain in it.names_in(name) if domain not in it.local]
        if twice := [domain for domain in it.names_in(name) if domain in it.local]:
            out.different(*it.at(name), f"{', '.join(twice)}: in mydestination too, and so local here; take it out of one of them")
        fresh = [domain for domain in domains if domain not in it.virtual]
        it.virtual += fresh
        if name in it.values.given:
            out.same(*it.at(name), f"local.virtual_domains: {', '.join(fresh) or 'nothing'}")
        elif fresh:
            out.same(it.values.where(name.replace("domains", "maps")), f"domains in {name.replace('domains', 'maps')}",
                     f"local.virtual_domains: {', '.join(fresh)}")
    if it.virtual:
        out.settings["local.virtual_domains"] = ", ".join(it.virtual)


def qualified(it: Reading, target: str) -> str:
    """A bare name on the right side, as it is meant here."""
    if "@" in target or target.startswith(("\\", "|", "/", ":", '"|', '"/', '":')):
        return target
    return target if it.origin in it.local else f"{target}@{it.origin}"


def local_aliases(it: Reading) -> None:
    if not it.given("alias_maps") and not it.source.has("/etc/aliases"):
        return
    table = it.table("alias_maps", aliases=True)
    out = it.out
    for entry in table.entries.values():
        if not entry.value:
            out.unsupported(entry.where, entry.key, "no alias; write name: target")
            continue
        if entry.key.lower().startswith("owner-"):
            out.different(entry.where, f"{entry.key}: {entry.value}", f"returns of mail to {entry.key[6:]} went there; here they go to who wrote the mail")
        targets = [qualified(it, target) for target in aliasfile.targets(entry.value)]
        # a bare name holds in every domain here, in local ones alone there
        names = [f"{_quoted(entry.key)}@{domain}" for domain in it.local] if it.virtual and it.local else [_quoted(entry.key)]
        if out.alias_each(entry.where, names, targets):
            out.same(entry.where, f"{entry.key}: {entry.value}", f"aliases: {', '.join(names)}")
        for target in targets:
            if target.lower().startswith(":include:"):
                out.different(entry.where, f"{entry.key}: {target}", "pymta-smtpd and pymta-qrun must be able to read the list, "
                              "and nobody but its owner may write it")
    if table.static is not None:
        out.unsupported(*it.at("alias_maps"), "a table that answers the same for every name; write aliases")


def virtual_aliases(it: Reading) -> None:
    out = it.out
    for entry in it.alias_table.entries.values():
        key, targets = entry.key, [qualified(it, target) for target in aliasfile.targets(entry.value.replace(" ", ",") if "," not in entry.value
                                                                                          and '"' not in entry.value else entry.value)]
        local, at, domain = key.lower().rpartition("@")
        if not at:
            if key.lower() in it.virtual or "." in key and not targets:
                continue                                # the mark of a virtual alias domain
            names = [f"{key}@{one}" for one in dict.fromkeys([it.origin, *it.local])] if it.virtual else [key]
            if out.alias_each(entry.where, names, targets):
                out.same(entry.where, f"{key} {entry.value}", f"aliases: {', '.join(names)}")
        elif not local and any(target.startswith("@") for target in targets):
            out.unsupported(entry.where, f"{key} {entry.value}", f"gave every name in {domain} the same name in another domain; "
                            "write an alias for each address, or one catch-all to one person")
        elif not local and domain not in it.local + it.virtual:
            out.unsupported(entry.where, f"{key} {entry.value}", f"took mail for all of {domain}, which is not ours; add it to local.virtual_domains "
                            f"and write the alias {key}")
        else:
            out.alias(entry.where, key, targets)
    if it.alias_table.static is not None:
        out.unsupported(*it.at("virtual_alias_maps"), "a table that answers the same for every address; write aliases")


def mailbox_users(it: Reading) -> None:
    values, out = it.values, it.out
    it.given("virtual_mailbox_base", "virtual_uid_maps", "virtual_gid_maps", "virtual_transport", "virtual_minimum_uid")
    uids, gids = it.table("virtual_uid_maps"), it.table("virtual_gid_maps")
    base, transport = values.get("virtual_mailbox_base"), values.get("virtual_transport")
    elsewhere = transport.partition(":")[0] != "virtual"
    if elsewhere:
        verdict = out.different if "dovecot" in transport or transport.startswith("lmtp") else out.unsupported
        verdict(*it.at("virtual_transport"), "another program delivered; ours does it itself, into the Maildir of each user; where that lies "
                "pymta-import dovecot says" if verdict == out.different else "another program delivered; ours delivers into Maildirs, and runs no program")
    for entry in it.box_table.entries.values():
        local, at, domain = entry.key.rpartition("@")
        if not at:
            continue
        if not local:
            out.unsupported(entry.where, entry.key, f"a mailbox for everybody in {domain}; make a user and the alias @{domain}: user")
            continue
        if elsewhere:
            out.user(entry.where, entry.key)
            continue
        if not entry.value.endswith("/"):
            out.unsupported(entry.where, f"{entry.key} {entry.value}", "an mbox file; the user gets an empty Maildir, convert the file (mb2md)")
            home = ""
        else:
            path = f"{base}/{entry.value}".replace("//", "/").rstrip("/")
            home = path.removesuffix("/Maildir")
            if home == path:
                out.different(entry.where, f"{entry.key} {entry.value}", f"the Maildir is {path} itself, ours is Maildir in the home: "
                              f"ln -s . {path}/Maildir lets it stay where it is")
                out.next[f"ln -s . {path}/Maildir"] = None
        out.user(entry.where, entry.key, uids.get(entry.key) or "", gids.get(entry.key) or "", home)
    if not it.box_table.entries and values.list("virtual_mailbox_maps") and not it.box_table.problems:
        out.same(*it.at("virtual_mailbox_maps"), "nobody stands there")


def mailbox_format(it: Reading) -> None:
    values, out = it.values, it.out
    home = values.get("home_mailbox")
    it.given("home_mailbox", "mailbox_command", "mailbox_transport", "local_transport")
    for name in ("mailbox_command", "mailbox_transport", "local_transport"):
        value = values.get(name)
        if name not in values.given or not value or value.startswith("local:"):
            continue
        if "dovecot" in value or "deliver" in value or value.startswith("lmtp"):
            out.different(*it.at(name), "another program delivered; ours does it itself; where each Maildir lies pymta-import dovecot says")
        else:
            out.unsupported(*it.at(name), "a program delivered (and perhaps sorted or checked) the mail; ours puts it into ~/Maildir")
        return
    if not it.local:
        return
    if home == "Maildir/":
        out.same(*it.at("home_mailbox"), "~/Maildir")
    elif home.endswith("/"):
        out.different(*it.at("home_mailbox"), f"the Maildir of each user was ~/{home.rstrip('/')}, ours is ~/Maildir: as each user: "
                      f"ln -s {home.rstrip('/')} Maildir")
    elif home:
        out.different(*it.at("home_mailbox"), f"mail went to the mbox file ~/{home}, ours goes to ~/Maildir: convert what is there (mb2md)")
    else:
        out.different(*it.at("home_mailbox"), f"mail went to mbox files in {values.get('mail_spool_directory')}, ours goes to ~/Maildir: "
                      "convert what is there (mb2md)")


def forwards(it: Reading) -> None:
    """.forward files of the system's users become aliases."""
    out = it.out
    if not it.local or it.values.get("local_transport").partition(":")[0] != "local":
        return
    for name, uid, home in system_users(it.source):
        path = f"{home.rstrip('/')}/.forward"
        data = it.source.read(path) if uid >= 1000 and home not in ("/", "") else None
        found = aliasfile.forward(text(data))
        if not found:
            continue
        targets = [f"\\{name}" if target.lstrip("\\").lower() == name.lower() else qualified(it, target) for _, target in found]
        names = [f"{name}@{domain}" for domain in it.local] if it.virtual else [name]
        if names[0].lower() in out.aliases:
            out.different(f"{path}:1", name, "an alias has this name already; write into it what the .forward says")
        elif out.alias_each(f"{path}:1", names, targets):
            out.different(f"{path}:1", ", ".join(target for _, target in found), f"now the alias {names[0]}, which the admin changes, not {name}")


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[^\s:,\"#@()<>\[\]\\;]+", name) or name.startswith('"') else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
