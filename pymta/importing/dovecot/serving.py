"""dovecot.serving: protocols, ports, TLS and how one logs in."""
from __future__ import annotations

import re

from pymta.importing.dovecot import tables
from pymta.importing.dovecot.reading import Reading

_LOOPBACK = "127.0.0.0/8 ::1/128"


def protocols(it: Reading) -> None:
    out, given = it.out, it.top.get("protocols").split()
    it.served = {word.lower() for word in given} or {"imap", "pop3", "lmtp"}
    where, what = it.at("protocols")
    if not given:
        return
    for name in ("imap", "pop3"):
        if name in it.served:
            out.same(where, f"protocols: {name}", f"{name}.listen, {name}.listen_tls")
        else:
            out.set(where, f"{what} (without {name})", f"{name}.listen", "")
            out.set(where, f"{what} (without {name})", f"{name}.listen_tls", "",
                    f"under systemd: systemctl disable --now pymta-{name}.socket pymta-{name}s.socket")
    for name in sorted(it.served - {"imap", "pop3", "none"}):
        if name == "lmtp":
            out.different(where, "protocols: lmtp", "pymta-local delivers without LMTP; for mail from another server there is smtp.lmtp")
        elif name == "submission":
            out.same(where, "protocols: submission", "smtp.submission, smtp.submissions")
        elif name in ("sieve", "managesieve"):
            out.unsupported(where, f"protocols: {name}", tables.PLUGINS["sieve"][1])
        else:
            out.unsupported(where, f"protocols: {name}", "nothing here speaks it")


def listeners(it: Reading) -> None:
    """listen and the ports of the login services."""
    out = it.out
    hosts = [item.strip("[]") for item in re.split(r"[,\s]+", it.top.get("listen")) if item]
    everywhere = not hosts or bool({"*", "::"} & set(hosts))
    if hosts and everywhere:
        out.same(*it.at("listen"), "every address is listened on")
    ports = {"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}
    for service in it.top.of("service"):
        for listener in service.of("inet_listener"):
            if listener.name not in ports or service.name not in ("imap-login", "pop3-login"):
                if listener.get("port") not in ("", "0"):
                    where, what = it.at("port", listener)
                    _other_port(it, where, f"service {service.name} {{ inet_listener {listener.name} {{ {what} }} }}", service.name)
                continue
            port, address = listener.get("port"), listener.get("address") or listener.get("listen")
            if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) != ports[listener.name]) and not address:
                continue
            name, kind = (listener.name.removesuffix("s") if listener.name != "pop3s" else "pop3"), listener.name
            if listener.name == "imaps":
                name = "imap"
            number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else ports[kind]
            where, what = it.at("port" if port else "address", listener)
            text = f"service {service.name} {{ inet_listener {kind} {{ {what} }} }}"
            _listen(it, where, text, name, kind, re.split(r"[,\s]+", address) if address else hosts, number)
            del ports[kind]
    if not everywhere:
        for kind, number in ports.items():
            name = "imap" if kind.startswith("imap") else "pop3"
            if name in it.served:
                where, what = it.at("listen")
                _listen(it, where, f"{what} ({kind})", name, kind, hosts, number)


def _listen(it: Reading, where: str, what: str, name: str, kind: str, hosts: list[str], port: int) -> None:
    setting = f"{name}.listen_tls" if kind.endswith("s") else f"{name}.listen"
    if name not in it.served:
        return
    if not port:
        it.out.set(where, what, setting, "", f"under systemd: systemctl disable --now pymta-{kind}.socket")
        return
    addresses = ["[::]" if host in ("*", "::", "") else f"[{host.strip('[]')}]" if ":" in host else host for host in hosts or ["*"]]
    it.out.set(where, what, setting, " ".join(dict.fromkeys(f"{address}:{port}" for address in addresses)),
                 f"under systemd the socket says it: systemctl edit pymta-{kind}.socket")


def _other_port(it: Reading, where: str, what: str, service: str) -> None:
    if service.startswith("lmtp"):
        it.out.different(where, what, "mail from another server: smtp.lmtp = HOST:PORT")
    elif service.startswith("submission"):
        it.out.different(where, what, "smtp.submission, smtp.submissions")
    elif service.startswith("managesieve"):
        it.out.unsupported(where, what, "nothing here speaks ManageSieve")
    elif service == "auth":
        it.out.different(where, what, "another server asked for passwords there; pymta-smtpd looks into passwords itself")
    elif service.endswith("-login"):
        it.out.different(where, what, f"a further port: add it to {service.removesuffix('-login')}.listen")
    else:
        it.out.unsupported(where, what, "a service on the network that nothing here offers")


def tls(it: Reading) -> None:
    out, top = it.out, it.top
    certificate = next((key for key in ("ssl_server_cert_file", "ssl_cert") if top.get(key)), "")
    key = next((key for key in ("ssl_server_key_file", "ssl_key") if top.get(key)), "")
    it.done |= {"ssl_server_cert_file", "ssl_cert", "ssl_server_key_file", "ssl_key", "ssl_min_protocol", "ssl_protocols"}
    if certificate and key:
        paths = [top.get(one).removeprefix("<").strip() for one in (certificate, key)]
        missing = next((path for path in paths if not it.source.has(path)), "")
        if "snakeoil" in paths[0] or paths[0].startswith("/etc/dovecot/private/"):
            out.different(*it.at(certificate), "a certificate made at the installation; ours makes its own at the first start; or set tls.certificate and tls.key")
        elif not paths[0].startswith("/") or missing:
            out.different(*it.at(certificate), f"there is no {missing or paths[0][:40]}; set tls.certificate and tls.key; until then ours makes its own")
        else:
            out.settings["tls.key"] = paths[1]
            out.set(*it.at(certificate), "tls.certificate", paths[0])
    elif certificate:
        out.different(*it.at(certificate), "its key is not to be seen (doveconf -n hides it; doveconf -nP does not); set tls.certificate and tls.key")
    if top.get("ssl") == "no":
        out.different(*it.at("ssl"), "there was no TLS; here there is")
    elif top.get("ssl"):
        out.same(*it.at("ssl"), "TLS is offered; a password without it is taken on loopback only (login.plain_from)")
    for name in ("ssl_min_protocol", "ssl_protocols"):
        value = top.get(name)
        if value:
            least = "1.3" if value == "TLSv1.3" or name == "ssl_protocols" and "!TLSv1.2" in value else "1.2"
            older = name == "ssl_min_protocol" and value not in ("TLSv1.2", "TLSv1.3")
            out.set(*it.at(name), "tls.minimum", least, "older versions are not spoken" if older else "")
    for kind in ("local_name", "local", "remote"):
        for section in top.of(kind):
            certificate = section.get("ssl_cert") or section.get("ssl_server_cert_file")
            if certificate:
                out.different(section.where, f"{kind} {section.name}: {certificate}", "a further certificate: put it with its key into a directory below ETC/tls, "
                              "or name certbot's in tls.certificates; the names in it say whom it serves")
            if left := [one for one in section.settings.values() if not one.key.startswith("ssl_")]:
                out.unsupported(section.where, f"{kind} {section.name}: {', '.join(map(str, left))}", "settings for some clients only; here they hold for all")


def passwords_in_clear(it: Reading) -> None:
    out, top = it.out, it.top
    if top.get("disable_plaintext_auth") == "no" or top.get("auth_allow_cleartext") == "yes":
        key = "disable_plaintext_auth" if top.get("disable_plaintext_auth") else "auth_allow_cleartext"
        if top.get("ssl") != "required":
            out.different(*it.at(key), "passwords could cross the network in the clear; here only from loopback: login.plain_from, and mail clients must use TLS")
    if networks := [item for item in re.split(r"[,\s]+", top.get("login_trusted_networks")) if item]:
        out.set(*it.at("login_trusted_networks"), "login.plain_from", " ".join([_LOOPBACK, *networks]))
    it.done |= {"disable_plaintext_auth", "auth_allow_cleartext", "login_trusted_networks"}


def mechanisms(it: Reading) -> None:
    for name in it.top.get("auth_mechanisms").lower().split():
        if name not in tables.MECHANISMS:
            it.out.unsupported(it.at("auth_mechanisms")[0], f"auth_mechanisms: {name}", "logins here are PLAIN and LOGIN, under TLS; set that in mail clients which used this")
    value = it.top.get("auth_username_format")
    if value and value not in ("%Lu", "%u", "%{user | lower}", "%{user|lower}", "%{user}"):
        it.out.different(*it.at("auth_username_format"), "the login was changed before it was looked up; here it is the full address, or a bare name in the first domain")
    it.done |= {"auth_mechanisms", "auth_username_format"}
