"""dovecot: dovecot.conf, its users and where their mail lies, in our words.  Versions 2.0 to 2.4.          pymta-import(8)"""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pymta.importing import dovecotconf, dovecottables, dovecotusers
from pymta.importing.dovecotconf import Section
from pymta.importing.report import DIFFERENT, Import
from pymta.importing.source import Source, system_users

PLACES: tuple[str, ...] = ("/etc/dovecot", "/usr/local/etc/dovecot")
_LOOPBACK = "127.0.0.0/8 ::1/128"
_FORMATS = {"mbox", "dbox", "sdbox", "mdbox", "mailstore", "imapc", "pop3c", "cydir", "obox"}


def is_there(source: Source, directory: str) -> bool:
    return source.has(f"{directory}/dovecot.conf")


def read(source: Source, directory: str = PLACES[0], *, host: str = "localhost", output: bytes | None = None) -> Import:
    """output: what `doveconf -n` printed, instead of dovecot.conf and what it includes."""
    found = dovecotconf.read(source, f"{directory}/dovecot.conf" if output is None else "doveconf -n", output)
    return _Reading(source, found).run()


@dataclass(frozen=True, slots=True)
class _Box:
    """Where mail lies: format, path with variables, layout and further options of mail_location."""

    format: str
    path: str
    options: dict[str, str]


class _Reading:
    def __init__(self, source: Source, found: dovecotconf.Configuration) -> None:
        self.source, self.out, self.top = source, Import(), found.top
        self.done: set[str] = set()
        for where, what, why in found.problems:
            self.out.unsupported(where, what, why)
        self.quota = ""
        self.seen: set[str] = set()                         # users
        self.converted = False
        self.by_password = True                             # whether a line with a password is a user

    def run(self) -> Import:
        for step in (self.protocols, self.listeners, self.tls, self.passwords_in_clear, self.mechanisms, self.quotas, self.location, self.users,
                     self.namespaces, self.plugins, self.limits, self.others, self.rest):
            step()
        for path, why in self.source.unreadable.items():
            self.out.unsupported(path, path, f"cannot be read: {why}; run this as root")
        return self.out

    def at(self, key: str, section: Section | None = None) -> tuple[str, str]:
        """(where, what) of a setting."""
        self.done.add(key)
        found = (section or self.top).settings.get(key)
        return (found.where, str(found)) if found else ("default", key)

    # ---- what is served -----------------------------------------------------------------------------------------------
    def protocols(self) -> None:
        out, given = self.out, self.top.get("protocols").split()
        self.served = {word.lower() for word in given} or {"imap", "pop3", "lmtp"}
        where, what = self.at("protocols")
        if not given:
            return
        for name in ("imap", "pop3"):
            if name in self.served:
                out.same(where, f"protocols: {name}", f"{name}.listen, {name}.listen_tls")
            else:
                out.set(where, f"{what} (without {name})", f"{name}.listen", "")
                out.set(where, f"{what} (without {name})", f"{name}.listen_tls", "",
                        f"under systemd: systemctl disable --now pymta-{name}.socket pymta-{name}s.socket")
        for name in sorted(self.served - {"imap", "pop3", "none"}):
            if name == "lmtp":
                out.different(where, "protocols: lmtp", "pymta-local delivers without LMTP; for mail from another server there is smtp.lmtp")
            elif name == "submission":
                out.same(where, "protocols: submission", "smtp.submission, smtp.submissions")
            elif name in ("sieve", "managesieve"):
                out.unsupported(where, f"protocols: {name}", dovecottables.PLUGINS["sieve"][1])
            else:
                out.unsupported(where, f"protocols: {name}", "nothing here speaks it")

    def listeners(self) -> None:
        """listen and the ports of the login services."""
        out = self.out
        hosts = [item.strip("[]") for item in re.split(r"[,\s]+", self.top.get("listen")) if item]
        everywhere = not hosts or bool({"*", "::"} & set(hosts))
        if hosts and everywhere:
            out.same(*self.at("listen"), "every address is listened on")
        ports = {"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}
        for service in self.top.of("service"):
            for listener in service.of("inet_listener"):
                if listener.name not in ports or service.name not in ("imap-login", "pop3-login"):
                    if listener.get("port") not in ("", "0"):
                        where, what = self.at("port", listener)
                        self._other_port(where, f"service {service.name} {{ inet_listener {listener.name} {{ {what} }} }}", service.name)
                    continue
                port, address = listener.get("port"), listener.get("address") or listener.get("listen")
                if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) != ports[listener.name]) and not address:
                    continue
                name, kind = (listener.name.removesuffix("s") if listener.name != "pop3s" else "pop3"), listener.name
                if listener.name == "imaps":
                    name = "imap"
                number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else ports[kind]
                where, what = self.at("port" if port else "address", listener)
                text = f"service {service.name} {{ inet_listener {kind} {{ {what} }} }}"
                self._listen(where, text, name, kind, re.split(r"[,\s]+", address) if address else hosts, number)
                del ports[kind]
        if not everywhere:
            for kind, number in ports.items():
                name = "imap" if kind.startswith("imap") else "pop3"
                if name in self.served:
                    where, what = self.at("listen")
                    self._listen(where, f"{what} ({kind})", name, kind, hosts, number)

    def _listen(self, where: str, what: str, name: str, kind: str, hosts: list[str], port: int) -> None:
        setting = f"{name}.listen_tls" if kind.endswith("s") else f"{name}.listen"
        if name not in self.served:
            return
        if not port:
            self.out.set(where, what, setting, "", f"under systemd: systemctl disable --now pymta-{kind}.socket")
            return
        addresses = ["[::]" if host in ("*", "::", "") else f"[{host.strip('[]')}]" if ":" in host else host for host in hosts or ["*"]]
        self.out.set(where, what, setting, " ".join(dict.fromkeys(f"{address}:{port}" for address in addresses)),
                     f"under systemd the socket says it: systemctl edit pymta-{kind}.socket")

    def _other_port(self, where: str, what: str, service: str) -> None:
        if service.startswith("lmtp"):
            self.out.different(where, what, "mail from another server: smtp.lmtp = HOST:PORT")
        elif service.startswith("submission"):
            self.out.different(where, what, "smtp.submission, smtp.submissions")
        elif service.startswith("managesieve"):
            self.out.unsupported(where, what, "nothing here speaks ManageSieve")
        elif service == "auth":
            self.out.different(where, what, "another server asked for passwords there; pymta-smtpd looks into passwords itself")
        elif service.endswith("-login"):
            self.out.different(where, what, f"a further port: add it to {service.removesuffix('-login')}.listen")
        else:
            self.out.unsupported(where, what, "a service on the network that nothing here offers")

    # ---- TLS and logins -----------------------------------------------------------------------------------------------
    def tls(self) -> None:
        out, top = self.out, self.top
        certificate = next((key for key in ("ssl_server_cert_file", "ssl_cert") if top.get(key)), "")
        key = next((key for key in ("ssl_server_key_file", "ssl_key") if top.get(key)), "")
        self.done |= {"ssl_server_cert_file", "ssl_cert", "ssl_server_key_file", "ssl_key", "ssl_min_protocol", "ssl_protocols"}
        if certificate and key:
            paths = [top.get(one).removeprefix("<").strip() for one in (certificate, key)]
            missing = next((path for path in paths if not self.source.has(path)), "")
            if "snakeoil" in paths[0] or paths[0].startswith("/etc/dovecot/private/"):
                out.different(*self.at(certificate), "a certificate made at the installation; ours makes its own at the first start; or set tls.certificate and tls.key")
            elif not paths[0].startswith("/") or missing:
                out.different(*self.at(certificate), f"there is no {missing or paths[0][:40]}; set tls.certificate and tls.key; until then ours makes its own")
            else:
                out.settings["tls.key"] = paths[1]
                out.set(*self.at(certificate), "tls.certificate", paths[0])
        elif certificate:
            out.different(*self.at(certificate), "its key is not to be seen (doveconf -n hides it; doveconf -nP does not); set tls.certificate and tls.key")
        if top.get("ssl") == "no":
            out.different(*self.at("ssl"), "there was no TLS; here there is")
        elif top.get("ssl"):
            out.same(*self.at("ssl"), "TLS is offered; a password without it is taken on loopback only (login.plain_from)")
        for name in ("ssl_min_protocol", "ssl_protocols"):
            value = top.get(name)
            if value:
                least = "1.3" if value == "TLSv1.3" or name == "ssl_protocols" and "!TLSv1.2" in value else "1.2"
                older = name == "ssl_min_protocol" and value not in ("TLSv1.2", "TLSv1.3")
                out.set(*self.at(name), "tls.minimum", least, "older versions are not spoken" if older else "")
        for kind in ("local_name", "local", "remote"):
            for section in top.of(kind):
                certificate = section.get("ssl_cert") or section.get("ssl_server_cert_file")
                if certificate:
                    out.different(section.where, f"{kind} {section.name}: {certificate}", "a further certificate: put it with its key into a directory below ETC/tls, "
                                  "or name certbot's in tls.certificates; the names in it say whom it serves")
                if left := [one for one in section.settings.values() if not one.key.startswith("ssl_")]:
                    out.unsupported(section.where, f"{kind} {section.name}: {', '.join(map(str, left))}", "settings for some clients only; here they hold for all")

    def passwords_in_clear(self) -> None:
        out, top = self.out, self.top
        if top.get("disable_plaintext_auth") == "no" or top.get("auth_allow_cleartext") == "yes":
            key = "disable_plaintext_auth" if top.get("disable_plaintext_auth") else "auth_allow_cleartext"
            if top.get("ssl") != "required":
                out.different(*self.at(key), "passwords could cross the network in the clear; here only from loopback: login.plain_from, and mail clients must use TLS")
        if networks := [item for item in re.split(r"[,\s]+", top.get("login_trusted_networks")) if item]:
            out.set(*self.at("login_trusted_networks"), "login.plain_from", " ".join([_LOOPBACK, *networks]))
        self.done |= {"disable_plaintext_auth", "auth_allow_cleartext", "login_trusted_networks"}

    def mechanisms(self) -> None:
        for name in self.top.get("auth_mechanisms").lower().split():
            if name not in dovecottables.MECHANISMS:
                self.out.unsupported(self.at("auth_mechanisms")[0], f"auth_mechanisms: {name}", "logins here are PLAIN and LOGIN, under TLS; set that in mail clients which used this")
        value = self.top.get("auth_username_format")
        if value and value not in ("%Lu", "%u", "%{user | lower}", "%{user|lower}", "%{user}"):
            self.out.different(*self.at("auth_username_format"), "the login was changed before it was looked up; here it is the full address, or a bare name in the first domain")
        self.done |= {"auth_mechanisms", "auth_username_format"}

    def quotas(self) -> None:
        out = self.out
        found: list[tuple[str, str, str, int]] = []         # where, what, rule, octets of a bare number
        plugin = next(self.top.of("plugin"), Section("plugin", "", ""))
        for key, one in plugin.settings.items():
            if re.fullmatch(r"quota\d*_rule\d*", key):
                found.append((one.where, f"plugin: {one}", one.value, 1024))
        for section in self.top.of("quota"):
            if size := section.settings.get("storage_size") or section.settings.get("quota_storage_size"):
                found.append((size.where, f"quota {section.name}: {size}", f"*:bytes={size.value}", 1))
        if top := self.top.settings.get("quota_storage_size"):
            found.append((*self.at("quota_storage_size"), f"*:bytes={top.value}", 1))
        for where, what, rule, unit in found:
            size_ = dovecotusers.quota(rule, plain_unit=unit)
            if size_ is None or self.quota:
                out.unsupported(where, what, "a rule for one folder, or for the number of messages; here the whole mailbox has one size")
            elif out.set(where, what, "local.quota", size_):
                self.quota = size_

    # ---- mailboxes ----------------------------------------------------------------------------------------------------
    def location(self) -> None:
        out, top = self.out, self.top
        for key in ("mail_location", "mail_driver", "mail_path", "mail_inbox_path", "mail_control_path", "mail_home", "mail_uid", "mail_gid"):
            self.done.add(key)
        inbox = next((one for one in top.of("namespace") if one.get("inbox") == "yes"), None)
        location = top.get("mail_location") or (inbox.get("location") if inbox else "")
        if location:
            self.where, self.what = self.at("mail_location")
            self.box = _location(location)
        else:
            self.where, self.what = self.at("mail_path" if top.get("mail_path") else "mail_driver")
            options = {"INBOX": top.get("mail_inbox_path"), "CONTROL": top.get("mail_control_path"),
                       "LAYOUT": "fs" if top.get("mailbox_list_layout") == "fs" else ""}
            self.box = _Box(top.get("mail_driver"), top.get("mail_path"), {key: value for key, value in options.items() if value})
        box = self.box
        if not box.format:
            out.different(self.where, self.what, "Dovecot looked where mail lies; here it is Maildir in the home")
        elif box.format != "maildir":
            self._convert(self.where, self.what, box)
        else:
            if box.options.get("LAYOUT") == "fs":
                self._convert(self.where, self.what, box)
            elif box.path in ("~/Maildir", "%h/Maildir", "%{home}/Maildir"):
                out.same(self.where, self.what, "Maildir in the home, where it lies")
            if "CONTROL" in box.options:
                out.different(self.where, f"{self.what} (CONTROL)", "uidlist and subscriptions lie apart: move them into the Maildir before pymta-maildir adopt")
            if box.options.get("INBOX", box.path) not in (box.path, f"{box.path}/"):
                out.unsupported(self.where, f"{self.what} (INBOX)", "INBOX lies apart from the other folders; move its new/ and cur/ into the Maildir")
            if "UTF-8" in box.options:
                out.different(self.where, f"{self.what} (UTF-8)", "folders' names lie in UTF-8, ours in modified UTF-7; rename what is not ASCII")

    def _convert(self, where: str, what: str, box: _Box) -> None:
        self.converted = True
        known = box.format if box.format in _FORMATS else "another format"
        kind = "Maildir with folders in folders" if box.format == "maildir" else known
        self.out.unsupported(where, what, f"mail lies as {kind}, which nothing here reads; with Dovecot still there, for each user: "
                             "doveadm backup -u USER maildir:HOME/Maildir  (writes a Maildir with the same UIDs and flags)")

    def users(self) -> None:
        out, top = self.out, self.top
        home, uid, gid = self._defaults()
        found = False
        databases = [*top.of("userdb"), *top.of("passdb")]     # what userdb says of a user holds
        kinds = {section.get("driver") or section.name for section in top.of("userdb")}
        self.by_password = not kinds or bool(kinds & {"static", "prefetch"})
        for section in databases:
            driver = section.get("driver") or section.name
            args = section.get("args")
            what = f"{section.kind} {driver}" + (f": {args}" if args and "password=" not in args else "")
            where = section.where
            if section.get("deny") == "yes" or section.get("passdb_deny") == "yes":
                out.unsupported(where, f"{what} (deny)", "shut some users out; write ! before their hash in passwords")
                continue
            if section.get("master") == "yes" or section.get("passdb_master") == "yes":
                out.unsupported(where, f"{what} (master)", dovecottables.TOLD["auth_master_user_separator"][1])
                continue
            if driver == "passwd-file":
                found = True
                self._passwd_file(section, where, what, args, home, uid, gid)
            elif section.kind == "userdb":
                if driver == "passwd":
                    out.same(where, what, "the users of the system (local.system_users)")
                    self._system(home)
                elif driver == "static":
                    out.same(where, what, f"each line of users says it: uid {uid or '-'}, gid {gid or '-'}, home {home or '-'}")
                elif driver != "prefetch":
                    out.unsupported(where, what, "asked another server or program for users; here users is a file: let it print lines name:uid:gid:home")
            else:
                verdict, told = dovecottables.passdb(driver)
                out.rows_for(verdict)(where, what, told)
        if not found and not databases:
            out.different("default", "no passdb", "no users were found; pymta-passwd makes them")

    def _defaults(self) -> tuple[str, str, str]:
        """(home, uid, gid) that hold where a user's line says nothing."""
        top = self.top
        home, uid, gid = top.get("mail_home"), top.get("mail_uid"), top.get("mail_gid")
        for section in top.of("userdb"):
            texts = [section.get(key) for key in ("args", "default_fields", "override_fields")] if section.name == "" or section.get("args") else []
            if (section.get("driver") or section.name) != "static" and section.get("args") and "=" not in section.get("args").split()[0]:
                texts = texts[1:]
            fields = dict(word.partition("=")[::2] for text in texts for word in text.split())
            for inner in section.of("fields"):
                fields |= {key: one.value for key, one in inner.settings.items()}
            home, uid, gid = fields.get("home") or home, fields.get("uid") or uid, fields.get("gid") or gid
            if "mail" in fields:
                self.box, self.what, self.where = _location(fields["mail"]), f"userdb: mail={fields['mail']}", section.where
                if self.box.format not in ("", "maildir") or self.box.options.get("LAYOUT") == "fs":
                    self._convert(self.where, self.what, self.box)
        return home, uid, gid

    def _passwd_file(self, section: Section, where: str, what: str, args: str, home: str, uid: str, gid: str) -> None:
        out, source = self.out, self.source
        scheme = section.get("default_password_scheme") or section.get("passdb_default_password_scheme") or "CRYPT"
        form, path = "%u", section.get("passwd_file_path") or section.get("passdb_passwd_file_path")
        for word in args.split():
            if word.startswith("scheme="):
                scheme = word[7:]
            elif word.startswith("username_format="):
                form = word[16:]
            elif not path and word.startswith("/"):
                path = word
        count = 0
        realm = self.top.get("auth_default_realm") or self.top.get("auth_default_domain")
        for name, domain in dovecotusers.files(source, path):
            for line in dovecotusers.lines(source, name):
                user = (line.user if "@" in line.user or not (domain or realm) else f"{line.user}@{domain or realm}").lower()
                count += 1
                self._user(section.kind, line, user, home, uid, gid, scheme)
        if count:
            out.same(where, what, f"{'passwords' if section.kind == 'passdb' else 'users'}: {count} lines")
        elif not source.has(path.partition("%")[0].rpartition("/")[0] if "%" in path else path):
            out.unsupported(where, what, f"there is no {path or 'file'}; name its users by hand")
        if form not in ("%u", "%Lu", "%{user}", "%{user | lower}") and form:
            out.different(where, f"{what}", f"logins were looked up as {form}; here by full address, or by the bare name in the first domain")

    def _user(self, kind: str, line: dovecotusers.Line, user: str, home: str, uid: str, gid: str, scheme: str) -> None:
        out, extra = self.out, line.extra
        if kind == "passdb":
            if "nopassword" in extra:
                out.unsupported(line.where, user, "could log in with any password; set one with pymta-passwd")
            elif out.password(line.where, user, dovecotusers.hash_of(line.password, scheme)):
                pass
            for name in ("allow_nets", "allow_real_nets"):
                if name in extra:
                    out.unsupported(line.where, f"{user}: {name}={extra[name]}", "could log in from some networks only; here from everywhere")
        if user.lower() in self.seen or kind == "passdb" and not self.by_password:
            return
        own = line.home or extra.get("home", "")
        home = own or dovecotusers.expand(home, user) or ""
        if not own and self._defaults_unreadable(home, user, line.where):
            return
        quota = ""
        for name, value in extra.items():
            if name.startswith("quota_rule") or name == "quota_storage_size":
                quota_ = dovecotusers.quota(value)
                if quota_ is None:
                    out.unsupported(line.where, f"{user}: {name}={value}", "a rule for one folder, or for the number of messages; here the whole mailbox has one size")
                else:
                    quota = quota_
        box = _location(extra["mail"]) if "mail" in extra else self.box
        if "mail" in extra and (box.format not in ("", "maildir") or box.options.get("LAYOUT") == "fs"):
            self._convert(line.where, f"{user}: mail={extra['mail']}", box)
        home = self._home(line.where, user, box, home)
        if out.user(line.where, user, line.uid or extra.get("uid", "") or uid, line.gid or extra.get("gid", "") or gid, home, quota):
            self.seen.add(user.lower())
            if not self.converted:
                out.next[f"pymta-maildir adopt {user} --from dovecot"] = None
            else:
                out.next[f"doveadm backup -u {user} maildir:{home or 'HOME'}/Maildir && pymta-maildir adopt {user} --from dovecot"] = None

    def _defaults_unreadable(self, home: str, user: str, where: str) -> bool:
        if home or not self.top.get("mail_home") and not any("home" in one.get("args") for one in self.top.of("userdb")):
            return False
        self.out.unsupported(where, user, "the path of its home is made of variables this program does not know; write its line in users by hand")
        return True

    def _home(self, where: str, user: str, box: _Box, home: str) -> str:
        """The home by which our Maildir is the one that lies there."""
        if box.format != "maildir" or box.options.get("LAYOUT") == "fs" or not box.path:
            return home
        path = dovecotusers.expand(box.path, user, home)
        if path is None or not path.startswith("/"):
            self.out.unsupported(where, f"{user}: {box.path}", "where its Maildir lies cannot be told from this; write its line in users by hand")
            return home
        path = re.sub("/+", "/", path).rstrip("/")
        if path.endswith("/Maildir"):
            return path.removesuffix("/Maildir")
        self.out.different(where, f"{user}: {path}", f"the Maildir is {path} itself, ours is Maildir in the home: ln -s . {path}/Maildir lets it stay where it is")
        self.out.next[f"ln -s . {path}/Maildir"] = None
        return path

    def _system(self, template: str) -> None:
        """Users of the system: their Maildirs stay, where they are ~/Maildir."""
        out, box = self.out, self.box
        if box.format == "maildir" and box.options.get("LAYOUT") != "fs":
            if box.path not in ("~/Maildir", "%h/Maildir", "%{home}/Maildir", "~/Maildir/"):
                link = box.path.removeprefix("~/").removeprefix("%h/").rstrip("/")
                out.different(self.where, self.what, f"for the users of the system ours is ~/Maildir: as each of them, ln -s {link or '.'} ~/Maildir")
        elif box.format and not self.converted:
            self._convert(self.where, self.what, box)
        for name, uid, home in system_users(self.source):
            if uid >= 1000 and (self.source.has(f"{home}/Maildir/cur") or self.source.has(f"{home}/Maildir/new")):
                out.next[f"pymta-maildir adopt {name} --from dovecot"] = None

    def namespaces(self) -> None:
        out = self.out
        folders: list[str] = []
        for section in self.top.of("namespace"):
            what = f"namespace {section.name}".strip()
            kind = section.get("type", "private")
            location = section.get("location") or section.get("mail_path")
            if kind == "shared":
                out.different(section.where, f"{what}: {section.get('prefix')}", "mailboxes of others stand below 'Other Users' (imap.share_users)")
                continue
            if kind == "public":
                out.different(section.where, f"{what}: {location}", "mailboxes that belong to all stand below 'Shared'; imap.shared names their directory")
                continue
            if location and (location.startswith("virtual:") or section.get("mail_driver") == "virtual"):
                out.unsupported(section.where, f"{what}: {location}", dovecottables.PLUGINS["virtual"][1])
                continue
            if section.get("inbox") != "yes" and section.name != "inbox" and location:
                out.unsupported(section.where, f"{what}: {location}", "a second tree of mailboxes; move its folders into the Maildir")
            separator, prefix = section.get("separator"), section.get("prefix")
            if prefix:
                out.different(*self.at("prefix", section), f"clients saw {prefix}Sent, here Sent: take the prefix out of their settings")
            if separator and separator != ".":
                out.different(*self.at("separator", section), f"clients saw a{separator}b, here a.b: they must fetch the list of folders anew, and filters that name folders be changed")
            if section.get("hidden") == "yes" or section.get("list") == "no":
                out.different(section.where, f"{what} (hidden)", "there is one tree only, without a prefix")
            for mailbox in section.of("mailbox"):
                folders += self._mailbox(mailbox)
        for section in self.top.of("mailbox"):
            folders += self._mailbox(section)
        if folders:
            out.settings["local.folders"] = " ".join(dict.fromkeys(folders))

    def _mailbox(self, section: Section) -> list[str]:
        out, name = self.out, section.name or section.get("name")
        auto, use = section.get("auto", "no"), section.get("special_use")
        what = f"mailbox {name} {{ {' '.join(str(one) for one in section.settings.values())} }}"
        if use and dovecottables.SPECIAL.get(name.lower()) not in use.split():
            out.different(section.where, what, f"not marked {use} by itself; a client may do it: SETMETADATA {name} (/private/specialuse \"{use}\")")
        if section.get("autoexpunge") or section.get("mailbox_autoexpunge"):
            out.unsupported(section.where, what, "removed old messages; nothing here does; let a mail client or a job do it")
        if auto in ("create", "subscribe"):
            if re.fullmatch(r"[^\s,#\"]+", name):
                out.same(section.where, what, f"local.folders: {name}")
                return [name]
            out.different(section.where, what, "folders with a blank in their name are not made by themselves; clients make them")
        return []

    # ---- the rest -----------------------------------------------------------------------------------------------------
    def plugins(self) -> None:
        """mail_plugins everywhere, and what their settings say."""
        found: dict[str, str] = {}
        for section in (self.top, *self.top.of("protocol")):
            if one := section.settings.get("mail_plugins"):
                found.update({name: found.get(name, one.where) for name in one.value.split()})
            for inner in section.of("mail_plugins"):
                found.update({name: one.where for name, one in inner.settings.items() if one.value in ("yes", "on", "1")})
        for name, where in found.items():
            if name not in dovecottables.PLUGINS:
                self.out.unsupported(where, f"mail_plugins: {name}", "a plugin this program does not know")
                continue
            verdict, told = dovecottables.PLUGINS[name]
            self.out.rows_for(verdict)(where, f"mail_plugins: {name}", told)
        for section in self.top.of("plugin"):
            for key, one in section.settings.items():
                plugin = next((name for name in sorted(dovecottables.PLUGINS, key=len, reverse=True) if key == name or key.startswith(f"{name}_")), key)
                if key.startswith("quota") or not one.value:
                    continue
                if plugin.startswith("sieve") or key.startswith(("sieve", "recipient_delimiter", "imapsieve", "imap_sieve")):
                    self.out.unsupported(one.where, f"plugin: {one}", dovecottables.PLUGINS["sieve"][1])
                elif plugin not in found:
                    self.out.same(one.where, f"plugin: {one}", "its plugin was not loaded")
                elif dovecottables.PLUGINS.get(plugin, ("", ""))[0] == DIFFERENT:
                    self.out.different(one.where, f"plugin: {one}", dovecottables.PLUGINS[plugin][1])

    def limits(self) -> None:
        out = self.out
        for section in (self.top, *self.top.of("protocol")):
            if one := section.settings.get("mail_max_userip_connections"):
                if section.name in ("", "imap"):
                    out.set(one.where, f"{section.kind} {section.name} {one}".strip(), "imap.sessions_per_user", one.value, "counted for all addresses of a user together")
            if one := section.settings.get("pop3_uidl_format"):
                if one.value not in ("%08Xu%08Xv", "%{uid | hex(8)}%{uidvalidity | hex(8)}"):
                    out.different(one.where, str(one), f"POP3 clients know messages by it: pymta-maildir adopt USER --from dovecot --uidl-format '{one.value}'")
                    out.next = {f"{line} --uidl-format '{one.value}'" if " adopt " in line else line: None for line in out.next}
        self.done |= {"mail_max_userip_connections", "pop3_uidl_format"}

    def others(self) -> None:
        """Sections that have not been looked at."""
        known = {"passdb", "userdb", "namespace", "plugin", "protocol", "service", "local", "local_name", "remote", "mailbox", "quota", "mail_plugins"}
        for section in self.top.sections:
            if section.kind.startswith(("sieve", "imapsieve", "imap_sieve")):
                self.out.unsupported(section.where, f"{section.kind} {section.name}".strip(), dovecottables.PLUGINS["sieve"][1])
            elif section.kind.startswith("fts"):
                self.out.same(section.where, f"{section.kind} {section.name}".strip(), dovecottables.PLUGINS["fts"][1])
            elif section.kind not in known and not section.kind.startswith(dovecottables.NEEDLESS):
                verdict = "unsupported" if section.settings or section.sections else "same"
                self.out.rows_for(verdict)(section.where, f"{section.kind} {section.name}".strip(), "this program does not know what becomes of it" if verdict != "same" else "empty")
            elif section.kind == "service" and section.name in ("replicator", "aggregator", "imap-urlauth-login", "doveadm", "quota-warning", "dict", "indexer-worker") \
                    and (section.get("executable") or section.name in ("replicator", "quota-warning")):
                self.out.unsupported(section.where, f"service {section.name}", "ran a program or kept a copy elsewhere; nothing here does")

    def rest(self) -> None:
        for section in (self.top, *self.top.of("protocol")):
            for key, one in section.settings.items():
                if key in self.done or key == "mail_plugins" or not one.value:
                    continue
                what = f"{section.kind} {section.name}: {one}" if section.kind else str(one)
                if key in dovecottables.TOLD:
                    verdict, told = dovecottables.TOLD[key]
                    if one.value != "no":
                        self.out.rows_for(verdict)(one.where, what, told)
                elif key.startswith(dovecottables.NEEDLESS):
                    self.out.same(one.where, what, "nothing here has to be told")
                else:
                    self.out.unsupported(one.where, what, "this program does not know what becomes of it; see doc.dovecot.org")


def _location(text: str) -> _Box:
    """mail_location taken apart."""
    kind, colon, rest = text.strip().partition(":")
    if not colon:
        return _Box("", text, {})
    path, *options = rest.split(":")
    return _Box(kind.lower(), path, dict(_options(options)))


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, _, value = word.partition("=")
        yield name.upper(), value
