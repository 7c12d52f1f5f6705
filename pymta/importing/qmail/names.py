"""qmail.names: who this host is, and what control files say with one number."""
from __future__ import annotations

import re

from pymta.importing.qmail.reading import COPIED, Reading
from pymta.importing.source import text


def names(it: Reading) -> None:
    out = it.out
    if where := it.lines("me"):
        out.set(where[0][0], f"me: {it.me}", "host.name", it.me)
    given = it.lines("locals") or [(f"{it.directory}/control/me:1", it.me)] * (not it.source.has(f"{it.directory}/control/locals"))
    it.local = list(dict.fromkeys(line.lower() for _, line in given if line.lower() != "localhost"))
    it.virtual = list(dict.fromkeys(line.lower().partition(":")[0] for _, line in it.lines("virtualdomains")
                                      if re.fullmatch(r"[^@:.\s][^@:\s]*:\S+", line) and line.lower().partition(":")[0] not in it.local))
    if it.local:
        out.set(given[0][0], f"locals: {', '.join(it.local)}", "local.domains", ", ".join(it.local))
    if it.me.lower() not in it.local:
        out.different(f"{it.directory}/control/me:1", f"me: {it.me}", "the name of this host is always local here; local.system_users = no leaves its users without mail")
    if it.virtual:
        out.settings["local.virtual_domains"] = ", ".join(it.virtual)


def settings(it: Reading) -> None:
    out = it.out
    for where, value in it.lines("databytes")[:1]:
        if value.lstrip("0"):
            out.set(where, f"databytes: {value}", "queue.size_max", value)
        else:
            out.set(where, f"databytes: {value}", "queue.size_max", "1G", "there is always a limit")
    for name, (ours, unit, default) in COPIED.items():
        for where, value in it.lines(name)[:1]:
            if value != default:
                out.set(where, f"{name}: {value}", ours, value + unit)
    if not it.lines("queuelifetime"):
        out.set("default", "queuelifetime: 604800", "queue.lifetime", "604800s")
    for where, value in it.lines("servercert.pem")[:1]:
        out.set(where.rpartition(":")[0], "servercert.pem", "tls.certificate", where.rpartition(":")[0])


def delivery(it: Reading) -> None:
    """What becomes of mail for whom no .qmail says anything."""
    lines = it.lines("defaultdelivery") or [(f"{it.directory}/rc:{number}", word) for number, line in enumerate(text(it.source.read(f"{it.directory}/rc")).split("\n"), 1)
                                              if not line.startswith("#") for word in re.findall(r"\./\S+?(?=['\"\s]|$)", line)]
    for where, value in lines:
        if value == "./Maildir/":
            it.out.same(where, value, "~/Maildir")
        elif value.endswith("/"):
            it.out.different(where, value, f"the Maildir of each user was ~/{value[2:-1]}, ours is ~/Maildir: as each user: ln -s {value[2:-1]} Maildir")
        elif value.startswith("|"):
            it.out.unsupported(where, value, "a program delivered the mail; ours puts it into ~/Maildir")
        else:
            it.out.different(where, value, "mail went to mbox files, ours goes to ~/Maildir: convert what is there (mb2md)")
    if not lines:
        it.out.different(f"{it.directory}/rc", "default delivery", "mail goes to ~/Maildir; if it went to mbox files, convert them (mb2md)")
