"""exim.names: who this host is, whose mail it passes on, where it listens."""
from __future__ import annotations

import re

from pymta.importing.exim import debian, grammar, tables
from pymta.importing.exim.reading import Reading
from pymta.importing.source import text


def names(it: Reading) -> None:
    out, conf = it.out, it.conf
    if option := conf.main.get("primary_hostname"):
        out.set(option.where, str(option), "host.name", option.value)
    qualify = conf.get("qualify_recipient") or conf.get("qualify_domain") or it.host
    if qualify.startswith("/"):
        qualify = text(it.source.read(qualify)).split("\n")[0].strip() or it.host
    it.qualify = qualify.lower()
    if option := conf.lists.get("domainlist local_domains"):
        it.local = sorted(it.domains(option), key=lambda domain: domain != it.qualify)
        it.local_option = option
        out.set(option.where, str(option), "local.domains", ", ".join(it.local))
    else:
        out.different("default", "no domainlist local_domains", "this program looks for the list of this name; write local.domains by hand")
    if it.qualify not in it.local and it.qualify != it.host.lower():
        where = conf.main.get("qualify_recipient") or conf.main.get("qualify_domain") or it.local_option
        out.different(where.where, str(where), f"a bare name was one at {it.qualify}; here it is a user of this host: local.admin = root@{it.qualify}; write aliases for others")
        out.settings.setdefault("local.admin", f"root@{it.qualify}")
    if option := conf.lists.get("domainlist relay_to_domains"):
        domains = [domain for domain in it.domains(option) if domain not in it.local]
        if domains and out.set(option.where, str(option), "local.relay_domains", ", ".join(domains)):
            for domain in domains:
                out.relay_recipient(option.where, f"@{domain}")
            out.different(option.where, str(option), "everybody in them is taken (relay_recipients: @domain); Exim may have asked the other host; list the addresses where you can")
    for name, option in conf.lists.items():
        if name not in ("domainlist local_domains", "domainlist relay_to_domains", "hostlist relay_from_hosts"):
            it.done.add(name)


def networks(it: Reading) -> None:
    option = it.conf.lists.get("hostlist relay_from_hosts")
    if not option:
        it.out.same("default", "no hostlist relay_from_hosts", "smtp.relay_from is empty: nobody relays without a login")
        return
    found = []
    for item in grammar.items(option.value):
        if item == "localhost":
            found += ["127.0.0.0/8", "::1/128"]
        elif re.fullmatch(r"[0-9a-fA-F:.]+(?:/\d+)?", item) and ("." in item or ":" in item):
            found.append(item)
        elif item not in ("@[]", "@"):
            it.out.unsupported(option.where, f"{option.name}: {item}", "not a network; list networks in smtp.relay_from")
    it.out.set(option.where, str(option), "smtp.relay_from", " ".join(found))


def listeners(it: Reading) -> None:
    out, conf = it.out, it.conf
    ports = grammar.items(conf.get("daemon_smtp_ports") or conf.get("daemon_smtp_port") or "smtp")
    option = conf.main.get("local_interfaces") or conf.main.get("daemon_smtp_ports")
    if option:
        debian.listen(out, option.where, str(option), grammar.items(conf.get("local_interfaces")), ports)
    for name in ("tls_certificate", "tls_privatekey"):
        if (one := conf.main.get(name)) and (not one.value.startswith("/") or not it.source.has(one.value)):
            out.different(one.where, str(one), "there is no such file; set tls.certificate and tls.key when there is one; until then ours makes its own"
                          if one.value.startswith("/") else "a certificate chosen by name: put each with its key into a directory below ETC/tls")
            return
    if one := conf.main.get("tls_certificate"):
        out.settings["tls.key"] = conf.get("tls_privatekey") or one.value
        out.set(one.where, str(one), "tls.certificate", one.value)


def sizes(it: Reading) -> None:
    out, conf = it.out, it.conf
    if option := conf.main.get("message_size_limit"):
        if option.value.lstrip("0"):
            out.set(option.where, str(option), "queue.size_max", option.value.upper())
        else:
            out.set(option.where, str(option), "queue.size_max", "1G", "there is always a limit")
    for name, (ours, default) in tables.COPIED.items():
        it.done.add(name)
        if (one := conf.main.get(name)) and one.value != default:
            value = grammar.items(one.value)[0] if name == "delay_warning" and grammar.items(one.value) else one.value
            out.set(one.where, str(one), ours, value, "smtp.recipients_max" if value == "0" else "")
