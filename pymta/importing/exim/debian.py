"""debian: /etc/exim4/update-exim4.conf.conf, by which Debian makes a configuration of Exim (update-exim4.conf(8))."""
from __future__ import annotations

import re

from pymta.importing import aliasfile
from pymta.importing.exim import grammar
from pymta.importing.report import Import
from pymta.importing.source import Source, system_users, text

FILE = "update-exim4.conf.conf"
# files by which Debian's configuration can be changed, and what they do
_FILES = {"local_host_blacklist": "shut hosts out; the firewall does that", "local_sender_blacklist": "refused senders; nothing here does",
          "local_sender_callout": "asked other hosts whether senders are there; nothing here does", "local_rcpt_callout": "asked other hosts whether recipients are there; nothing here does",
          "local_domain_dnsbl_whitelist": "an exception from block lists", "host_local_deny_exceptions": "an exception from refusals", "sender_local_deny_exceptions": "an exception from refusals",
          "exim4.conf.localmacros": "macros that change Debian's configuration; look what each of them did", "passwd": "passwords of those who log in; write users and passwords",
          "passwd.client": "logged in at other hosts; nothing here does; let the smarthost take mail from this host's address"}


def read(source: Source, directory: str, host: str) -> Import:
    return _Reading(source, directory, host).run()


def listen(out: Import, where: str, what: str, interfaces: list[str], ports: list[str]) -> None:
    """smtp.listen and its like, from addresses (with .port behind, or [address]:port) and ports."""
    found: dict[str, list[str]] = {"smtp.listen": [], "smtp.submission": [], "smtp.submissions": []}
    for item in interfaces or ["0.0.0.0"]:
        match = re.fullmatch(r"\[([0-9a-fA-F:.]+)\]:(\d+)|([0-9.]+?)\.(\d{2,5})|([0-9a-fA-F:.]+)", item) if item.count(".") != 3 else re.fullmatch(r"()()()()([0-9.]+)", item)
        if not match:
            out.different(where, f"{what}: {item}", "not an address; write it into smtp.listen")
            continue
        address, own = (match[1] or match[3] or match[5] or ""), match[2] or match[4]
        for port in [own] if own else [{"smtp": "25", "submission": "587", "submissions": "465", "smtps": "465", "ssmtp": "465"}.get(port, port) for port in ports]:
            name = {"587": "smtp.submission", "465": "smtp.submissions"}.get(port, "smtp.listen")
            shown = "[::]" if address in ("0.0.0.0", "::", "::0", "") else f"[{address}]" if ":" in address else address
            if f"{shown}:{port}" not in found[name]:
                found[name].append(f"{shown}:{port}")
    for name, addresses in found.items():
        if addresses and addresses != [{"smtp.listen": "[::]:25", "smtp.submission": "[::]:587", "smtp.submissions": "[::]:465"}[name]]:
            unit = {"smtp.listen": "smtp", "smtp.submission": "submission", "smtp.submissions": "submissions"}[name]
            out.set(where, what, name, " ".join(addresses), f"under systemd the socket says it: systemctl edit pymta-{unit}.socket")


class _Reading:
    def __init__(self, source: Source, directory: str, host: str) -> None:
        self.source, self.directory, self.host, self.out = source, directory, host, Import()
        self.path = f"{directory}/{FILE}"
        self.values: dict[str, tuple[str, str]] = {}        # name -> (where, value)
        for number, line in enumerate(text(source.read(self.path)).split("\n"), 1):
            if match := re.fullmatch(r"\s*(\w+)=(?:'([^']*)'|\"([^\"]*)\"|(\S*))\s*(?:#.*)?", line):
                self.values[match[1]] = f"{self.path}:{number}", match[2] or match[3] or match[4] or ""
        self.mailname = text(source.read("/etc/mailname")).split("\n")[0].strip().lower() or host

    def get(self, name: str) -> tuple[str, str, str]:
        """(where, what, value)."""
        where, value = self.values.get(name, ("default", ""))
        return where, f"{name}='{value}'", value

    def list(self, name: str) -> list[str]:
        value = self.get(name)[2]
        return [item.strip() for item in (value.split(";") if ";" in value else grammar.items(value)) if item.strip()]

    def run(self) -> Import:
        out = self.out
        where, what, kind = self.get("dc_eximconfig_configtype")
        other = [domain.lower() for domain in self.list("dc_other_hostnames") if domain.lower() not in ("localhost", "@")]
        local = list(dict.fromkeys([*([self.mailname] if self.mailname in other or kind != "satellite" else []), *other, *([self.host.lower()] if kind != "satellite" else [])]))
        local = [domain for domain in local if re.fullmatch(r"[a-z0-9_.-]+", domain)]
        out.set(*self.get("dc_other_hostnames")[:2], "local.domains", ", ".join(local))
        out.settings["local.extension"] = ""
        getattr(self, f"_{kind}", self._none)(where, what)
        self._relay()
        listen(out, *self.get("dc_local_interfaces")[:2], self.list("dc_local_interfaces"), ["25"])
        self._delivery()
        for name in ("dc_use_split_config", "dc_minimaldns", "dc_mailname_in_oh", "CFILEMODE"):
            if name in self.values:
                out.same(*self.get(name)[:2], "nothing here has to be told")
        if self.get("dc_hide_mailname")[2] == "true":
            out.unsupported(*self.get("dc_hide_mailname")[:2], f"wrote senders as @{self.get('dc_readhost')[2]}; here they stay as they are; let programs write the right address")
        self._aliases()
        self._files()
        for path, why in self.source.unreadable.items():
            out.unsupported(path, path, f"cannot be read: {why}; run this as root")
        return out

    # ---- kinds of configuration ---------------------------------------------------------------------------------------
    def _internet(self, where: str, what: str) -> None:
        self.out.same(where, what, "mail for other hosts goes by MX")

    def _smarthost(self, where: str, what: str) -> None:
        where, what, _ = self.get("dc_smarthost")
        hosts = self.list("dc_smarthost")
        if not hosts:
            self.out.different(where, what, "no smarthost is named: mail goes by MX")
            return
        match = re.fullmatch(r"(\[[^\]]+\]|[^:\s]+)(?:::?(\d+))?", hosts[0])
        host, port = (match[1], match[2] or "25") if match else (hosts[0], "25")
        host = host[1:-1] if host.startswith("[") and ":" not in host else host
        self.out.set(where, what, "remote.smarthost", f"{host}:{port}", f"only {host} is asked, not {', '.join(hosts[1:])}" if len(hosts) > 1 else "")

    def _satellite(self, where: str, what: str) -> None:
        self._smarthost(where, what)
        hub = self.get("dc_readhost")[2]
        if not hub:
            return
        self.out.set(*self.get("dc_readhost")[:2], "local.admin", f"root@{hub}")
        for name, uid, _ in system_users(self.source):
            if uid >= 1000 and uid < 60000:
                self.out.alias(self.get("dc_readhost")[0], name, [f"{name}@{hub}"])
        self.out.different(where, what, f"mail for the users of this host goes to {hub}: an alias for each, also for those who are made later")

    def _local(self, where: str, what: str) -> None:
        self.out.unsupported(where, what, "mail for other hosts was refused; here it goes by MX; let the firewall stop it, or set remote.smarthost to a host that refuses it")

    def _none(self, where: str, what: str) -> None:
        self.out.different(where, what, "no configuration was made of this file")

    # ---- the rest -----------------------------------------------------------------------------------------------------
    def _relay(self) -> None:
        out = self.out
        domains = [domain.lower() for domain in self.list("dc_relay_domains")]
        plain = [domain for domain in domains if re.fullmatch(r"[a-z0-9_.-]+", domain) and not domain.startswith(".")]
        where, what, _ = self.get("dc_relay_domains")
        for domain in set(domains) - set(plain):
            out.unsupported(where, f"dc_relay_domains: {domain}", "not a plain domain; list those that get mail in local.relay_domains")
        if plain and out.set(where, what, "local.relay_domains", ", ".join(plain)):
            for domain in plain:
                out.relay_recipient(where, f"@{domain}")
            out.different(where, what, "everybody in them is taken (relay_recipients: @domain), as before; list the addresses where you can")
        where, what, _ = self.get("dc_relay_nets")
        networks = [item for item in self.list("dc_relay_nets") if re.fullmatch(r"[0-9a-fA-F:.]+(?:/\d+)?", item) and ("." in item or ":" in item)]
        for item in set(self.list("dc_relay_nets")) - set(networks):
            out.unsupported(where, f"dc_relay_nets: {item}", "not a network; list networks in smtp.relay_from")
        out.set(where, what, "smtp.relay_from", " ".join(["127.0.0.1", "::1", *networks]))

    def _delivery(self) -> None:
        where, what, value = self.get("dc_localdelivery")
        if value == "maildir_home":
            self.out.same(where, what, "~/Maildir")
        elif value in ("mail_spool", ""):
            self.out.different(where, what, "mail went to mbox files in /var/mail, ours goes to ~/Maildir: convert what is there (mb2md)")
        else:
            self.out.unsupported(where, what, "another transport delivered the mail; ours puts it into ~/Maildir")

    def _aliases(self) -> None:
        for number, name, targets in aliasfile.entries(text(self.source.read("/etc/aliases"))):
            self.out.alias(f"/etc/aliases:{number}", name, targets)
        for name, uid, home in system_users(self.source):
            content = text(self.source.read(f"{home.rstrip('/')}/.forward")) if uid >= 1000 and home not in ("/", "") else ""
            targets = [f"\\{name}" if target.lstrip("\\").lower() == name.lower() else target for _, target in aliasfile.forward(content)]
            if re.match(r"#\s*(?:Exim|Sieve) filter", content, re.I):
                self.out.unsupported(f"{home}/.forward:1", name, "a filter of the user; nothing here runs it; mail clients can sort")
            elif targets and name.lower() in self.out.aliases:
                self.out.different(f"{home}/.forward:1", name, "an alias has this name already; write into it what the .forward says")
            elif targets and self.out.alias(f"{home}/.forward:1", name, targets, told=True):
                self.out.different(f"{home}/.forward:1", ", ".join(targets), f"now the alias {name}, which the admin changes, not {name}")

    def _files(self) -> None:
        out = self.out
        if rows := _rows(self.source, "/etc/email-addresses"):
            out.unsupported(f"/etc/email-addresses:{rows[0][0]}", f"{len(rows)} users", "their addresses as senders were rewritten; here they stay as they are; let programs write the right one")
        for name, told in _FILES.items():
            if rows := _rows(self.source, f"{self.directory}/{name}"):
                out.unsupported(f"{self.directory}/{name}:{rows[0][0]}", f"{name}: {len(rows)} lines", told)
        for number, line in _rows(self.source, f"{self.directory}/hubbed_hosts"):
            domain, _, hosts = line.partition(":")
            found = grammar.items(hosts.strip())
            out.transport(f"{self.directory}/hubbed_hosts:{number}", line, domain.strip().removeprefix("*"), found[0].split()[0] if found else "mx",
                          f"only {found[0]} is asked" if len(found) > 1 else "")


def _rows(source: Source, path: str) -> list[tuple[int, str]]:
    """(number, line) of what is no comment."""
    return [(number, line.strip()) for number, line in enumerate(text(source.read(path)).split("\n"), 1) if line.strip() and not line.strip().startswith("#")]
