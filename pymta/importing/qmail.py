"""qmail: control files, users/assign and .qmail files in our words.                        pymta-import(8)"""
from __future__ import annotations

import ipaddress
import itertools
import re

from pymta.importing import qmaildot
from pymta.importing.qmaildot import Instructions
from pymta.importing.report import Import
from pymta.importing.source import Source, text

PLACES: tuple[str, ...] = ("/var/qmail",)
TCPRULES = ("/etc/tcp.smtp", "/etc/tcprules.d/tcp.smtp", "/etc/tcprules/tcp.smtp", "/home/vpopmail/etc/tcp.smtp", "/etc/qmail/tcp.smtp")
RUNS = ("/service", "/etc/service", "/var/qmail/supervise")
# control file -> (ours, unit of the number, qmail's default)
COPIED = {"queuelifetime": ("queue.lifetime", "s", "604800"), "concurrencyremote": ("remote.concurrency_all", "", "20"), "timeoutconnect": ("remote.connect_timeout", "s", "60"),
          "timeoutremote": ("remote.timeout", "s", "1200"), "timeoutsmtpd": ("smtp.timeout", "s", "1200"), "concurrencyincoming": ("smtp.sessions_max", "", "40")}
TOLD = {
    "concurrencylocal": ("different", "deliveries at a time to mailboxes; ours are grouped, and have no such limit"),
    "bouncefrom": ("different", "returns come from MAILER-DAEMON at host.name"), "bouncehost": ("different", "returns come from MAILER-DAEMON at host.name"),
    "doublebounceto": ("different", "what cannot be returned goes to postmaster: an alias for postmaster or root, or local.admin"),
    "doublebouncehost": ("different", "what cannot be returned goes to postmaster: an alias for postmaster or root, or local.admin"),
    "helohost": ("different", "EHLO says host.name"), "idhost": ("different", "Message-ID fields end in host.name"), "localiphost": ("same", "mail for [address] of this host is ours"),
    "smtpgreeting": ("different", "the greeting names host.name"), "envnoathost": ("different", "a bare name is one of this host"),
    "defaulthost": ("different", "a bare name is one of this host, in the first of local.domains"), "defaultdomain": ("different", "user@host gets no domain added; write it out"),
    "plusdomain": ("different", "user@host+ gets no domain added; write it out"),
    "percenthack": ("unsupported", "user%host@domain was sent on to host; there is no percent hack here"),
    "qmqpservers": ("unsupported", "handed mail over by QMQP; set remote.smarthost"), "badmailfrom": ("unsupported", "refused senders; nothing here does"),
    "badmailto": ("unsupported", "refused recipients; leave them out of aliases and users"), "badhelo": ("unsupported", "refused names in HELO; smtp.helo_check looks at their form"),
    "spfbehavior": ("unsupported", "checked SPF; nothing here does"), "dh2048.pem": ("same", "nothing here has to be told"), "rsa2048.pem": ("same", "nothing here has to be told"),
    "clientcert.pem": ("unsupported", "showed a certificate to other hosts; nothing here does"), "tlsclients": ("unsupported", "let clients relay by their certificate; let them log in"),
    "simcontrol": ("unsupported", "a filter of mail; put one before this host"), "servercert.pem": ("same", ""), "blacklists": ("unsupported", "asked block lists; none are asked here"),
    "authsenders": ("unsupported", "logged in at other hosts; nothing here does"), "domainbindings": ("unsupported", "chose the address mail is sent from"), "outgoingip": ("unsupported", "chose the address mail is sent from"),
}
_READ = {"me", "locals", "rcpthosts", "morercpthosts", "virtualdomains", "smtproutes", "databytes", "defaultdelivery", "morercpthosts.cdb", *COPIED}


def is_there(source: Source, directory: str) -> bool:
    return source.has(f"{directory}/control/me") or source.has(f"{directory}/control")


def read(source: Source, directory: str = PLACES[0], *, host: str = "localhost", output: bytes | None = None) -> Import:
    """output: not used; qmail has no program that says its settings in a form to be read (qmail-showctl is for people)."""
    return _Reading(source, directory, host).run()


class _Reading:
    def __init__(self, source: Source, directory: str, host: str) -> None:
        self.source, self.directory, self.out = source, directory, Import()
        self.me = self.first("me") or host
        self.users = qmaildot.Users(source, directory)
        self.wild = False                                   # whether name-anything reaches name somewhere
        self.local: list[str] = []
        self.virtual: list[str] = []

    def run(self) -> Import:
        for step in (self.names, self.settings, self.delivery, self.local_names, self.virtual_domains, self.relay, self.routes, self.networks, self.services, self.rest):
            step()
        self.out.settings["local.extension"] = "-" if self.wild else ""
        self.out.same(f"{self.directory}/users", "name-extension", "local.extension = -" if self.wild else "local.extension is empty: each extension that has a .qmail file is an alias")
        for path, why in self.source.unreadable.items():
            self.out.unsupported(path, path, f"cannot be read: {why}; run this as root")
        return self.out

    # ---- control files ------------------------------------------------------------------------------------------------
    def lines(self, name: str) -> list[tuple[str, str]]:
        """(file:line, line) of a control file, without comments and empty lines."""
        path = f"{self.directory}/control/{name}"
        return [(f"{path}:{number}", line.strip()) for number, line in enumerate(text(self.source.read(path)).split("\n"), 1)
                if line.strip() and not line.startswith("#")]

    def first(self, name: str) -> str:
        return next((line for _, line in self.lines(name)), "")

    def names(self) -> None:
        out = self.out
        if where := self.lines("me"):
            out.set(where[0][0], f"me: {self.me}", "host.name", self.me)
        given = self.lines("locals") or [(f"{self.directory}/control/me:1", self.me)] * (not self.source.has(f"{self.directory}/control/locals"))
        self.local = list(dict.fromkeys(line.lower() for _, line in given if line.lower() != "localhost"))
        self.virtual = list(dict.fromkeys(line.lower().partition(":")[0] for _, line in self.lines("virtualdomains")
                                          if re.fullmatch(r"[^@:.\s][^@:\s]*:\S+", line) and line.lower().partition(":")[0] not in self.local))
        if self.local:
            out.set(given[0][0], f"locals: {', '.join(self.local)}", "local.domains", ", ".join(self.local))
        if self.me.lower() not in self.local:
            out.different(f"{self.directory}/control/me:1", f"me: {self.me}", "the name of this host is always local here; local.system_users = no leaves its users without mail")
        if self.virtual:
            out.settings["local.virtual_domains"] = ", ".join(self.virtual)

    def settings(self) -> None:
        out = self.out
        for where, value in self.lines("databytes")[:1]:
            if value.lstrip("0"):
                out.set(where, f"databytes: {value}", "queue.size_max", value)
            else:
                out.set(where, f"databytes: {value}", "queue.size_max", "1G", "there is always a limit")
        for name, (ours, unit, default) in COPIED.items():
            for where, value in self.lines(name)[:1]:
                if value != default:
                    out.set(where, f"{name}: {value}", ours, value + unit)
        if not self.lines("queuelifetime"):
            out.set("default", "queuelifetime: 604800", "queue.lifetime", "604800s")
        for where, value in self.lines("servercert.pem")[:1]:
            out.set(where.rpartition(":")[0], "servercert.pem", "tls.certificate", where.rpartition(":")[0])

    # ---- who is here --------------------------------------------------------------------------------------------------
    def delivery(self) -> None:
        """What becomes of mail for whom no .qmail says anything."""
        lines = self.lines("defaultdelivery") or [(f"{self.directory}/rc:{number}", word) for number, line in enumerate(text(self.source.read(f"{self.directory}/rc")).split("\n"), 1)
                                                  if not line.startswith("#") for word in re.findall(r"\./\S+?(?=['\"\s]|$)", line)]
        for where, value in lines:
            if value == "./Maildir/":
                self.out.same(where, value, "~/Maildir")
            elif value.endswith("/"):
                self.out.different(where, value, f"the Maildir of each user was ~/{value[2:-1]}, ours is ~/Maildir: as each user: ln -s {value[2:-1]} Maildir")
            elif value.startswith("|"):
                self.out.unsupported(where, value, "a program delivered the mail; ours puts it into ~/Maildir")
            else:
                self.out.different(where, value, "mail went to mbox files, ours goes to ~/Maildir: convert what is there (mb2md)")
        if not lines:
            self.out.different(f"{self.directory}/rc", "default delivery", "mail goes to ~/Maildir; if it went to mbox files, convert them (mb2md)")

    def here(self, name: str) -> list[str]:
        """A name in the local domains, as aliases must have it."""
        return [f"{name}@{domain}" for domain in self.local] if self.virtual and self.local else [name]

    def local_names(self) -> None:
        """.qmail files of the system's users, of users/assign, and of alias."""
        out = self.out
        for name, (uid, home) in self.users.system.items():
            if name == "alias" or not uid.isdigit() or int(uid) < 1000:
                continue
            virtual = tuple(control.extension for control in map(self.users.of, self._prefixes()) if control.user == name)
            for extension, told in qmaildot.files(self.source, home):
                # what serves a virtual domain is written for that domain alone
                if not extension or not any(extension == one or not one or extension.startswith(f"{one}-") for one in virtual):
                    self._dot(told, name, extension, mailbox=name, home=home)
        for name, control in self.users.exact.items():
            if name not in self.users.system:
                out.user(f"{self.directory}/users/assign", name, control.uid, control.gid, control.home)
            if control.home != self.users.system.get(name, ("", ""))[1]:
                for extension, told in qmaildot.files(self.source, control.home):
                    if extension == control.extension:
                        self._dot(told, name, "", mailbox=name, home=control.home)
        alias = self.users.alias
        owned = tuple(control.extension + "-" for control in map(self.users.of, self._prefixes()) if control.user == "alias" and control.extension)
        for extension, told in qmaildot.files(self.source, alias.home):
            if not extension or extension.startswith(owned):
                continue
            if extension == "default":
                self._catch_all(told, self.local, alias.home)
            else:
                self._dot(told, extension.removesuffix("-default"), "default" if extension.endswith("-default") else "", mailbox="", home=alias.home)

    def _prefixes(self) -> list[str]:
        return [line.lower().partition(":")[2] for _, line in self.lines("virtualdomains")]

    def _dot(self, told: Instructions, name: str, extension: str, *, mailbox: str, home: str) -> None:
        """Mail for name (and -extension).  mailbox: whose it is that ./Maildir/ means, or ""."""
        out = self.out
        where = f"{told.path}:1"
        if extension == "default" or extension.endswith("-default"):
            self.wild = True
            extension = extension.removesuffix("default").removesuffix("-")
        full = f"{name}-{extension}" if extension else name
        if extension == "" and told.path.endswith("-default") and mailbox:
            # user-anything reaches the user by local.extension alone
            if not told.default and (told.forwards or told.commands or told.files or told.discards):
                out.unsupported(where, f"{name}-anything", f"went elsewhere than {name}'s own mail; here {name}-anything is {name}'s; write aliases for the extensions in use")
            else:
                out.same(where, f"{name}-anything", f"{name}'s mailbox (local.extension)")
            return
        self._targets(told, self.here(full), mailbox, home, itself=full == mailbox)

    def _targets(self, told: Instructions, names: list[str], mailbox: str, home: str, *, itself: bool = False,
                 uid: str = "") -> None:
        """What a .qmail says becomes an alias.  itself: names are the mailbox's own; uid: that of a mailbox which is nobody's own, else alias's."""
        out, where, targets = self.out, f"{told.path}:1", []
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
                                                                                                      uid or self.users.alias.uid, "", whole.removesuffix("/Maildir")):
                targets.append(f"\\{names[0]}")
            else:
                out.unsupported(where, f"{names[0]}: {path}", f"a Maildir that is nobody's: make a user whose home is {whole.rpartition('/')[0]}, and an alias to it")
        targets += [self._address(address) for address in told.forwards]
        if itself and targets == [f"\\{mailbox}"]:
            out.same(where, names[0], "~/Maildir")
        elif targets and targets != [f"\\{names[0]}"] and out.alias_each(where, names, targets):
            out.same(where, f"{names[0]}: {', '.join(targets)}", f"aliases: {', '.join(names)}")

    def _address(self, address: str) -> str:
        """A bare name on the right is one at control/me."""
        return address if "@" in address or self.me.lower() in self.local else f"{address}@{self.me}"

    def _catch_all(self, told: Instructions, domains: list[str], home: str) -> None:
        out, where = self.out, f"{told.path}:1"
        for command in told.commands:
            out.unsupported(where, f"@{', @'.join(domains)}: |{command}", _program(command))
        for path in [*told.files, *told.maildirs]:
            out.unsupported(where, f"@{', @'.join(domains)}: {path}", "a mailbox for all other names: make a user, and the alias @domain: user")
        if told.discards:
            out.unsupported(where, f"@{', @'.join(domains)}", "threw mail for all other names away; here it is refused")
        if told.forwards and domains and out.alias_each(where, [f"@{domain}" for domain in domains], [self._address(one) for one in told.forwards]):
            out.same(where, f"default: {', '.join(told.forwards)}", f"catch-all aliases: {', '.join('@' + domain for domain in domains)}")

    def virtual_domains(self) -> None:
        out = self.out
        for where, line in self.lines("virtualdomains"):
            name, colon, prefix = line.lower().partition(":")
            if not colon or not prefix:
                out.same(where, line, "no virtual domain: sent on, or local")
                continue
            if not name or name.startswith("."):
                out.unsupported(where, line, "a virtual domain for many domains; write one line for each domain, then import again")
                continue
            control = self.users.of(f"{prefix}-")
            begin = control.extension.rstrip("-")
            before = len(out.aliases) + len(out.users) + sum(row.verdict == "unsupported" for row in out.rows)
            local, at, domain = name.rpartition("@")
            if name.partition("@")[2] in self.local or name in self.local:
                out.different(where, line, "stands in locals too, which holds")
                continue
            if not at and self._vpopmail(where, name, control):
                continue
            for extension, told in sorted(qmaildot.files(self.source, control.home), key=lambda row: row[0] == "default" or row[0].endswith("-default")):
                if begin and not extension.startswith(f"{begin}-") or not extension:
                    continue
                user = extension[len(begin) + 1:] if begin else extension
                if at and user not in (local, "default"):
                    continue
                if at:
                    self._targets(told, [name], "", control.home, uid=control.uid)
                    break
                if user == "default":
                    if told.maildirs and not told.forwards and not told.commands and control.user in self.users.system and control.user != "alias":
                        out.alias(f"{told.path}:1", f"@{name}", [f"\\{control.user}"])
                    else:
                        self._catch_all(told, [name], control.home)
                elif user.endswith("-default"):
                    out.unsupported(f"{told.path}:1", f"{user}@{name}", "took every name that begins so; write an alias for each")
                else:
                    self._targets(told, [f"{user}@{name}"], "", control.home, uid=control.uid)
            made = len(out.aliases) + len(out.users) + sum(row.verdict == "unsupported" for row in out.rows) > before
            if made:
                out.same(where, line, f"local.virtual_domains; what {control.home}/.qmail-{begin + '-' if begin else ''}* say")
            else:
                out.different(where, line, "nobody gets mail there: there is no .qmail file for it")

    def _vpopmail(self, where: str, domain: str, control: qmaildot.Control) -> bool:
        """A domain of vpopmail, whose users stand in vpasswd."""
        path = f"{control.home}/vpasswd"
        default = text(self.source.read(f"{control.home}/.qmail-default"))
        if "vdelivermail" not in default:
            return False
        out, count = self.out, 0
        for number, line in enumerate(text(self.source.read(path)).split("\n"), 1):
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
        for extension, told in qmaildot.files(self.source, control.home):
            if extension and extension != "default":
                self._targets(told, [f"{extension}@{domain}"], "", control.home, uid=control.uid)
        rest = re.search(r"vdelivermail\s+\S+\s+(\S+)", default)
        if rest and rest[1] == "delete":
            out.unsupported(f"{control.home}/.qmail-default:1", f"@{domain}: delete", "threw mail for unknown names away; here it is refused")
        elif rest and "@" in rest[1]:
            out.alias(f"{control.home}/.qmail-default:1", f"@{domain}", [rest[1].removeprefix("&")])
        elif rest and rest[1].startswith("/"):
            out.alias(f"{control.home}/.qmail-default:1", f"@{domain}", [f"{rest[1].rstrip('/').rpartition('/')[2]}@{domain}"])
        return True

    # ---- mail for elsewhere -------------------------------------------------------------------------------------------
    def relay(self) -> None:
        out = self.out
        rows = [*self.lines("rcpthosts"), *self.lines("morercpthosts")]
        if not rows and not self.source.has(f"{self.directory}/control/rcpthosts"):
            out.different(f"{self.directory}/control/rcpthosts", "no rcpthosts", "mail for every domain was taken from everybody; here only for domains of ours")
            return
        known = {domain.lower() for _, domain in rows}
        domains = [domain for domain in dict.fromkeys(line.lower() for _, line in rows) if not domain.startswith(".") and domain not in self.local + self.virtual + ["localhost"]
                   and domain != self.me.lower()]
        for where, line in rows:
            if line.startswith("."):
                out.unsupported(where, f"rcpthosts: {line}", "every domain below it; list those that get mail in local.relay_domains")
        if domains:
            where = next(where for where, line in rows if line.lower() in domains)
            out.set(where, f"rcpthosts: {', '.join(domains)}", "local.relay_domains", ", ".join(domains))
            for domain in domains:
                out.relay_recipient(where, f"@{domain}")
            out.different(where, f"rcpthosts: {', '.join(domains)}", "everybody in them is taken (relay_recipients: @domain), as before; list the addresses where you can")
        if hidden := [domain for domain in self.local + self.virtual if domain not in known and not any(f".{domain}".endswith(one) for one in known if one.startswith("."))]:
            out.different(f"{self.directory}/control/rcpthosts", ", ".join(hidden), "mail for them was taken from this host only; here from everywhere")
        if self.source.has(f"{self.directory}/control/morercpthosts.cdb") and not self.lines("morercpthosts"):
            out.unsupported(f"{self.directory}/control/morercpthosts.cdb", "morercpthosts.cdb", "there is no text beside it; list its domains in local.relay_domains")

    def routes(self) -> None:
        out = self.out
        for where, line in self.lines("smtproutes"):
            pattern, _, rest = line.lower().partition(":")
            match = re.fullmatch(r"(\[[^\]]*\]|[^:\s]*)(?::(\d+))?", rest.split()[0] if rest.split() else "")
            if not match or len(rest.split()) > 1:
                out.unsupported(where, line, "a route with more than host and port (a login, perhaps); nothing here logs in at other hosts")
                continue
            host, port = match[1], match[2] or "25"
            if host.startswith("[") and ":" not in host:
                host = host[1:-1]
            if not pattern and host:
                out.set(where, line, "remote.smarthost", f"{host}:{port}")
            elif not pattern:
                out.same(where, line, "by MX, as without it")
            elif pattern in self.local + self.virtual:
                out.different(where, line, "a domain of ours, whose mail stays here")
            else:
                out.transport(where, line, pattern, f"{host}:{port}" if host else "mx")

    def networks(self) -> None:
        out, at = self.out, ""
        found: list[_Network] = []
        for path in TCPRULES:
            for number, line in enumerate(text(self.source.read(path)).split("\n"), 1):
                line = line.strip()
                if not line or line.startswith("#"):
                    continue
                where = f"{path}:{number}"
                address, _, rest = line.partition(":")
                action, *environment = re.findall(r'[^,"=]+(?:="[^"]*"|=/[^/]*/)?', rest) or [""]
                names = dict(word.partition("=")[::2] for word in environment)
                if "RELAYCLIENT" in names:
                    networks = _networks(address)
                    if names["RELAYCLIENT"].strip("\"'/"):
                        out.unsupported(where, line, "changed the recipients of these clients; nothing here does")
                    elif networks is None:
                        out.unsupported(where, line, "clients by name, or all of them; list their networks in smtp.relay_from")
                    else:
                        found += networks
                        at = at or where
                if action.strip() == "deny":
                    out.unsupported(where, line, "shut clients out; the firewall does that")
                for name in sorted(set(names) - {"RELAYCLIENT"}):
                    if name == "QMAILQUEUE":
                        out.unsupported(where, line, "another program took the mail (a filter); put a filter before this host")
                    elif name == "DATABYTES":
                        out.different(where, line, "a size for some clients; queue.size_max holds for all")
                    else:
                        out.unsupported(where, line, f"{name}: a setting for some clients that nothing here knows")
        if found:
            four = ipaddress.collapse_addresses(one for one in found if isinstance(one, ipaddress.IPv4Network))
            six = ipaddress.collapse_addresses(one for one in found if isinstance(one, ipaddress.IPv6Network))
            out.set(at, "RELAYCLIENT", "smtp.relay_from", " ".join(map(str, [*four, *six])))
        else:
            out.same("default", "no RELAYCLIENT", "smtp.relay_from is empty: nobody relays without a login")

    def services(self) -> None:
        """Programs that stand before qmail-smtpd in its run script."""
        seen = set()
        for directory in RUNS:
            for name in self.source.names(directory):
                path = f"{directory}/{name}/run"
                for number, line in enumerate(text(self.source.read(path)).split("\n"), 1):
                    for word in ("rblsmtpd", "spamdyke", "greylite", "qmail-scanner", "simscan", "vmailmgr"):
                        if re.search(rf"(?:^|[\s/]){word}\b", line.partition("#")[0]) and (word, line) not in seen:
                            seen.add((word, line))
                            self.out.unsupported(f"{path}:{number}", line.strip(), f"{word} looked at clients or mail; nothing here does; put a filter before this host")

    def rest(self) -> None:
        for name in self.source.names(f"{self.directory}/control"):
            rows = self.lines(name) if name not in _READ else []
            if not rows or name == "servercert.pem":
                continue
            verdict, told = TOLD.get(name, ("unsupported", "this program does not know what becomes of it"))
            shown = rows[0][1] if len(rows) == 1 and not name.endswith(".pem") else f"{len(rows)} lines"
            if name in ("envnoathost", "defaulthost", "helohost", "idhost", "bouncehost", "doublebouncehost", "localiphost") and shown.lower() == self.me.lower():
                verdict, told = "same", "host.name"
            self.out.rows_for(verdict)(rows[0][0], f"{name}: {shown}", told)


def _program(command: str) -> str:
    for word, name in (("vdeliver", "vmailmgr"), ("vdelivermail", "vpopmail"), ("procmail", "procmail"), ("maildrop", "maildrop"), ("ezmlm", "ezmlm"), ("qmail-autoresponder", "an autoresponder"),
                       ("autorespond", "an autoresponder"), ("condredirect", "condredirect"), ("preline", "a program"), ("forward", "forward: write an alias instead")):
        if word in command:
            return f"ran a program ({name}) for each mail; none is run here"
    return "ran a program for each mail; none is run here"


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(rule: str) -> list[_Network] | None:
    """The addresses of a rule of tcprules(1): 192.0.2.1, 192.0.2., 10.0.0-9., 192.0.2.0/24; None for names and for everybody."""
    try:
        if "/" in rule or re.fullmatch(r"[0-9.]+[0-9]", rule) and rule.count(".") == 3:
            return [ipaddress.ip_network(rule, strict=False)]
    except ValueError:
        return None
    parts = rule.split(".")
    if not rule.endswith(".") or not 2 <= len(parts) <= 4 or not all(re.fullmatch(r"\d{1,3}(?:-\d{1,3})?", part, re.ASCII) for part in parts[:-1]):
        return None
    ranges = [range(int(part.partition("-")[0]), int(part.partition("-")[2] or part) + 1) for part in parts[:-1]]
    if any(not one or one[-1] > 255 for one in ranges):
        return None
    found = itertools.islice(itertools.product(*ranges), 65536)
    return [ipaddress.ip_network(f"{'.'.join(map(str, octets))}{'.0' * (4 - len(octets))}/{8 * len(octets)}") for octets in found]
