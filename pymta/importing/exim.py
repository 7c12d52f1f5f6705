"""exim: Debian's update-exim4.conf.conf, or a monolithic configuration, in our words.              pymta-import(8)"""
from __future__ import annotations

import re

from pymta.importing import aliasfile, eximconf, eximdebian, eximtables
from pymta.importing.eximconf import Block, Configuration, Option
from pymta.importing.report import Import
from pymta.importing.source import Source, system_users, text

PLACES: tuple[str, ...] = ("/etc/exim4", "/etc/exim")
_FILES = ("exim4.conf", "exim.conf", "configure")


def is_there(source: Source, directory: str) -> bool:
    return any(source.has(f"{directory}/{name}") for name in (*_FILES, eximdebian.FILE))


def read(source: Source, directory: str = PLACES[0], *, host: str = "localhost", output: bytes | None = None) -> Import:
    """output: what `exim -bP config` printed.  A monolithic file is used before Debian's, as Exim does."""
    path = next((f"{directory}/{name}" for name in _FILES if source.has(f"{directory}/{name}")), "")
    if output is None and not path:
        return eximdebian.read(source, directory, host)
    found = eximconf.read(source, path, None) if output is None else eximconf.read(source, "exim -bP config", output)
    return _Reading(source, found, host).run()


class _Reading:
    def __init__(self, source: Source, found: Configuration, host: str) -> None:
        self.source, self.conf, self.out = source, found, Import()
        self.host = found.get("primary_hostname") or host
        self.done: set[str] = set()
        self.local: list[str] = []
        self.virtual: list[str] = []
        self.idle = False
        self.transports = {block.name: block for block in found.of("transports")}
        for where, what, why in found.problems:
            self.out.unsupported(where, what, why)

    def run(self) -> Import:
        for step in (self.names, self.networks, self.listeners, self.sizes, self.routers, self.acls, self.logins, self.rules, self.rest):
            step()
        self.out.settings.setdefault("local.extension", "")
        if self.virtual:
            self.out.settings["local.virtual_domains"] = ", ".join(self.virtual)
        for path, why in self.source.unreadable.items():
            self.out.unsupported(path, path, f"cannot be read: {why}; run this as root")
        return self.out

    # ---- lists --------------------------------------------------------------------------------------------------------
    def domains(self, option: Option, depth: int = 0) -> list[str]:
        """The domains of a list; what they cannot be told of is told."""
        out: dict[str, None] = {}
        for item in eximconf.items(option.value):
            if item == "@":
                out[self.host.lower()] = None
            elif item in ("@[]", "localhost") or item.startswith("@mx"):
                if item.startswith("@mx"):
                    self.out.unsupported(option.where, f"{option.name}: {item}", "domains whose MX points here; list them")
            elif item.startswith("+") and depth < 5:
                if inner := self.conf.lists.get(f"domainlist {item[1:]}"):
                    out.update(dict.fromkeys(self.domains(inner, depth + 1)))
            elif match := re.fullmatch(r"(?:partial\d*-)?(l|n|wild|ib)search;\s*(/\S+)", item) or re.fullmatch(r"()(/\S+)", item):
                for line in text(self.source.read(match[2])).split("\n"):
                    name = re.split(r"[:\s]", line.strip(), maxsplit=1)[0].lower()
                    if _is_domain(name):
                        out[name] = None
            elif match := re.fullmatch(r"dsearch;\s*(/\S+)", item):
                out.update(dict.fromkeys(name.lower() for name in self.source.names(match[1]) if _is_domain(name)))
            elif _is_domain(item.lower()):
                out[item.lower()] = None
            else:
                self.out.unsupported(option.where, f"{option.name}: {item}", "not a plain domain; list what is meant by hand")
        return list(out)

    def names(self) -> None:
        out, conf = self.out, self.conf
        if option := conf.main.get("primary_hostname"):
            out.set(option.where, str(option), "host.name", option.value)
        qualify = conf.get("qualify_recipient") or conf.get("qualify_domain") or self.host
        if qualify.startswith("/"):
            qualify = text(self.source.read(qualify)).split("\n")[0].strip() or self.host
        self.qualify = qualify.lower()
        if option := conf.lists.get("domainlist local_domains"):
            self.local = sorted(self.domains(option), key=lambda domain: domain != self.qualify)
            self.local_option = option
            out.set(option.where, str(option), "local.domains", ", ".join(self.local))
        else:
            self.local_option = Option("domainlist local_domains", "", "default")
            out.different("default", "no domainlist local_domains", "this program looks for the list of this name; write local.domains by hand")
        if self.qualify not in self.local and self.qualify != self.host.lower():
            where = conf.main.get("qualify_recipient") or conf.main.get("qualify_domain") or self.local_option
            out.different(where.where, str(where), f"a bare name was one at {self.qualify}; here it is a user of this host: local.admin = root@{self.qualify}; write aliases for others")
            out.settings.setdefault("local.admin", f"root@{self.qualify}")
        if option := conf.lists.get("domainlist relay_to_domains"):
            domains = [domain for domain in self.domains(option) if domain not in self.local]
            if domains and out.set(option.where, str(option), "local.relay_domains", ", ".join(domains)):
                for domain in domains:
                    out.relay_recipient(option.where, f"@{domain}")
                out.different(option.where, str(option), "everybody in them is taken (relay_recipients: @domain); Exim may have asked the other host; list the addresses where you can")
        for name, option in conf.lists.items():
            if name not in ("domainlist local_domains", "domainlist relay_to_domains", "hostlist relay_from_hosts"):
                self.done.add(name)

    def networks(self) -> None:
        option = self.conf.lists.get("hostlist relay_from_hosts")
        if not option:
            self.out.same("default", "no hostlist relay_from_hosts", "smtp.relay_from is empty: nobody relays without a login")
            return
        found = []
        for item in eximconf.items(option.value):
            if item == "localhost":
                found += ["127.0.0.0/8", "::1/128"]
            elif re.fullmatch(r"[0-9a-fA-F:.]+(?:/\d+)?", item) and ("." in item or ":" in item):
                found.append(item)
            elif item not in ("@[]", "@"):
                self.out.unsupported(option.where, f"{option.name}: {item}", "not a network; list networks in smtp.relay_from")
        self.out.set(option.where, str(option), "smtp.relay_from", " ".join(found))

    def listeners(self) -> None:
        out, conf = self.out, self.conf
        ports = eximconf.items(conf.get("daemon_smtp_ports") or conf.get("daemon_smtp_port") or "smtp")
        option = conf.main.get("local_interfaces") or conf.main.get("daemon_smtp_ports")
        if option:
            eximdebian.listen(out, option.where, str(option), eximconf.items(conf.get("local_interfaces")), ports)
        for name in ("tls_certificate", "tls_privatekey"):
            if (one := conf.main.get(name)) and (not one.value.startswith("/") or not self.source.has(one.value)):
                out.different(one.where, str(one), "there is no such file; set tls.certificate and tls.key when there is one; until then ours makes its own"
                              if one.value.startswith("/") else "a certificate chosen by name: put each with its key into a directory below ETC/tls")
                return
        if one := conf.main.get("tls_certificate"):
            out.settings["tls.key"] = conf.get("tls_privatekey") or one.value
            out.set(one.where, str(one), "tls.certificate", one.value)

    def sizes(self) -> None:
        out, conf = self.out, self.conf
        if option := conf.main.get("message_size_limit"):
            if option.value.lstrip("0"):
                out.set(option.where, str(option), "queue.size_max", option.value.upper())
            else:
                out.set(option.where, str(option), "queue.size_max", "1G", "there is always a limit")
        for name, (ours, default) in eximtables.COPIED.items():
            self.done.add(name)
            if (one := conf.main.get(name)) and one.value != default:
                value = eximconf.items(one.value)[0] if name == "delay_warning" and eximconf.items(one.value) else one.value
                out.set(one.where, str(one), ours, value, "smtp.recipients_max" if value == "0" else "")

    # ---- routers ------------------------------------------------------------------------------------------------------
    def routers(self) -> None:
        self.pending: list[tuple[str, str, str]] = []       # aliases of local names, until all virtual domains are known
        for router in self.conf.of("routers"):
            self.idle = False                               # whether the router has nothing to work with
            if value := router.get("local_part_suffix"):
                self.out.set(router.where, f"router {router.name}: local_part_suffix = {value}", "local.extension",
                             "".join(dict.fromkeys(re.findall(r"(?:^|:)\s*([-+_.=])\*", value))))
            what = f"router {router.name} ({router.get('driver') or 'no driver'})"
            if any(router.options[name].value == "" for name in ("domains", "senders", "local_parts") if name in router.options):
                continue                                    # a list without items: it is never used
            match router.get("driver"):
                case "dnslookup":
                    self.out.same(router.where, what, "by MX")
                case "ipliteral":
                    self.out.same(router.where, what, "mail for [address] is sent there")
                case "manualroute":
                    self._manual(router, what)
                case "redirect":
                    self._redirect(router, what)
                case "accept":
                    self._accept(router, what)
                case _:
                    self.out.unsupported(router.where, what, "nothing here routes that way")
            if (condition := router.get("condition") or router.get("senders")) and not router.get("local_part_prefix") and not self.idle:
                self.out.unsupported(router.where, f"{what}: {condition}", "a condition on this router; here it holds always")
        self._aliases()

    def _port(self, router: Block) -> str:
        transport = self.transports.get(router.get("transport"))
        port = transport.get("port") if transport else ""
        return {"smtp": "25", "submission": "587", "smtps": "465", "": "25"}.get(port, port)

    def _manual(self, router: Block, what: str) -> None:
        out = self.out
        transport = self.transports.get(router.get("transport"))
        lmtp = transport is not None and (transport.get("driver") == "lmtp" or transport.get("protocol") == "lmtp")
        if transport is not None and (transport.get("hosts_require_auth") or transport.get("hosts_try_auth")):
            out.unsupported(transport.where, f"transport {transport.name}: hosts_require_auth", "logged in at the other host; nothing here does; let it take mail from this host's address")
        if transport is not None and transport.get("protocol") == "smtps":
            out.unsupported(transport.where, f"transport {transport.name}: protocol = smtps", "TLS from the first byte to the other host; use its port 587 or 25 with STARTTLS")
        routes: list[tuple[str, str, str]] = []
        if data := router.options.get("route_data"):
            found = re.search(r"\$\{lookup\s*\{\$domain\}\s*(?:partial\d*-)?lsearch\*?\s*\{(/[^}]*)\}", data.value)
            if found:
                for number, line in enumerate(text(self.source.read(found[1])).split("\n"), 1):
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
        only = [] if "!" in router.get("domains") or router.get("domains") in ("", "*") else self.domains(router.options["domains"])
        for where, pattern, rest in routes:
            hosts = eximconf.items(re.split(r"\s+(?:byname|bydns|randomize|no_randomize|ipv4_only)\b", f"{rest} ")[0].strip().strip('"'))
            if not hosts or "$" in rest:
                out.unsupported(where, f"{what}: {pattern} {rest}", "a route made by an expansion; write it into transports")
                continue
            match = re.fullmatch(r"(\[[^\]]+\]|[^:\s]+|[0-9a-fA-F:]+)(?::(\d+))?", hosts[0])
            host, port = (match[1], match[2] or self._port(router)) if match else (hosts[0], self._port(router))
            host = host[1:-1] if host.startswith("[") and ":" not in host else host
            note = f"only {host} is asked, not {', '.join(hosts[1:])}" if len(hosts) > 1 else ""
            for one in only if pattern == "*" and only else [pattern]:
                if one in ("*", "!+local_domains") and not lmtp:
                    out.set(where, f"{what}: {pattern} {rest}", "remote.smarthost", f"{host}:{port}", note)
                elif one.startswith("*."):
                    out.transport(where, f"{what}: {pattern} {rest}", one[1:], f"{'lmtp:' if lmtp else ''}{host}:{port}", note)
                elif one in self.local:
                    out.unsupported(where, f"{what}: {one} {rest}", f"{one} is ours, so its mail stays here; take it out of local.domains, and add it to local.relay_domains")
                else:
                    out.transport(where, f"{what}: {pattern} {rest}", one, f"{'lmtp:' if lmtp else ''}{host}:{port}", note)

    def _redirect(self, router: Block, what: str) -> None:
        out, data = self.out, re.sub(r"\$(domain|local_part)_data\b|\$\{(domain|local_part)(?:_data)?\}", lambda match: f"${match[1] or match[2]}", router.get("data"))
        if router.get("file"):
            if re.fullmatch(r"\$(?:home|\{home\})/\.forward", router.get("file")):
                self._forwards(router, what)
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
            domains = self.domains(router.options["domains"]) if "domains" in router.options else [name.removesuffix(end) for name in self.source.names(directory)]
            for domain in domains:
                self._ours(domain)
                self._read_aliases(f"{directory}{domain}{end}", domain)
            out.same(router.where, what, f"aliases, from {len(domains)} files")
        elif "$domain" in key:
            if "domains" in router.options and "+local_domains" not in router.get("domains"):
                for domain in self.domains(router.options["domains"]):
                    self._ours(domain)
            self._read_aliases(path, "@")
            out.same(router.where, what, f"aliases, from {path}")
        else:
            if not self.source.has(path):
                out.same(router.where, what, f"there is no {path}")
                self.idle = True
                return
            self._read_aliases(path, "")
            out.same(router.where, what, f"aliases, from {path}")

    def _ours(self, domain: str) -> None:
        if domain not in self.local + self.virtual:
            self.virtual.append(domain)

    def _read_aliases(self, path: str, domain: str) -> None:
        """domain: of the names in the file; "@" if they are addresses, "" if they hold in the local domains."""
        for number, name, targets in aliasfile.entries(text(self.source.read(path))):
            where, right = f"{path}:{number}", ", ".join(targets)
            if domain == "@":
                local, at, own = name.rpartition("@")
                if own:
                    self._ours(own.lower()) if at and local in ("", "*") else None
                self.pending.append((where, name.removeprefix("*") if name.startswith("*@") else name, right))
            elif domain:
                self.pending.append((where, f"@{domain}" if name == "*" else f"{name}@{domain}", right))
            else:
                self.pending.append((where, name, right))

    def _aliases(self) -> None:
        out = self.out
        for where, name, right in self.pending:
            targets = aliasfile.targets(right)
            if not targets:
                out.unsupported(where, name, "no alias; write name: target")
                continue
            if name == "*":
                names = [f"@{domain}" for domain in self.local]
            elif "@" in name or not self.virtual or not self.local:
                names = [name]
            else:
                names = [f"{name}@{domain}" for domain in self.local]
            if names and out.alias_each(where, names, [self._qualified(target) for target in targets]):
                out.same(where, f"{name}: {right}", f"aliases: {', '.join(names)}")

    def _qualified(self, target: str) -> str:
        if "@" in target or target.startswith(("\\", "|", "/", ":", '"')) or self.qualify in self.local or self.qualify == self.host.lower():
            return target
        return f"{target}@{self.qualify}"

    def _forwards(self, router: Block, what: str) -> None:
        out, count = self.out, 0
        for name, uid, home in system_users(self.source):
            path = f"{home.rstrip('/')}/.forward"
            content = text(self.source.read(path)) if uid >= 1000 and home not in ("/", "") else ""
            if re.match(r"#\s*(?:Exim|Sieve) filter", content, re.I):
                out.unsupported(f"{path}:1", name, "a filter of the user; nothing here runs it; mail clients can sort")
                continue
            targets = [f"\\{name}" if target.lstrip("\\").lower() == name.lower() else target for _, target in aliasfile.forward(content)]
            if targets:
                count += 1
                self.pending.append((f"{path}:1", name, ", ".join(targets)))
        out.different(router.where, what, f"users have no .forward here; the {count} there are become aliases, which the admin changes")

    def _accept(self, router: Block, what: str) -> None:
        out, transport = self.out, self.transports.get(router.get("transport"))
        driver = transport.get("driver") if transport else ""
        if router.get("local_part_prefix"):
            out.different(router.where, f"{what}: local_part_prefix = {router.get('local_part_prefix')}", "a name with something before it is nobody here; write an alias")
        elif driver != "appendfile":
            out.unsupported(router.where, what, f"delivered by {router.get('transport') or 'no transport'} ({driver or 'unknown'}); ours delivers into Maildirs"
                            + ("; where they lie pymta-import dovecot says" if "dovecot" in str(transport and transport.options) or driver == "lmtp" else ""))
        elif router.get("check_local_user") == "true":
            self._mailboxes(transport or Block("", "", ""), what, router)
        else:
            out.unsupported(router.where, what, f"virtual users of the transport {router.get('transport')} ({(transport or router).get('directory') or (transport or router).get('file')}); "
                            "write them into users, or import what holds them (pymta-import dovecot)")

    def _mailboxes(self, transport: Block, what: str, router: Block) -> None:
        directory = transport.get("directory")
        if re.fullmatch(r"\$(?:home|\{home\})/Maildir/?", directory):
            self.out.same(router.where, what, "~/Maildir")
        elif directory:
            self.out.different(transport.where, f"{what}: directory = {directory}", "ours is ~/Maildir: as each user, a link of that name to where the Maildir lies")
        else:
            self.out.different(transport.where, f"{what}: file = {transport.get('file')}", "mail went to mbox files, ours goes to ~/Maildir: convert what is there (mb2md)")

    # ---- the rest -----------------------------------------------------------------------------------------------------
    def acls(self) -> None:
        used = {option.value: option for name, option in self.conf.main.items() if name.startswith("acl_")}
        self.done |= {name for name in self.conf.main if name.startswith("acl_")}
        for block in self.conf.of("acl"):
            asked = block.name in used
            for statement in block.statements:
                shown = " ".join(map(str, statement))
                where = statement[0].where
                if asked or not used:
                    self._statement(where, f"acl {block.name}: {shown}", statement)
                else:
                    self.out.unsupported(where, f"acl {block.name}: {shown}", "asked by other checks; nothing here does")

    def _statement(self, where: str, what: str, statement: list[Option]) -> None:
        conditions = {one.name.lstrip("!").strip(): one.value for one in statement[1:] if one.name not in ("message", "log_message", "logwrite", "endpass", "set acl_m_x")
                      and not (one.name == "control" and one.value.startswith(("submission", "dkim_disable_verify")))}
        verb = statement[0].name
        if not conditions and verb in ("accept", "warn") or any(conditions.get(name) == "" for name in ("hosts", "senders", "recipients", "domains")):
            return                                          # says nothing, or never holds
        if verb == "accept" and set(conditions) <= {"hosts", "authenticated", "local_parts", "domains", "verify", "encrypted"} and not any(
                "$" in value for value in conditions.values()) and "callout" not in conditions.get("verify", ""):
            self.out.same(where, what, "nobody relays but by login or smtp.relay_from; who is not there is refused at RCPT")
        elif verb == "require" and (set(conditions) == {"domains"} or conditions == {"verify": "recipient"} or conditions == {"verify": "header_syntax"}):
            self.out.same(where, what, "nobody relays but by login or smtp.relay_from; who is not there is refused at RCPT")
        elif verb == "deny" and set(conditions) == {"domains", "local_parts"}:
            self.out.same(where, what, "such names are nobody's; there is no percent hack and no bang path")
        elif verb == "deny" and set(conditions) == {"condition"} and "max_received_linelength" in conditions["condition"]:
            self.out.different(where, what, "long lines are taken")
        else:
            told = next((told for word, told in eximtables.ACL if word in conditions), "a rule of your own; nothing here does it; put a filter before this host")
            self.out.unsupported(where, what, told)

    def logins(self) -> None:
        for block in self.conf.of("authenticators"):
            what = f"authenticator {block.name} ({block.get('driver')})"
            if block.get("client_send") or block.get("client_name") or block.get("client_secret"):
                self.out.unsupported(block.where, what, "logged in at other hosts; nothing here does")
            elif block.get("driver") == "dovecot":
                self.out.different(block.where, what, "logins are checked against passwords: pymta-import dovecot brings them")
            elif block.get("driver") == "plaintext":
                self.out.different(block.where, what, "logins are taken on 587 and 465, and checked against passwords (PLAIN, LOGIN): pymta-passwd NAME")
            else:
                self.out.unsupported(block.where, what, "logins here are PLAIN and LOGIN, under TLS; set that in mail clients which used this")

    def rules(self) -> None:
        for section, where, line in self.conf.rules:
            table = re.search(r"lsearch\{(/[^{}]*)\}", line)
            if section == "rewrite" and table and not [1 for row in text(self.source.read(table[1])).split("\n") if row.strip() and not row.startswith("#")]:
                self.out.same(where, f"rewrite: {line}", f"nothing stands in {table[1]}")
                continue
            if section == "rewrite":
                self.out.unsupported(where, f"rewrite: {line}", "rewrote addresses; here they stay as they are; let programs and mail clients write the right ones")
                continue
            words = line.split(None, 2)
            last = re.findall(r"[FG],\s*(\d+[smhdw](?:\d+[smhdw])?)\s*,", line)
            if words[:2] == ["*", "*"] and last and re.fullmatch(r"\d+[smhdw]", last[-1]):
                self.out.set(where, f"retry: {line}", "queue.lifetime", last[-1], "how long; the steps are those of queue.retry")
            else:
                self.out.different(where, f"retry: {line}", "a rule for some hosts or errors; here queue.retry and queue.lifetime hold for all")

    def rest(self) -> None:
        for name, option in self.conf.main.items():
            if name in self.done:
                continue
            if name in eximtables.TOLD:
                verdict, told = eximtables.TOLD[name]
                self.out.rows_for(verdict)(option.where, str(option), told)
            elif name in eximtables.NEEDLESS:
                self.out.same(option.where, str(option), "nothing here has to be told, or it is told above")
            else:
                self.out.unsupported(option.where, str(option), "this program does not know what becomes of it")


def _is_domain(name: str) -> bool:
    return bool(re.fullmatch(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?", name)) and not name.replace(".", "").isdigit()

