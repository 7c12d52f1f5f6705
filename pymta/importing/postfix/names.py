"""postfix.names: who this host is, and whose mail it passes on."""
from __future__ import annotations

import re

from pymta.importing.postfix.reading import Reading
from pymta.importing.source import text


def names(it: Reading) -> None:
    values, out = it.values, it.out
    host = values.get("myhostname")
    if it.given("myhostname", "mydomain") and "myhostname" in values.given:
        out.set(*it.at("myhostname"), "host.name", host)
    origin = values.get("myorigin")
    if origin.startswith("/"):
        origin = text(it.source.read(origin)).split("\n")[0].strip() or host
    it.origin = origin.lower()
    it.local = [domain for domain in it.names_in("mydestination") if domain != "localhost"]
    explicit = "mydestination" in values.given
    if it.origin in it.local:
        it.local.sort(key=lambda domain: domain != it.origin)
    it.given("myorigin")
    if explicit or it.local:
        out.set(*it.at("mydestination"), "local.domains", ", ".join(it.local))
    if explicit and host.lower() not in it.local:
        out.different(*it.at("mydestination"), f"{host.lower()}, the name of this host, is always local here: its system users get mail; "
                      "local.system_users = no leaves them without")
    if "myorigin" in values.given and it.origin in it.local:
        out.same(*it.at("myorigin"), "the first of local.domains")
    elif it.origin not in it.local and it.origin != host.lower():
        out.different(*it.at("myorigin"), f"mail for a bare name (root, cron's mail) went to NAME@{it.origin}; here it is local: "
                      f"local.admin = root@{it.origin}; write aliases for others")
        out.settings.setdefault("local.admin", f"root@{it.origin}")
    delimiter = values.get("recipient_delimiter")
    out.settings["local.extension"] = "".join(dict.fromkeys(delimiter))
    if it.given("recipient_delimiter"):
        out.set(*it.at("recipient_delimiter"), "local.extension", "".join(dict.fromkeys(delimiter)))
    else:
        out.same("default", "recipient_delimiter =", "local.extension is empty: user+anything is nobody")


def networks(it: Reading) -> None:
    values, out = it.values, it.out
    lists = [*values.list("smtpd_relay_restrictions"), *values.list("smtpd_recipient_restrictions")]
    found = []
    if it.given("mynetworks"):
        for item in values.list("mynetworks"):
            if item.startswith(("/", "!")) or re.match(r"[a-z]+:", item) and not item.startswith("["):
                if item.startswith("/"):
                    found += [word for line in text(it.source.read(item)).split("\n") for word in line.partition("#")[0].split()]
                else:
                    out.unsupported(values.where("mynetworks"), f"mynetworks: {item}", "a table or an exception; list the networks in smtp.relay_from")
            else:
                found.append(item)
    else:
        found = ["127.0.0.0/8", "[::1]/128"]
    if "permit_mynetworks" not in lists:
        out.same(*it.at("mynetworks"), "smtp.relay_from is empty: nobody relays without a login, for permit_mynetworks stands in no list")
        return
    networks = [word.replace("[", "").replace("]", "") for word in found]
    out.set(*it.at("mynetworks"), "smtp.relay_from", " ".join(networks))
