"""postfix.services: master.cf, and every setting that nobody has asked for."""
from __future__ import annotations

import re

from pymta.importing.postfix import grammar, maps, tables
from pymta.importing.postfix.grammar import Service
from pymta.importing.postfix.people import qualified
from pymta.importing.postfix.policy import each_restriction
from pymta.importing.postfix.reading import SERVICES, Reading


def master(it: Reading) -> None:
    out = it.out
    listening: set[str] = set()
    for service in it.services:
        what = f"{service.name} {service.type} {service.command}"
        if service.type in ("inet", "pass") and service.command == "smtpd":
            port = service.name.rpartition(":")[2]
            listening.add(SERVICES.get(port, port))
            _smtpd(it, service, what, port if service.type == "inet" else "smtp")      # pass: from postscreen
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
            out.unsupported(service.where, f"{what} -o content_filter={service.options['content_filter']}", tables.TOLD["content_filter"][1])
    if it.services and not listening & {"587", "465"}:
        out.different(f"{it.directory}/master.cf", "no submission", "ours takes mail from users who log in on 587 and 465; smtp.submission = and smtp.submissions = "
                      "(both empty) turn that off, under systemd: systemctl disable --now pymta-submission.socket pymta-submissions.socket")


def _smtpd(it: Reading, service: Service, what: str, port: str) -> None:
    out = it.out
    if port not in SERVICES and port.isascii() and port.isdigit() and len(port) < 6 and int(port) not in (25, 465, 587):
        submits = service.options.get("smtpd_sasl_auth_enable") == "yes"
        out.different(service.where, what, f"a further port: add {port} to {'smtp.submission' if submits else 'smtp.listen'} (under systemd: systemctl edit "
                      f"pymta-{'submission' if submits else 'smtp'}.socket)")
    elif port != "smtp" and port != "25":
        out.same(service.where, what, "smtp.submission" if port in ("submission", "587") else "smtp.submissions")
    for name, value in service.options.items():
        value = it.values.expand(value)
        at = f"-o {name}={value}"
        if name.endswith("_restrictions"):
            if port in ("smtp", "25"):
                each_restriction(it, service.where, at.partition("=")[0], grammar.items(value))
            else:
                extra = [word for word in grammar.items(value) if word not in ("permit_sasl_authenticated", "reject", "permit_mynetworks", "permit")
                         and "sender_login_mismatch" not in word and not word.startswith("$")]
                each_restriction(it, service.where, at.partition("=")[0], extra)
        elif name in ("smtpd_proxy_filter", "smtpd_milters") and value:
            out.unsupported(service.where, f"{what} {at}", tables.TOLD[name][1])
        elif name == "smtpd_upstream_proxy_protocol" and value:
            out.different(service.where, f"{what} {at}", "name the balancer's network in smtp.proxy_from")
        elif name not in ("syslog_name", "smtpd_tls_security_level", "smtpd_sasl_auth_enable", "smtpd_tls_wrappermode", "smtpd_tls_auth_only", "content_filter",
                          "smtpd_reject_unlisted_recipient", "milter_macro_daemon_name", "smtpd_sasl_type", "smtpd_sasl_path", "smtpd_sasl_security_options",
                          "smtpd_milters", "smtpd_proxy_filter", "smtpd_upstream_proxy_protocol", "receive_override_options", "cleanup_service_name"):
            out.different(service.where, f"{what} {at}", "a setting of one service; here pymta.conf holds for all")


def rest(it: Reading) -> None:
    """Every setting that nobody has asked for."""
    values, out = it.values, it.out
    for name, parameter in values.given.items():
        value = values.get(name)
        if name in it.done or name in values.defaults and value == values.expand(values.defaults[name]):
            continue
        what = f"{name} = {parameter.value}"
        if name in ("luser_relay",) and value:
            _luser(it, parameter.where, what, value)
        elif name == "local_recipient_maps":
            if value:
                out.same(parameter.where, what, "the users of the system and the aliases")
            elif not values.get("luser_relay"):
                out.different(parameter.where, what, "unknown names were taken and returned; here they are refused at RCPT")
        elif name in tables.TOLD:
            if value and value != "no":
                verdict, told = tables.TOLD[name]
                out.rows_for(verdict)(parameter.where, what, _with_count(it, name, told))
        elif name in tables.NEEDLESS:
            out.same(parameter.where, what, "nothing here has to be told")
        elif name.startswith(tables.TUNING[0]) and name not in values.asked:
            out.different(parameter.where, what, tables.TUNING[1])
        elif any(name.startswith(f"{service.name}_") for service in it.services) and re.search(r"_(?:time|destination|recipient|transport|process|initial|minimum)_?\w*$", name):
            out.different(parameter.where, what, "a limit of one service in master.cf")
        elif name not in values.asked and value:
            out.unsupported(parameter.where, what, "this program does not know what becomes of it; see postconf(5)")
    for service_path, why in it.source.unreadable.items():
        out.unsupported(service_path, service_path, f"cannot be read: {why}; run this as root")


def _with_count(it: Reading, name: str, told: str) -> str:
    if not name.endswith(("_maps", "_checks")):
        return told
    table = maps.read(it.source, it.values.list(name), it.directory, "")
    counts = [f"{len(table.entries)} entries"] if table.entries else []
    return f"{', '.join(counts + [why for _, why in table.problems]) or 'nothing'}: {told}"


def _luser(it: Reading, where: str, what: str, value: str) -> None:
    if "$" in value or value.startswith(("|", "/")) or not it.local:
        it.out.unsupported(where, what, "took mail for unknown names; write a catch-all alias @domain: user")
        return
    for domain in it.local:
        it.out.alias(where, f"@{domain}", [qualified(it, value)], told=True)
    it.out.same(where, what, f"catch-all aliases: {', '.join('@' + domain for domain in it.local)}")
