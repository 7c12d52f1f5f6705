"""dovecot.rest: plugins, limits, and every setting that nobody has asked for."""
from __future__ import annotations

from pymta.importing.dovecot import tables
from pymta.importing.dovecot.reading import Reading
from pymta.importing.report import DIFFERENT


def plugins(it: Reading) -> None:
    """mail_plugins everywhere, and what their settings say."""
    found: dict[str, str] = {}
    for section in (it.top, *it.top.of("protocol")):
        if one := section.settings.get("mail_plugins"):
            found.update({name: found.get(name, one.where) for name in one.value.split()})
        for inner in section.of("mail_plugins"):
            found.update({name: one.where for name, one in inner.settings.items() if one.value in ("yes", "on", "1")})
    for name, where in found.items():
        if name not in tables.PLUGINS:
            it.out.unsupported(where, f"mail_plugins: {name}", "a plugin this program does not know")
            continue
        verdict, told = tables.PLUGINS[name]
        it.out.rows_for(verdict)(where, f"mail_plugins: {name}", told)
    for section in it.top.of("plugin"):
        for key, one in section.settings.items():
            plugin = next((name for name in sorted(tables.PLUGINS, key=len, reverse=True) if key == name or key.startswith(f"{name}_")), key)
            if key.startswith("quota") or not one.value:
                continue
            if plugin.startswith("sieve") or key.startswith(("sieve", "recipient_delimiter", "imapsieve", "imap_sieve")):
                it.out.unsupported(one.where, f"plugin: {one}", tables.PLUGINS["sieve"][1])
            elif plugin not in found:
                it.out.same(one.where, f"plugin: {one}", "its plugin was not loaded")
            elif tables.PLUGINS.get(plugin, ("", ""))[0] == DIFFERENT:
                it.out.different(one.where, f"plugin: {one}", tables.PLUGINS[plugin][1])


def limits(it: Reading) -> None:
    out = it.out
    for section in (it.top, *it.top.of("protocol")):
        if one := section.settings.get("mail_max_userip_connections"):
            if section.name in ("", "imap"):
                out.set(one.where, f"{section.kind} {section.name} {one}".strip(), "imap.sessions_per_user", one.value, "counted for all addresses of a user together")
        if one := section.settings.get("pop3_uidl_format"):
            if one.value not in ("%08Xu%08Xv", "%{uid | hex(8)}%{uidvalidity | hex(8)}"):
                out.different(one.where, str(one), f"POP3 clients know messages by it: pymta-maildir adopt USER --from dovecot --uidl-format '{one.value}'")
                out.next = {f"{line} --uidl-format '{one.value}'" if " adopt " in line else line: None for line in out.next}
    it.done |= {"mail_max_userip_connections", "pop3_uidl_format"}


def others(it: Reading) -> None:
    """Sections that have not been looked at."""
    known = {"passdb", "userdb", "namespace", "plugin", "protocol", "service", "local", "local_name", "remote", "mailbox", "quota", "mail_plugins"}
    for section in it.top.sections:
        if section.kind.startswith(("sieve", "imapsieve", "imap_sieve")):
            it.out.unsupported(section.where, f"{section.kind} {section.name}".strip(), tables.PLUGINS["sieve"][1])
        elif section.kind.startswith("fts"):
            it.out.same(section.where, f"{section.kind} {section.name}".strip(), tables.PLUGINS["fts"][1])
        elif section.kind not in known and not section.kind.startswith(tables.NEEDLESS):
            verdict = "unsupported" if section.settings or section.sections else "same"
            it.out.rows_for(verdict)(section.where, f"{section.kind} {section.name}".strip(), "this program does not know what becomes of it" if verdict != "same" else "empty")
        elif section.kind == "service" and section.name in ("replicator", "aggregator", "imap-urlauth-login", "doveadm", "quota-warning", "dict", "indexer-worker") \
                and (section.get("executable") or section.name in ("replicator", "quota-warning")):
            it.out.unsupported(section.where, f"service {section.name}", "ran a program or kept a copy elsewhere; nothing here does")


def rest(it: Reading) -> None:
    for section in (it.top, *it.top.of("protocol")):
        for key, one in section.settings.items():
            if key in it.done or key == "mail_plugins" or not one.value:
                continue
            what = f"{section.kind} {section.name}: {one}" if section.kind else str(one)
            if key in tables.TOLD:
                verdict, told = tables.TOLD[key]
                if one.value != "no":
                    it.out.rows_for(verdict)(one.where, what, told)
            elif key.startswith(tables.NEEDLESS):
                it.out.same(one.where, what, "nothing here has to be told")
            else:
                it.out.unsupported(one.where, what, "this program does not know what becomes of it; see doc.dovecot.org")
