"""exim.rest: ACLs, authenticators, retry and rewrite rules, and every option that nobody has asked for."""
from __future__ import annotations

import re

from pymta.importing.exim import tables
from pymta.importing.exim.grammar import Option
from pymta.importing.exim.reading import Reading
from pymta.importing.source import text


def acls(it: Reading) -> None:
    used = {option.value: option for name, option in it.conf.main.items() if name.startswith("acl_")}
    it.done |= {name for name in it.conf.main if name.startswith("acl_")}
    for block in it.conf.of("acl"):
        asked = block.name in used
        for statement in block.statements:
            shown = " ".join(map(str, statement))
            where = statement[0].where
            if asked or not used:
                _statement(it, where, f"acl {block.name}: {shown}", statement)
            else:
                it.out.unsupported(where, f"acl {block.name}: {shown}", "asked by other checks; nothing here does")


def _statement(it: Reading, where: str, what: str, statement: list[Option]) -> None:
    conditions = {one.name.lstrip("!").strip(): one.value for one in statement[1:] if one.name not in ("message", "log_message", "logwrite", "endpass", "set acl_m_x")
                  and not (one.name == "control" and one.value.startswith(("submission", "dkim_disable_verify")))}
    verb = statement[0].name
    if not conditions and verb in ("accept", "warn") or any(conditions.get(name) == "" for name in ("hosts", "senders", "recipients", "domains")):
        return                                          # says nothing, or never holds
    if verb == "accept" and set(conditions) <= {"hosts", "authenticated", "local_parts", "domains", "verify", "encrypted"} and not any(
            "$" in value for value in conditions.values()) and "callout" not in conditions.get("verify", ""):
        it.out.same(where, what, "nobody relays but by login or smtp.relay_from; who is not there is refused at RCPT")
    elif verb == "require" and (set(conditions) == {"domains"} or conditions == {"verify": "recipient"} or conditions == {"verify": "header_syntax"}):
        it.out.same(where, what, "nobody relays but by login or smtp.relay_from; who is not there is refused at RCPT")
    elif verb == "deny" and set(conditions) == {"domains", "local_parts"}:
        it.out.same(where, what, "such names are nobody's; there is no percent hack and no bang path")
    elif verb == "deny" and set(conditions) == {"condition"} and "max_received_linelength" in conditions["condition"]:
        it.out.different(where, what, "long lines are taken")
    else:
        told = next((told for word, told in tables.ACL if word in conditions), "a rule of your own; nothing here does it; put a filter before this host")
        it.out.unsupported(where, what, told)


def logins(it: Reading) -> None:
    for block in it.conf.of("authenticators"):
        what = f"authenticator {block.name} ({block.get('driver')})"
        if block.get("client_send") or block.get("client_name") or block.get("client_secret"):
            it.out.unsupported(block.where, what, "logged in at other hosts; nothing here does")
        elif block.get("driver") == "dovecot":
            it.out.different(block.where, what, "logins are checked against passwords: pymta-import dovecot brings them")
        elif block.get("driver") == "plaintext":
            it.out.different(block.where, what, "logins are taken on 587 and 465, and checked against passwords (PLAIN, LOGIN): pymta-passwd NAME")
        else:
            it.out.unsupported(block.where, what, "logins here are PLAIN and LOGIN, under TLS; set that in mail clients which used this")


def rules(it: Reading) -> None:
    for section, where, line in it.conf.rules:
        table = re.search(r"lsearch\{(/[^{}]*)\}", line)
        if section == "rewrite" and table and not [1 for row in text(it.source.read(table[1])).split("\n") if row.strip() and not row.startswith("#")]:
            it.out.same(where, f"rewrite: {line}", f"nothing stands in {table[1]}")
            continue
        if section == "rewrite":
            it.out.unsupported(where, f"rewrite: {line}", "rewrote addresses; here they stay as they are; let programs and mail clients write the right ones")
            continue
        words = line.split(None, 2)
        last = re.findall(r"[FG],\s*(\d+[smhdw](?:\d+[smhdw])?)\s*,", line)
        if words[:2] == ["*", "*"] and last and re.fullmatch(r"\d+[smhdw]", last[-1]):
            it.out.set(where, f"retry: {line}", "queue.lifetime", last[-1], "how long; the steps are those of queue.retry")
        else:
            it.out.different(where, f"retry: {line}", "a rule for some hosts or errors; here queue.retry and queue.lifetime hold for all")


def rest(it: Reading) -> None:
    for name, option in it.conf.main.items():
        if name in it.done:
            continue
        if name in tables.TOLD:
            verdict, told = tables.TOLD[name]
            it.out.rows_for(verdict)(option.where, str(option), told)
        elif name in tables.NEEDLESS:
            it.out.same(option.where, str(option), "nothing here has to be told, or it is told above")
        else:
            it.out.unsupported(option.where, str(option), "this program does not know what becomes of it")
