"""postfix: main.cf, its tables and master.cf in our words.                                   pymta-import(8)"""
from __future__ import annotations

import re

from pymta.importing import aliasfile, postfixconf, postfixmaps, postfixtables
from pymta.importing.postfixconf import Service, Values
from pymta.importing.postfixmaps import Table
from pymta.importing.report import Import
from pymta.importing.source import Source, system_users, text

PLACES: tuple[str, ...] = ("/etc/postfix",)
SERVICES = {"smtp": "25", "submission": "587", "submissions": "465", "smtps": "465", "lmtp": "24"}
_OWN_SERVICES = {"smtp", "submission", "submissions", "smtps"}


def read(source: Source, directory: str = PLACES[0], *, host: str = "localhost", output: bytes | None = None) -> Import:
    """host: the name of this host, where main.cf does not say; output: what `postconf -n` printed, instead of main.cf."""
    return _Reading(source, directory, host, output).run()


def is_there(source: Source, directory: str) -> bool:
    return source.has(f"{directory}/main.cf")


class _Reading:
    def __init__(self, source: Source, directory: str, host: str, output: bytes | None) -> None:
        self.source, self.directory, self.out = source, directory, Import()
        path = f"{directory}/main.cf"
        given, bad = postfixconf.main_cf(text(output if output is not None else source.read(path)), path if output is None else "postconf -n")
        for number, line in bad:
            self.out.unsupported(f"{path}:{number}", line, "no setting; Postfix ignores it or refuses to start")
        defaults = {**postfixtables.DEFAULTS, "myhostname": host, "config_directory": directory}
        self.values = Values(given, defaults)
        name = self.values.get("myhostname")
        defaults["mydomain"] = name.partition(".")[2] or "localdomain"
        self.services = postfixconf.master_cf(text(source.read(f"{directory}/master.cf")), f"{directory}/master.cf")
        self.done: set[str] = set()
        self.local: list[str] = []                          # mydestination, without localhost
        self.virtual: list[str] = []
        self.mailboxes: set[str] = set()

    def run(self) -> Import:
        for step in (self.names, self.networks, self.virtual_domains, self.local_aliases, self.virtual_aliases, self.mailbox_users, self.mailbox_format,
                     self.forwards, self.relay, self.way_out, self.transports, self.sizes, self.tls, self.logins, self.interfaces, self.restrictions,
                     self.copied, self.master, self.rest):
            step()
        return self.out

    # ---- questions ----------------------------------------------------------------------------------------------------
    def given(self, *names: str) -> bool:
        """Whether one of them is set; they are then no more for the rest."""
        self.done.update(names)
        return any(name in self.values.given for name in names)

    def what(self, name: str) -> str:
        parameter = self.values.given.get(name)
        return f"{name} = {parameter.value}" if parameter else f"{name} (default)"

    def at(self, name: str) -> tuple[str, str]:
        return self.values.where(name), self.what(name)

    def table(self, name: str, *, aliases: bool = False) -> Table:
        """The tables that a setting names; those that cannot be read are told."""
        self.done.add(name)
        where = self.values.where(name)
        table = postfixmaps.read(self.source, self.values.list(name), self.directory, where, aliases=aliases)
        for which, why in table.problems:
            if where != "default" or "cannot" in why:
                self.out.unsupported(where, f"{name}: {which}", f"{why}; let it print what it holds, and put that into our files")
        return table

    def names_in(self, name: str) -> list[str]:
        """The domains of a list, which may name files and tables."""
        found: dict[str, None] = {}
        where = self.values.where(name)
        self.done.add(name)
        for item in self.values.list(name):
            if item.startswith("/"):
                for line in text(self.source.read(item)).split("\n"):
                    found.update(dict.fromkeys(postfixconf.items(line.partition("#")[0].lower())))
            elif ":" in item and not item.startswith("["):
                table = postfixmaps.read(self.source, [item], self.directory, where)
                found.update(dict.fromkeys(key for key in table.entries if "@" not in key))
                for which, why in table.problems:
                    if where != "default":
                        self.out.unsupported(where, f"{name}: {which}", f"{why}; list its domains by hand")
            elif item.startswith("!"):
                self.out.unsupported(where, f"{name}: {item}", "an exception from what follows; list what is meant by hand")
            elif not item.startswith("["):                  # [1.2.3.4]: literals of this host are ours anyway
                found[item.lower().rstrip(".")] = None
        return [domain for domain in found if _is_domain(domain)]

    # ---- who we are ---------------------------------------------------------------------------------------------------
    def names(self) -> None:
        values, out = self.values, self.out
        host = values.get("myhostname")
        if self.given("myhostname", "mydomain") and "myhostname" in values.given:
            out.set(*self.at("myhostname"), "host.name", host)
        origin = values.get("myorigin")
        if origin.startswith("/"):
            origin = text(self.source.read(origin)).split("\n")[0].strip() or host
        self.origin = origin.lower()
        self.local = [domain for domain in self.names_in("mydestination") if domain != "localhost"]
        explicit = "mydestination" in values.given
        if self.origin in self.local:
            self.local.sort(key=lambda domain: domain != self.origin)
        self.given("myorigin")
        if explicit or self.local:
            out.set(*self.at("mydestination"), "local.domains", ", ".join(self.local))
        if explicit and host.lower() not in self.local:
            out.different(*self.at("mydestination"), f"{host.lower()}, the name of this host, is always local here: its system users get mail; "
                          "local.system_users = no leaves them without")
        if "myorigin" in values.given and self.origin in self.local:
            out.same(*self.at("myorigin"), "the first of local.domains")
        elif self.origin not in self.local and self.origin != host.lower():
            out.different(*self.at("myorigin"), f"mail for a bare name (root, cron's mail) went to NAME@{self.origin}; here it is local: "
                          f"local.admin = root@{self.origin}; write aliases for others")
            out.settings.setdefault("local.admin", f"root@{self.origin}")
        delimiter = values.get("recipient_delimiter")
        out.settings["local.extension"] = "".join(dict.fromkeys(delimiter))
        if self.given("recipient_delimiter"):
            out.set(*self.at("recipient_delimiter"), "local.extension", "".join(dict.fromkeys(delimiter)))
        else:
            out.same("default", "recipient_delimiter =", "local.extension is empty: user+anything is nobody")

    def networks(self) -> None:
        values, out = self.values, self.out
        lists = [*values.list("smtpd_relay_restrictions"), *values.list("smtpd_recipient_restrictions")]
        found = []
        if self.given("mynetworks"):
            for item in values.list("mynetworks"):
                if item.startswith(("/", "!")) or re.match(r"[a-z]+:", item) and not item.startswith("["):
                    if item.startswith("/"):
                        found += [word for line in text(self.source.read(item)).split("\n") for word in line.partition("#")[0].split()]
                    else:
                        out.unsupported(values.where("mynetworks"), f"mynetworks: {item}", "a table or an exception; list the networks in smtp.relay_from")
                else:
                    found.append(item)
        else:
            found = ["127.0.0.0/8", "[::1]/128"]
        if "permit_mynetworks" not in lists:
            out.same(*self.at("mynetworks"), "smtp.relay_from is empty: nobody relays without a login, for permit_mynetworks stands in no list")
            return
        networks = [word.replace("[", "").replace("]", "") for word in found]
        out.set(*self.at("mynetworks"), "smtp.relay_from", " ".join(networks))

    # ---- who is here --------------------------------------------------------------------------------------------------
    def virtual_domains(self) -> None:
        out = self.out
        self.alias_table = self.table("virtual_alias_maps") if self.values.list("virtual_alias_maps") else Table()
        self.box_table = self.table("virtual_mailbox_maps") if self.values.list("virtual_mailbox_maps") else Table()
        for name in ("virtual_alias_domains", "virtual_mailbox_domains"):
            domains = [domain for domain in self.names_in(name) if domain not in self.local]
            if twice := [domain for domain in self.names_in(name) if domain in self.local]:
                out.different(*self.at(name), f"{', '.join(twice)}: in mydestination too, and so local here; take it out of one of them")
            fresh = [domain for domain in domains if domain not in self.virtual]
            self.virtual += fresh
            if name in self.values.given:
                out.same(*self.at(name), f"local.virtual_domains: {', '.join(fresh) or 'nothing'}")
            elif fresh:
                out.same(self.values.where(name.replace("domains", "maps")), f"domains in {name.replace('domains', 'maps')}",
                         f"local.virtual_domains: {', '.join(fresh)}")
        if self.virtual:
            out.settings["local.virtual_domains"] = ", ".join(self.virtual)

    def qualified(self, target: str) -> str:
        """A bare name on the right side, as it is meant here."""
        if "@" in target or target.startswith(("\\", "|", "/", ":", '"|', '"/', '":')):
            return target
        return target if self.origin in self.local else f"{target}@{self.origin}"

    def local_aliases(self) -> None:
        if not self.given("alias_maps") and not self.source.has("/etc/aliases"):
            return
        table = self.table("alias_maps", aliases=True)
        out = self.out
        for entry in table.entries.values():
            if not entry.value:
                out.unsupported(entry.where, entry.key, "no alias; write name: target")
                continue
            if entry.key.lower().startswith("owner-"):
                out.different(entry.where, f"{entry.key}: {entry.value}", f"returns of mail to {entry.key[6:]} went there; here they go to who wrote the mail")
            targets = [self.qualified(target) for target in aliasfile.targets(entry.value)]
            # a bare name holds in every domain here, in local ones alone there
            names = [f"{_quoted(entry.key)}@{domain}" for domain in self.local] if self.virtual and self.local else [_quoted(entry.key)]
            if out.alias_each(entry.where, names, targets):
                out.same(entry.where, f"{entry.key}: {entry.value}", f"aliases: {', '.join(names)}")
            for target in targets:
                if target.lower().startswith(":include:"):
                    out.different(entry.where, f"{entry.key}: {target}", "pymta-smtpd and pymta-qrun must be able to read the list, "
                                  "and nobody but its owner may write it")
        if table.static is not None:
            out.unsupported(*self.at("alias_maps"), "a table that answers the same for every name; write aliases")

    def virtual_aliases(self) -> None:
        out = self.out
        for entry in self.alias_table.entries.values():
            key, targets = entry.key, [self.qualified(target) for target in aliasfile.targets(entry.value.replace(" ", ",") if "," not in entry.value
                                                                                              and '"' not in entry.value else entry.value)]
            local, at, domain = key.lower().rpartition("@")
            if not at:
                if key.lower() in self.virtual or "." in key and not targets:
                    continue                                # the mark of a virtual alias domain
                names = [f"{key}@{one}" for one in dict.fromkeys([self.origin, *self.local])] if self.virtual else [key]
                if out.alias_each(entry.where, names, targets):
                    out.same(entry.where, f"{key} {entry.value}", f"aliases: {', '.join(names)}")
            elif not local and any(target.startswith("@") for target in targets):
                out.unsupported(entry.where, f"{key} {entry.value}", f"gave every name in {domain} the same name in another domain; "
                                "write an alias for each address, or one catch-all to one person")
            elif not local and domain not in self.local + self.virtual:
                out.unsupported(entry.where, f"{key} {entry.value}", f"took mail for all of {domain}, which is not ours; add it to local.virtual_domains "
                                f"and write the alias {key}")
            else:
                out.alias(entry.where, key, targets)
        if self.alias_table.static is not None:
            out.unsupported(*self.at("virtual_alias_maps"), "a table that answers the same for every address; write aliases")

    def mailbox_users(self) -> None:
        values, out = self.values, self.out
        self.given("virtual_mailbox_base", "virtual_uid_maps", "virtual_gid_maps", "virtual_transport", "virtual_minimum_uid")
        uids, gids = self.table("virtual_uid_maps"), self.table("virtual_gid_maps")
        base, transport = values.get("virtual_mailbox_base"), values.get("virtual_transport")
        elsewhere = transport.partition(":")[0] != "virtual"
        if elsewhere:
            verdict = out.different if "dovecot" in transport or transport.startswith("lmtp") else out.unsupported
            verdict(*self.at("virtual_transport"), "another program delivered; ours does it itself, into the Maildir of each user; where that lies "
                    "pymta-import dovecot says" if verdict == out.different else "another program delivered; ours delivers into Maildirs, and runs no program")
        for entry in self.box_table.entries.values():
            local, at, domain = entry.key.rpartition("@")
            if not at:
                continue
            if not local:
                out.unsupported(entry.where, entry.key, f"a mailbox for everybody in {domain}; make a user and the alias @{domain}: user")
                continue
            if elsewhere:
                out.user(entry.where, entry.key)
                self.mailboxes.add(entry.key.lower())
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
            if out.user(entry.where, entry.key, uids.get(entry.key) or "", gids.get(entry.key) or "", home):
                self.mailboxes.add(entry.key.lower())
        if not self.box_table.entries and values.list("virtual_mailbox_maps") and not self.box_table.problems:
            out.same(*self.at("virtual_mailbox_maps"), "nobody stands there")

    def mailbox_format(self) -> None:
        values, out = self.values, self.out
        home = values.get("home_mailbox")
        self.given("home_mailbox", "mailbox_command", "mailbox_transport", "local_transport")
        for name in ("mailbox_command", "mailbox_transport", "local_transport"):
            value = values.get(name)
            if name not in values.given or not value or value.startswith("local:"):
                continue
            if "dovecot" in value or "deliver" in value or value.startswith("lmtp"):
                out.different(*self.at(name), "another program delivered; ours does it itself; where each Maildir lies pymta-import dovecot says")
            else:
                out.unsupported(*self.at(name), "a program delivered (and perhaps sorted or checked) the mail; ours puts it into ~/Maildir")
            return
        if not self.local:
            return
        if home == "Maildir/":
            out.same(*self.at("home_mailbox"), "~/Maildir")
        elif home.endswith("/"):
            out.different(*self.at("home_mailbox"), f"the Maildir of each user was ~/{home.rstrip('/')}, ours is ~/Maildir: as each user: "
                          f"ln -s {home.rstrip('/')} Maildir")
        elif home:
            out.different(*self.at("home_mailbox"), f"mail went to the mbox file ~/{home}, ours goes to ~/Maildir: convert what is there (mb2md)")
        else:
            out.different(*self.at("home_mailbox"), f"mail went to mbox files in {values.get('mail_spool_directory')}, ours goes to ~/Maildir: "
                          "convert what is there (mb2md)")

    def forwards(self) -> None:
        """.forward files of the system's users become aliases."""
        out = self.out
        if not self.local or self.values.get("local_transport").partition(":")[0] != "local":
            return
        for name, uid, home in system_users(self.source):
            path = f"{home.rstrip('/')}/.forward"
            data = self.source.read(path) if uid >= 1000 and home not in ("/", "") else None
            found = aliasfile.forward(text(data))
            if not found:
                continue
            targets = [f"\\{name}" if target.lstrip("\\").lower() == name.lower() else self.qualified(target) for _, target in found]
            names = [f"{name}@{domain}" for domain in self.local] if self.virtual else [name]
            if names[0].lower() in out.aliases:
                out.different(f"{path}:1", name, "an alias has this name already; write into it what the .forward says")
            elif out.alias_each(f"{path}:1", names, targets):
                out.different(f"{path}:1", ", ".join(target for _, target in found), f"now the alias {names[0]}, which the admin changes, not {name}")

    # ---- mail for elsewhere -------------------------------------------------------------------------------------------
    def relay(self) -> None:
        values, out = self.values, self.out
        domains = [domain for domain in self.names_in("relay_domains") if domain not in self.local + self.virtual]
        if not domains:
            self.given("relay_recipient_maps", "relay_transport")
            return
        out.set(*self.at("relay_domains"), "local.relay_domains", ", ".join(domains))
        if "relay_domains" in values.get("parent_domain_matches_subdomains"):
            out.different(*self.at("relay_domains"), "domains below them were taken too; list those that get mail in local.relay_domains")
        table = self.table("relay_recipient_maps")
        if not self.given("relay_recipient_maps") or not values.list("relay_recipient_maps"):
            for domain in domains:
                out.relay_recipient(values.where("relay_domains"), f"@{domain}")
            out.different(*self.at("relay_domains"), "everybody in them is taken (relay_recipients: @domain), as before; list the addresses where you can")
            return
        for entry in table.entries.values():
            if entry.key.rpartition("@")[2].lower() not in domains:
                out.different(entry.where, entry.key, "not in a domain of relay_domains, and so never used")
            else:
                out.relay_recipient(entry.where, entry.key)
        out.same(*self.at("relay_recipient_maps"), f"relay_recipients: {len(out.relay_recipients)} addresses")
        for domain in domains:
            if not any(name.endswith(f"@{domain}") for name in out.relay_recipients):
                out.different(*self.at("relay_recipient_maps"), f"nobody in {domain} is known: all its mail is refused; add addresses to relay_recipients")
        if (transport := values.get("relay_transport")).partition(":")[0] not in ("relay", "smtp"):
            out.unsupported(*self.at("relay_transport"), f"mail for these domains went by {transport}; write transports")
        self.given("relay_transport")

    def way_out(self) -> None:
        values, out = self.values, self.out
        relay = values.get("relayhost")
        if self.given("relayhost") and relay:
            host, port, mx = _next_hop(relay)
            out.set(*self.at("relayhost"), "remote.smarthost", f"{host}:{port}",
                    f"the host itself is asked; Postfix asked the MX of {host}" if mx and not _is_literal(host) else "")
        self.given("smtp_sasl_auth_enable", "smtp_sasl_security_options", "smtp_sasl_tls_security_options", "smtp_sasl_mechanism_filter")
        if values.get("smtp_sasl_auth_enable") == "yes":
            table = self.table("smtp_sasl_password_maps")
            out.unsupported(*self.at("smtp_sasl_auth_enable"), f"logged in at {len(table.entries)} other hosts before sending; nothing here does; let the smarthost "
                            "take mail from this host's address")
        self.given("smtp_sasl_password_maps")
        if self.given("smtp_tls_wrappermode") and values.get("smtp_tls_wrappermode") == "yes":
            out.unsupported(*self.at("smtp_tls_wrappermode"), "spoke TLS from the first byte to the smarthost; use its port 587 or 25 with STARTTLS")
        if self.given("smtp_tls_security_level"):
            level = values.get("smtp_tls_security_level")
            if level in ("may", "none", ""):
                out.set(*self.at("smtp_tls_security_level"), "remote.tls", "may" if level == "may" else "never")
            else:
                out.unsupported(*self.at("smtp_tls_security_level"), "refused to send without TLS (or a checked name); here TLS is used wherever it is offered, no more")
        if self.given("default_transport") and values.get("default_transport").partition(":")[0] != "smtp":
            out.unsupported(*self.at("default_transport"), "mail for other hosts went another way than SMTP; '*' in transports knows smtp and lmtp")

    def transports(self) -> None:
        out = self.out
        if not self.given("transport_maps"):
            return
        table = self.table("transport_maps")
        ours = set(self.local + self.virtual + ["localhost"])
        for entry in table.entries.values():
            pattern, what = entry.key.lower(), f"{entry.key} {entry.value}"
            name, _, hop = entry.value.partition(":")
            if "@" in pattern:
                out.unsupported(entry.where, what, "a way for one address; here the domain decides; write an alias to an address in a domain of its own")
            elif pattern in ours:
                if name in ("local", "virtual") or not name and not hop:
                    out.same(entry.where, what, "the domain is ours")
                else:
                    out.unsupported(entry.where, what, f"{pattern} is ours, so its mail stays here; take it out of local.domains or local.virtual_domains, "
                                    "add it to local.relay_domains and relay_recipients, and write it into transports")
            elif name in ("smtp", "relay", ""):
                if not hop:
                    out.transport(entry.where, what, pattern, "mx")
                    continue
                host, port, mx = _next_hop(hop)
                note = f"{host} itself is asked; Postfix asked its MX" if mx and not _is_literal(host) else ""
                out.transport(entry.where, what, pattern, f"{host}:{port}", note)
            elif name == "lmtp" and not hop.startswith("unix:"):
                host, port, _ = _next_hop(hop.removeprefix("inet:"), "24")
                out.transport(entry.where, what, pattern, f"lmtp:{host}:{port}")
            elif name == "lmtp":
                out.unsupported(entry.where, what, "LMTP to a Unix socket; let that program listen on 127.0.0.1:24 and write lmtp:127.0.0.1:24")
            elif name in ("error", "retry", "discard"):
                out.unsupported(entry.where, what, "refused, kept or dropped the mail; nothing here does")
            else:
                out.unsupported(entry.where, what, f"{self._transport(name)}; ours knows smtp and lmtp")
        if table.static is not None:
            out.unsupported(*self.at("transport_maps"), "one way for everything; write '*' in transports, or remote.smarthost")

    def _transport(self, name: str) -> str:
        for service in self.services:
            if service.name == name:
                return f"went to the program {service.command} {' '.join(service.words)} ({service.where})"
        return f"went by {name}, which master.cf does not have"

    # ---- settings -----------------------------------------------------------------------------------------------------
    def sizes(self) -> None:
        values, out = self.values, self.out
        if self.given("message_size_limit"):
            limit = values.get("message_size_limit")
            if limit == "0":
                out.set(*self.at("message_size_limit"), "queue.size_max", "1G", "there is always a limit")
            else:
                out.set(*self.at("message_size_limit"), "queue.size_max", limit)
        for name in ("mailbox_size_limit", "virtual_mailbox_limit"):
            if self.given(name) and values.get(name) not in ("0", values.defaults[name]):
                out.different(*self.at(name), "limited one file of mail; what a mailbox may hold is local.quota here, or quota= in users")
            elif name in values.given:
                out.same(*self.at(name), "a mailbox holds any amount (local.quota)")

    def tls(self) -> None:
        values, out = self.values, self.out
        chain = values.list("smtpd_tls_chain_files")
        key = values.get("smtpd_tls_key_file")
        if chain:
            self.given("smtpd_tls_chain_files")
            if len(chain) > 2:
                out.different(*self.at("smtpd_tls_chain_files"), "several certificates: the first is taken; put the others into ETC/tls")
            self._certificate("smtpd_tls_chain_files", chain[-1] if len(chain) < 3 else chain[0], chain[0])
        elif values.get("smtpd_tls_cert_file"):
            self._certificate("smtpd_tls_cert_file", values.get("smtpd_tls_cert_file"), values.get("smtpd_tls_cert_file") if key in ("", "$smtpd_tls_cert_file") else key)
        self.given("smtpd_tls_chain_files", "smtpd_tls_cert_file", "smtpd_tls_key_file")
        if self.given("smtpd_tls_security_level"):
            if (level := values.get("smtpd_tls_security_level")) == "encrypt":
                out.unsupported(*self.at("smtpd_tls_security_level"), "refused mail without TLS on port 25; here only submission and logins want it")
            else:
                out.same(*self.at("smtpd_tls_security_level"), "STARTTLS is offered" if level == "may" else "STARTTLS is offered all the same")
        for name in ("smtpd_tls_protocols", "smtpd_tls_mandatory_protocols"):
            if self.given(name):
                value = values.get(name)
                least = "1.3" if ">=TLSv1.3" in value or "!TLSv1.2" in value.split(",") or re.search(r"!TLSv1\.2\b", value) else "1.2"
                out.set(*self.at(name), "tls.minimum", least, "" if "TLSv1.2" in value or "TLSv1.3" in value or "!TLSv1.1" in value else "older versions are not spoken")
        for name in ("smtpd_tls_eccert_file", "smtpd_tls_eckey_file", "smtpd_tls_dcert_file", "smtpd_tls_dkey_file", "tls_server_sni_maps"):
            if self.given(name):
                out.different(*self.at(name), "a further certificate: put it with its key into a directory below ETC/tls (tls.certificates)")

    def _certificate(self, name: str, certificate: str, key: str) -> None:
        out = self.out
        if "snakeoil" in certificate:
            out.different(*self.at(name), "a self-signed certificate of the system; ours makes its own at the first start")
            return
        if not self.source.has(certificate) or not self.source.has(key):
            missing = certificate if not self.source.has(certificate) else key
            out.different(*self.at(name), f"there is no {missing}; set tls.certificate and tls.key when there is one; until then ours makes its own")
            return
        self.out.settings["tls.key"] = key
        self.out.set(*self.at(name), "tls.certificate", certificate)

    def logins(self) -> None:
        values, out = self.values, self.out
        lists = " ".join(parameter.value for name, parameter in values.given.items() if name.endswith("_restrictions"))
        lists += " ".join(value for service in self.services for name, value in service.options.items() if name.endswith("_restrictions"))
        checked = "sender_login_mismatch" in lists
        if self.given("smtpd_sender_login_maps"):
            table = self.table("smtpd_sender_login_maps")
            for entry in table.entries.values():
                for login in postfixconf.items(entry.value):
                    if login.lower() != entry.key.lower():
                        out.sender(entry.where, login, entry.key)
            out.same(*self.at("smtpd_sender_login_maps"), f"senders: {len(table.entries)} entries; each login has the addresses of its own besides")
        if values.get("smtpd_sasl_auth_enable") == "yes":
            out.different(*self.at("smtpd_sasl_auth_enable"), "logins are taken on 587 and 465 only, not on 25; set that in mail clients which use 25")
        submits = values.get("smtpd_sasl_auth_enable") == "yes" or any(one.options.get("smtpd_sasl_auth_enable") == "yes" for one in self.services)
        if submits and not checked:
            out.different(*self.at("smtpd_sender_login_maps"), "whoever logs in could give any address as sender; here it must be their own, or stand in senders "
                          "(smtp.sender_check)")
        self.given("smtpd_sasl_auth_enable")

    def interfaces(self) -> None:
        values, out = self.values, self.out
        if not self.given("inet_interfaces"):
            return
        found = []
        for item in values.list("inet_interfaces"):
            if item == "all":
                out.same(*self.at("inet_interfaces"), "every address is listened on")
                return
            if item in ("loopback-only", "localhost"):
                found += ["127.0.0.1:25", "[::1]:25"]
            elif re.fullmatch(r"[0-9a-fA-F:.\[\]]+", item) and not re.fullmatch(r"[a-fA-F]+", item):
                address = item.strip("[]")
                found.append(f"[{address}]:25" if ":" in address else f"{address}:25")
            else:
                out.different(*self.at("inet_interfaces"), f"{item} is a name; write its address into smtp.listen")
        if values.get("inet_protocols") == "ipv4":
            found = [one for one in found if not one.startswith("[")]
        if found:
            out.set(*self.at("inet_interfaces"), "smtp.listen", " ".join(dict.fromkeys(found)),
                    "under systemd the socket says it: systemctl edit pymta-smtp.socket; so do 587, 465 and those of IMAP and POP3")

    def restrictions(self) -> None:
        out = self.out
        for name in sorted(self.values.given):
            if name.startswith("smtpd_") and name.endswith("_restrictions"):
                self.done.add(name)
                self._restrictions(self.values.where(name), name, self.values.list(name))
        if self.given("smtpd_reject_unlisted_recipient", "smtpd_reject_unlisted_sender") and self.values.get("smtpd_reject_unlisted_recipient") == "no":
            out.different(*self.at("smtpd_reject_unlisted_recipient"), "who is not there is refused at RCPT")

    def _restrictions(self, where: str, name: str, words: list[str]) -> None:
        out = self.out
        left = iter(words)
        for word in left:
            if word in ("permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination", "permit") or ":" in word and "{" not in word:
                if ":" in word:
                    self._counted(where, f"{name}: {word}", word)
                continue                                    # told with smtp.relay_from, or needs no word
            argument = next(left, "") if word in postfixtables.WITH_ARGUMENT else ""
            what = f"{name}: {word} {argument}".strip()
            if word in ("reject_non_fqdn_helo_hostname", "reject_non_fqdn_hostname"):
                out.set(where, what, "smtp.helo_check", "strict")
            elif word in ("reject_unknown_client_hostname", "reject_unknown_client"):
                out.set(where, what, "smtp.require_ptr", "yes")
            elif word == "reject_unknown_reverse_client_hostname":
                out.set(where, what, "smtp.require_ptr", "yes", "the name must also lead back to the address; write log to see first whom it would meet")
            elif word.startswith("check_") and word.endswith("_access"):
                self._counted(where, what, argument)
            elif word in postfixtables.RESTRICTIONS:
                verdict, told = postfixtables.RESTRICTIONS[word]
                out.rows_for(verdict)(where, what, told)
            else:
                out.unsupported(where, what, "a restriction this program does not know, or a class of your own; see postconf(5)")

    def _counted(self, where: str, what: str, table: str) -> None:
        found = postfixmaps.read(self.source, [table], self.directory, where)
        count = f"{len(found.entries)} entries" if not found.problems else found.problems[0][1]
        self.out.unsupported(where, f"{what}", f"{count}: {postfixtables.RESTRICTIONS['check_client_access'][1]}")

    def copied(self) -> None:
        for name, (ours, unit) in postfixtables.COPIED.items():
            if not self.given(name) or self.values.get(name) == self.values.expand(self.values.defaults.get(name, "")):
                continue
            value = self.values.get(name)
            if unit != "n" and value.isdigit():
                value += unit
            if unit == "n" and value == "0" and ours.startswith("remote."):
                self.out.different(*self.at(name), f"no limit there; ours is {ours}")
                continue
            self.out.set(*self.at(name), ours, value)

    def master(self) -> None:
        out = self.out
        listening: set[str] = set()
        for service in self.services:
            what = f"{service.name} {service.type} {service.command}"
            if service.type in ("inet", "pass") and service.command == "smtpd":
                port = service.name.rpartition(":")[2]
                listening.add(SERVICES.get(port, port))
                self._smtpd(service, what, port if service.type == "inet" else "smtp")      # pass: from postscreen
            elif service.command == "postscreen":
                out.different(service.where, what, "early talkers are refused by smtp.early_talk and smtp.greet_delay; block lists are not asked")
                listening.add("25")
            elif service.command == "qmqpd":
                out.unsupported(service.where, what, "QMQP is not spoken here; let those clients use SMTP")
            elif service.type == "inet" and service.command not in ("smtpd", "postscreen"):
                out.unsupported(service.where, what, "a service on the network that nothing here offers")
            elif service.command in ("smtp", "lmtp", "relay") and (told := [f"{name}={value}" for name, value in service.options.items() if name != "syslog_name"]):
                out.different(service.where, f"{what} -o {' -o '.join(told)}", "settings of one way out; here pymta.conf holds for all ways")
            if "content_filter" in service.options and service.options["content_filter"]:
                out.unsupported(service.where, f"{what} -o content_filter={service.options['content_filter']}", postfixtables.TOLD["content_filter"][1])
        if self.services and not listening & {"587", "465"}:
            out.different(f"{self.directory}/master.cf", "no submission", "ours takes mail from users who log in on 587 and 465; smtp.submission = and smtp.submissions = "
                          "(both empty) turn that off, under systemd: systemctl disable --now pymta-submission.socket pymta-submissions.socket")

    def _smtpd(self, service: Service, what: str, port: str) -> None:
        out = self.out
        if port not in SERVICES and port.isdigit() and int(port) not in (25, 465, 587):
            submits = service.options.get("smtpd_sasl_auth_enable") == "yes"
            out.different(service.where, what, f"a further port: add {port} to {'smtp.submission' if submits else 'smtp.listen'} (under systemd: systemctl edit "
                          f"pymta-{'submission' if submits else 'smtp'}.socket)")
        elif port != "smtp" and port != "25":
            out.same(service.where, what, "smtp.submission" if port in ("submission", "587") else "smtp.submissions")
        for name, value in service.options.items():
            value = self.values.expand(value)
            at = f"-o {name}={value}"
            if name.endswith("_restrictions"):
                if port in ("smtp", "25"):
                    self._restrictions(service.where, at.partition("=")[0], postfixconf.items(value))
                else:
                    extra = [word for word in postfixconf.items(value) if word not in ("permit_sasl_authenticated", "reject", "permit_mynetworks", "permit")
                             and "sender_login_mismatch" not in word and not word.startswith("$")]
                    self._restrictions(service.where, at.partition("=")[0], extra)
            elif name in ("smtpd_proxy_filter", "smtpd_milters") and value:
                out.unsupported(service.where, f"{what} {at}", postfixtables.TOLD[name][1])
            elif name == "smtpd_upstream_proxy_protocol" and value:
                out.different(service.where, f"{what} {at}", "name the balancer's network in smtp.proxy_from")
            elif name not in ("syslog_name", "smtpd_tls_security_level", "smtpd_sasl_auth_enable", "smtpd_tls_wrappermode", "smtpd_tls_auth_only", "content_filter",
                              "smtpd_reject_unlisted_recipient", "milter_macro_daemon_name", "smtpd_sasl_type", "smtpd_sasl_path", "smtpd_sasl_security_options",
                              "smtpd_milters", "smtpd_proxy_filter", "smtpd_upstream_proxy_protocol", "receive_override_options", "cleanup_service_name"):
                out.different(service.where, f"{what} {at}", "a setting of one service; here pymta.conf holds for all")

    def rest(self) -> None:
        """Every setting that nobody has asked for."""
        values, out = self.values, self.out
        for name, parameter in values.given.items():
            value = values.get(name)
            if name in self.done or name in values.defaults and value == values.expand(values.defaults[name]):
                continue
            what = f"{name} = {parameter.value}"
            if name in ("luser_relay",) and value:
                self._luser(parameter.where, what, value)
            elif name == "local_recipient_maps":
                if value:
                    out.same(parameter.where, what, "the users of the system and the aliases")
                elif not values.get("luser_relay"):
                    out.different(parameter.where, what, "unknown names were taken and returned; here they are refused at RCPT")
            elif name in postfixtables.TOLD:
                if value and value != "no":
                    verdict, told = postfixtables.TOLD[name]
                    out.rows_for(verdict)(parameter.where, what, self._with_count(name, told))
            elif name in postfixtables.NEEDLESS:
                out.same(parameter.where, what, "nothing here has to be told")
            elif name.startswith(postfixtables.TUNING[0]) and name not in values.asked:
                out.different(parameter.where, what, postfixtables.TUNING[1])
            elif any(name.startswith(f"{service.name}_") for service in self.services) and re.search(r"_(?:time|destination|recipient|transport|process|initial|minimum)_?\w*$", name):
                out.different(parameter.where, what, "a limit of one service in master.cf")
            elif name not in values.asked and value:
                out.unsupported(parameter.where, what, "this program does not know what becomes of it; see postconf(5)")
        for service_path, why in self.source.unreadable.items():
            out.unsupported(service_path, service_path, f"cannot be read: {why}; run this as root")

    def _with_count(self, name: str, told: str) -> str:
        if not name.endswith(("_maps", "_checks")):
            return told
        table = postfixmaps.read(self.source, self.values.list(name), self.directory, "")
        counts = [f"{len(table.entries)} entries"] if table.entries else []
        return f"{', '.join(counts + [why for _, why in table.problems]) or 'nothing'}: {told}"

    def _luser(self, where: str, what: str, value: str) -> None:
        if "$" in value or value.startswith(("|", "/")) or not self.local:
            self.out.unsupported(where, what, "took mail for unknown names; write a catch-all alias @domain: user")
            return
        for domain in self.local:
            self.out.alias(where, f"@{domain}", [self.qualified(value)], told=True)
        self.out.same(where, what, f"catch-all aliases: {', '.join('@' + domain for domain in self.local)}")


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[^\s:,\"#@()<>\[\]\\;]+", name) or name.startswith('"') else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_domain(text: str) -> bool:
    return bool(re.fullmatch(r"[^\s@:/!\[\]{}]+", text)) and not text.startswith(".")


def _is_literal(host: str) -> bool:
    return bool(re.fullmatch(r"\[?[0-9.]+\]?|\[[0-9a-fA-F:]+\]", host))


def _next_hop(text: str, default: str = "25") -> tuple[str, str, bool]:
    """(host, port, whether the MX of host is meant) of [host]:port, host:port, host; an IPv6 address keeps its brackets."""
    match = re.fullmatch(r"\[([^\]]*)\](?::(\S+))?", text.strip())
    if match:
        host, port, mx = match[1].removeprefix("ipv6:").removeprefix("IPv6:"), match[2] or default, False
    else:
        host, _, port = text.strip().partition(":")
        port, mx = port or default, True
    return f"[{host}]" if ":" in host else host, SERVICES.get(port, port), mx

