"""postfix.policy: sizes, TLS, logins, listeners and restrictions."""
from __future__ import annotations

import re

from pymta.importing.postfix import grammar, maps, tables
from pymta.importing.postfix.reading import Reading


def sizes(it: Reading) -> None:
    values, out = it.values, it.out
    if it.given("message_size_limit"):
        limit = values.get("message_size_limit")
        if limit == "0":
            out.set(*it.at("message_size_limit"), "queue.size_max", "1G", "there is always a limit")
        else:
            out.set(*it.at("message_size_limit"), "queue.size_max", limit)
    for name in ("mailbox_size_limit", "virtual_mailbox_limit"):
        if it.given(name) and values.get(name) not in ("0", values.defaults[name]):
            out.different(*it.at(name), "limited one file of mail; what a mailbox may hold is local.quota here, or quota= in users")
        elif name in values.given:
            out.same(*it.at(name), "a mailbox holds any amount (local.quota)")


def tls(it: Reading) -> None:
    values, out = it.values, it.out
    chain = values.list("smtpd_tls_chain_files")
    key = values.get("smtpd_tls_key_file")
    if chain:
        it.given("smtpd_tls_chain_files")
        if len(chain) > 2:
            out.different(*it.at("smtpd_tls_chain_files"), "several certificates: the first is taken; put the others into ETC/tls")
        _certificate(it, "smtpd_tls_chain_files", chain[-1] if len(chain) < 3 else chain[0], chain[0])
    elif values.get("smtpd_tls_cert_file"):
        _certificate(it, "smtpd_tls_cert_file", values.get("smtpd_tls_cert_file"), values.get("smtpd_tls_cert_file") if key in ("", "$smtpd_tls_cert_file") else key)
    it.given("smtpd_tls_chain_files", "smtpd_tls_cert_file", "smtpd_tls_key_file")
    if it.given("smtpd_tls_security_level"):
        if (level := values.get("smtpd_tls_security_level")) == "encrypt":
            out.unsupported(*it.at("smtpd_tls_security_level"), "refused mail without TLS on port 25; here only submission and logins want it")
        else:
            out.same(*it.at("smtpd_tls_security_level"), "STARTTLS is offered" if level == "may" else "STARTTLS is offered all the same")
    for name in ("smtpd_tls_protocols", "smtpd_tls_mandatory_protocols"):
        if it.given(name):
            value = values.get(name)
            least = "1.3" if ">=TLSv1.3" in value or "!TLSv1.2" in value.split(",") or re.search(r"!TLSv1\.2\b", value) else "1.2"
            out.set(*it.at(name), "tls.minimum", least, "" if "TLSv1.2" in value or "TLSv1.3" in value or "!TLSv1.1" in value else "older versions are not spoken")
    for name in ("smtpd_tls_eccert_file", "smtpd_tls_eckey_file", "smtpd_tls_dcert_file", "smtpd_tls_dkey_file", "tls_server_sni_maps"):
        if it.given(name):
            out.different(*it.at(name), "a further certificate: put it with its key into a directory below ETC/tls (tls.certificates)")


def _certificate(it: Reading, name: str, certificate: str, key: str) -> None:
    out = it.out
    if "snakeoil" in certificate:
        out.different(*it.at(name), "a self-signed certificate of the system; ours makes its own at the first start")
        return
    if not it.source.has(certificate) or not it.source.has(key):
        missing = certificate if not it.source.has(certificate) else key
        out.different(*it.at(name), f"there is no {missing}; set tls.certificate and tls.key when there is one; until then ours makes its own")
        return
    it.out.settings["tls.key"] = key
    it.out.set(*it.at(name), "tls.certificate", certificate)


def logins(it: Reading) -> None:
    values, out = it.values, it.out
    lists = " ".join(parameter.value for name, parameter in values.given.items() if name.endswith("_restrictions"))
    lists += " ".join(value for service in it.services for name, value in service.options.items() if name.endswith("_restrictions"))
    checked = "sender_login_mismatch" in lists
    if it.given("smtpd_sender_login_maps"):
        table = it.table("smtpd_sender_login_maps")
        for entry in table.entries.values():
            for login in grammar.items(entry.value):
                if login.lower() != entry.key.lower():
                    out.sender(entry.where, login, entry.key)
        out.same(*it.at("smtpd_sender_login_maps"), f"senders: {len(table.entries)} entries; each login has the addresses of its own besides")
    if values.get("smtpd_sasl_auth_enable") == "yes":
        out.different(*it.at("smtpd_sasl_auth_enable"), "logins are taken on 587 and 465 only, not on 25; set that in mail clients which use 25")
    submits = values.get("smtpd_sasl_auth_enable") == "yes" or any(one.options.get("smtpd_sasl_auth_enable") == "yes" for one in it.services)
    if submits and not checked:
        out.different(*it.at("smtpd_sender_login_maps"), "whoever logs in could give any address as sender; here it must be their own, or stand in senders "
                      "(smtp.sender_check)")
    it.given("smtpd_sasl_auth_enable")


def interfaces(it: Reading) -> None:
    values, out = it.values, it.out
    if not it.given("inet_interfaces"):
        return
    found = []
    for item in values.list("inet_interfaces"):
        if item == "all":
            out.same(*it.at("inet_interfaces"), "every address is listened on")
            return
        if item in ("loopback-only", "localhost"):
            found += ["127.0.0.1:25", "[::1]:25"]
        elif re.fullmatch(r"[0-9a-fA-F:.\[\]]+", item) and not re.fullmatch(r"[a-fA-F]+", item):
            address = item.strip("[]")
            found.append(f"[{address}]:25" if ":" in address else f"{address}:25")
        else:
            out.different(*it.at("inet_interfaces"), f"{item} is a name; write its address into smtp.listen")
    if values.get("inet_protocols") == "ipv4":
        found = [one for one in found if not one.startswith("[")]
    if found:
        out.set(*it.at("inet_interfaces"), "smtp.listen", " ".join(dict.fromkeys(found)),
                "under systemd the socket says it: systemctl edit pymta-smtp.socket; so do 587, 465 and those of IMAP and POP3")


def restrictions(it: Reading) -> None:
    out = it.out
    for name in sorted(it.values.given):
        if name.startswith("smtpd_") and name.endswith("_restrictions"):
            it.done.add(name)
            each_restriction(it, it.values.where(name), name, it.values.list(name))
    if it.given("smtpd_reject_unlisted_recipient", "smtpd_reject_unlisted_sender") and it.values.get("smtpd_reject_unlisted_recipient") == "no":
        out.different(*it.at("smtpd_reject_unlisted_recipient"), "who is not there is refused at RCPT")


def each_restriction(it: Reading, where: str, name: str, words: list[str]) -> None:
    out = it.out
    left = iter(words)
    for word in left:
        if word in ("permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination", "permit") or ":" in word and "{" not in word:
            if ":" in word:
                _counted(it, where, f"{name}: {word}", word)
            continue                                    # told with smtp.relay_from, or needs no word
        argument = next(left, "") if word in tables.WITH_ARGUMENT else ""
        what = f"{name}: {word} {argument}".strip()
        if word in ("reject_non_fqdn_helo_hostname", "reject_non_fqdn_hostname"):
            out.set(where, what, "smtp.helo_check", "strict")
        elif word in ("reject_unknown_client_hostname", "reject_unknown_client"):
            out.set(where, what, "smtp.require_ptr", "yes")
        elif word == "reject_unknown_reverse_client_hostname":
            out.set(where, what, "smtp.require_ptr", "yes", "the name must also lead back to the address; write log to see first whom it would meet")
        elif word.startswith("check_") and word.endswith("_access"):
            _counted(it, where, what, argument)
        elif word in tables.RESTRICTIONS:
            verdict, told = tables.RESTRICTIONS[word]
            out.rows_for(verdict)(where, what, told)
        else:
            out.unsupported(where, what, "a restriction this program does not know, or a class of your own; see postconf(5)")


def _counted(it: Reading, where: str, what: str, table: str) -> None:
    found = maps.read(it.source, [table], it.directory, where)
    count = f"{len(found.entries)} entries" if not found.problems else found.problems[0][1]
    it.out.unsupported(where, f"{what}", f"{count}: {tables.RESTRICTIONS['check_client_access'][1]}")


def copied(it: Reading) -> None:
    for name, (ours, unit) in tables.COPIED.items():
        if not it.given(name) or it.values.get(name) == it.values.expand(it.values.defaults.get(name, "")):
            continue
        value = it.values.get(name)
        if unit != "n" and value.isdigit():
            value += unit
        if unit == "n" and value == "0" and ours.startswith("remote."):
            it.out.different(*it.at(name), f"no limit there; ours is {ours}")
            continue
        it.out.set(*it.at(name), ours, value)
