"""exim.routers: routers and the transports they use."""
from __future__ import annotations

import re

from pymta.importing import aliasfile
from pymta.importing.exim import grammar
from pymta.importing.exim.grammar import Block
from pymta.importing.exim.reading import Reading
from pymta.importing.source import system_users, text


def routers(it: Reading) -> None:
    for router in it.conf.of("routers"):
        it.idle = False
        if value := router.get("local_part_suffix"):
            it.out.set(router.where, f"router {router.name}: local_part_suffix = {value}", "local.extension",
                         "".join(dict.fromkeys(re.findall(r"(?:^|:)\s*([-+_.=])\*", value))))
        what = f"router {router.name} ({router.get('driver') or 'no driver'})"
        if any(router.options[name].value == "" for name in ("domains", "senders", "local_parts") if name in router.options):
            continue                                    # a list without items: it is never used
        match router.get("driver"):
            case "dnslookup":
                it.out.same(router.where, what, "by MX")
            case "ipliteral":
                it.out.same(router.where, what, "mail for [address] is sent there")
            case "manualroute":
                _manual(it, router, what)
            case "redirect":
                _redirect(it, router, what)
            case "accept":
                _accept(it, router, what)
            case _:
                it.out.unsupported(router.where, what, "nothing here routes that way")
        if (condition := router.get("condition") or router.get("senders")) and not router.get("local_part_prefix") and not it.idle:
            it.out.unsupported(router.where, f"{what}: {condition}", "a condition on this router; here it holds always")
    _aliases(it)


def _port(it: Reading, router: Block) -> str:
    transport = it.transports.get(router.get("transport"))
    port = transport.get("port") if transport else ""
    return {"smtp": "25", "submission": "587", "smtps": "465", "": "25"}.get(port, port)


def _manual(it: Reading, router: Block, what: str) -> None:
    out = it.out
    transport = it.transports.get(router.get("transport"))
    lmtp = transport is not None and (transport.get("driver") == "lmtp" or transport.get("protocol") == "lmtp")
    if transport is not None and (transport.get("hosts_require_auth") or transport.get("hosts_try_auth")):
        out.unsupported(transport.where, f"transport {transport.name}: hosts_require_auth", "logged in at the other host; nothing here does; let it take mail from this host's address")
    if transport is not None and transport.get("protocol") == "smtps":
        out.unsupported(transport.where, f"transport {transport.name}: protocol = smtps", "TLS from the first byte to the other host; use its port 587 or 25 with STARTTLS")
    routes: list[tuple[str, str, str]] = []
    if data := router.options.get("route_data"):
        found = re.search(r"\$\{lookup\s*\{\$domain\}\s*(?:partial\d*-)?lsearch\*?\s*\{(/[^}]*)\}", data.value)
        if found:
            for number, line in enumerate(text(it.source.read(found[1])).split("\n"), 1):
                if line.strip() and not line.strip().startswith("#"):
                    domain, _, right = line.strip().partition(":")
                    routes.append((f"{found[1]}:{number}", domain.strip(), right.strip()))
        elif "$" not in data.value:
            routes.append((data.where, "*", data.value))
        else:
            out.unsupported(data.where, f"{what}: {data}", "a route made by an expansion; write it into transports")
    if listed := router.options.get("route_list"):
        for rule in listed.value.split(";"):
            words = rule.split(None, 1)
            if len(words) == 2:
                routes.append((listed.where, words[0], words[1]))
    only = [] if "!" in router.get("domains") or router.get("domains") in ("", "*") else it.domains(router.options["domains"])
    for where, pattern, rest in routes:
        hosts = grammar.items(re.split(r"\s+(?:byname|bydns|randomize|no_randomize|ipv4_only)\b", f"{rest} ")[0].strip().strip('"'))
        if not hosts or "$" in rest:
            out.unsupported(where, f"{what}: {pattern} {rest}", "a route made by an expansion; write it into transports")
            continue
        match = re.fullmatch(r"(\[[^\]]+\]|[^:\s]+|[0-9a-fA-F:]+)(?::(\d+))?", hosts[0])
        host, port = (match[1], match[2] or _port(it, router)) if match else (hosts[0], _port(it, router))
        host = host[1:-1] if host.startswith("[") and ":" not in host else host
        note = f"only {host} is asked, not {', '.join(hosts[1:])}" if len(hosts) > 1 else ""
        for one in only if pattern == "*" and only else [pattern]:
            if one in ("*", "!+local_domains") and not lmtp:
                out.set(where, f"{what}: {pattern} {rest}", "remote.smarthost", f"{host}:{port}", note)
            elif one.startswith("*."):
                out.transport(where, f"{what}: {pattern} {rest}", one[1:], f"{'lmtp:' if lmtp else ''}{host}:{port}", note)
            elif one in it.local:
                out.unsupported(where, f"{what}: {one} {rest}", f"{one} is ours, so its mail stays here; take it out of local.domains, and add it to local.relay_domains")
            else:
                out.transport(where, f"{what}: {pattern} {rest}", one, f"{'lmtp:' if lmtp else ''}{host}:{port}", note)


def _redirect(it: Reading, router: Block, what: str) -> None:
    out, data = it.out, re.sub(r"\$(domain|local_part)_data\b|\$\{(domain|local_part)(?:_data)?\}", lambda match: f"${match[1] or match[2]}", router.get("data"))
    if router.get("file"):
        if re.fullmatch(r"\$(?:home|\{home\})/\.forward", router.get("file")):
            _forwards(it, router, what)
        else:
            out.unsupported(router.where, f"{what}: file = {router.get('file')}", "lists in files of their own; write aliases with :include:")
        return
    found = re.search(r"\$\{lookup\s*\{([^}]*)\}\s*([a-z*@-]*search[*@]*)\s*\{(/[^}]*)\}", data)
    if not found or not found[2].startswith(("lsearch", "wildlsearch", "partial-lsearch")):
        word = "refused or dropped mail" if data.startswith((":fail:", ":blackhole:", ":defer:")) else "aliases that are made by an expansion or a database"
        out.unsupported(router.where, f"{what}: data = {data}", f"{word}; write aliases")
        return
    key, path = found[1], found[3]
    if "$domain" in path:
        directory, _, end = path.partition("$domain")
        domains = it.domains(router.options["domains"]) if "domains" in router.options else [name.removesuffix(end) for name in it.source.names(directory)]
        for domain in domains:
            _ours(it, domain)
            _read_aliases(it, f"{directory}{domain}{end}", domain)
        out.same(router.where, what, f"aliases, from {len(domains)} files")
    elif "$domain" in key:
        if "domains" in router.options and "+local_domains" not in router.get("domains"):
            for domain in it.domains(router.options["domains"]):
                _ours(it, domain)
        _read_aliases(it, path, "@")
        out.same(router.where, what, f"aliases, from {path}")
    else:
        if not it.source.has(path):
            out.same(router.where, what, f"there is no {path}")
            it.idle = True
            return
        _read_aliases(it, path, "")
        out.same(router.where, what, f"aliases, from {path}")


def _ours(it: Reading, domain: str) -> None:
    if domain not in it.local + it.virtual:
        it.virtual.append(domain)


def _read_aliases(it: Reading, path: str, domain: str) -> None:
    """domain: of the names in the file; "@" if they are addresses, "" if they hold in the local domains."""
    for number, name, targets in aliasfile.entries(text(it.source.read(path))):
        where, right = f"{path}:{number}", ", ".join(targets)
        if domain == "@":
            local, at, own = name.rpartition("@")
            if own:
                _ours(it, own.lower()) if at and local in ("", "*") else None
            it.pending.append((where, name.removeprefix("*") if name.startswith("*@") else name, right))
        elif domain:
            it.pending.append((where, f"@{domain}" if name == "*" else f"{name}@{domain}", right))
        else:
            it.pending.append((where, name, right))


def _aliases(it: Reading) -> None:
    out = it.out
    for where, name, right in it.pending:
        targets = aliasfile.targets(right)
        if not targets:
            out.unsupported(where, name, "no alias; write name: target")
            continue
        if name == "*":
            names = [f"@{domain}" for domain in it.local]
        elif "@" in name or not it.virtual or not it.local:
            names = [name]
        else:
            names = [f"{name}@{domain}" for domain in it.local]
        if names and out.alias_each(where, names, [_qualified(it, target) for target in targets]):
            out.same(where, f"{name}: {right}", f"aliases: {', '.join(names)}")


def _qualified(it: Reading, target: str) -> str:
    if "@" in target or target.startswith(("\\", "|", "/", ":", '"')) or it.qualify in it.local or it.qualify == it.host.lower():
        return target
    return f"{target}@{it.qualify}"


def _forwards(it: Reading, router: Block, what: str) -> None:
    out, count = it.out, 0
    for name, uid, home in system_users(it.source):
        path = f"{home.rstrip('/')}/.forward"
        content = text(it.source.read(path)) if uid >= 1000 and home not in ("/", "") else ""
        if re.match(r"#\s*(?:Exim|Sieve) filter", content, re.I):
            out.unsupported(f"{path}:1", name, "a filter of the user; nothing here runs it; mail clients can sort")
            continue
        targets = [f"\\{name}" if target.lstrip("\\").lower() == name.lower() else target for _, target in aliasfile.forward(content)]
        if targets:
            count += 1
            it.pending.append((f"{path}:1", name, ", ".join(targets)))
    out.different(router.where, what, f"users have no .forward here; the {count} there are become aliases, which the admin changes")


def _accept(it: Reading, router: Block, what: str) -> None:
    out, transport = it.out, it.transports.get(router.get("transport"))
    driver = transport.get("driver") if transport else ""
    if router.get("local_part_prefix"):
        out.different(router.where, f"{what}: local_part_prefix = {router.get('local_part_prefix')}", "a name with something before it is nobody here; write an alias")
    elif driver != "appendfile":
        out.unsupported(router.where, what, f"delivered by {router.get('transport') or 'no transport'} ({driver or 'unknown'}); ours delivers into Maildirs"
                        + ("; where they lie pymta-import dovecot says" if "dovecot" in str(transport and transport.options) or driver == "lmtp" else ""))
    elif router.get("check_local_user") == "true":
        _mailboxes(it, transport or Block("", "", ""), what, router)
    else:
        out.unsupported(router.where, what, f"virtual users of the transport {router.get('transport')} ({(transport or router).get('directory') or (transport or router).get('file')}); "
                        "write them into users, or import what holds them (pymta-import dovecot)")


def _mailboxes(it: Reading, transport: Block, what: str, router: Block) -> None:
    directory = transport.get("directory")
    if re.fullmatch(r"\$(?:home|\{home\})/Maildir/?", directory):
        it.out.same(router.where, what, "~/Maildir")
    elif directory:
        it.out.different(transport.where, f"{what}: directory = {directory}", "ours is ~/Maildir: as each user, a link of that name to where the Maildir lies")
    else:
        it.out.different(transport.where, f"{what}: file = {transport.get('file')}", "mail went to mbox files, ours goes to ~/Maildir: convert what is there (mb2md)")
