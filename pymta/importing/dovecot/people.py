"""dovecot.people: users of passdb and userdb."""
from __future__ import annotations

import re

from pymta.importing.dovecot import passwdfile, tables
from pymta.importing.dovecot.boxes import convert
from pymta.importing.dovecot.grammar import Section
from pymta.importing.dovecot.reading import Box, Reading, box_of
from pymta.importing.source import system_users


def users(it: Reading) -> None:
    out, top = it.out, it.top
    home, uid, gid = _defaults(it)
    found = False
    databases = [*top.of("userdb"), *top.of("passdb")]     # what userdb says of a user holds
    kinds = {section.get("driver") or section.name for section in top.of("userdb")}
    it.by_password = not kinds or bool(kinds & {"static", "prefetch"})
    for section in databases:
        driver = section.get("driver") or section.name
        args = section.get("args")
        what = f"{section.kind} {driver}" + (f": {args}" if args and "password=" not in args else "")
        where = section.where
        if section.get("deny") == "yes" or section.get("passdb_deny") == "yes":
            out.unsupported(where, f"{what} (deny)", "shut some users out; write ! before their hash in passwords")
            continue
        if section.get("master") == "yes" or section.get("passdb_master") == "yes":
            out.unsupported(where, f"{what} (master)", tables.TOLD["auth_master_user_separator"][1])
            continue
        if driver == "passwd-file":
            found = True
            _passwd_file(it, section, where, what, args, home, uid, gid)
        elif section.kind == "userdb":
            if driver == "passwd":
                out.same(where, what, "the users of the system (local.system_users)")
                _system(it, home)
            elif driver == "static":
                out.same(where, what, f"each line of users says it: uid {uid or '-'}, gid {gid or '-'}, home {home or '-'}")
            elif driver != "prefetch":
                out.unsupported(where, what, "asked another server or program for users; here users is a file: let it print lines name:uid:gid:home")
        else:
            verdict, told = tables.passdb(driver)
            out.rows_for(verdict)(where, what, told)
    if not found and not databases:
        out.different("default", "no passdb", "no users were found; pymta-passwd makes them")


def _defaults(it: Reading) -> tuple[str, str, str]:
    """(home, uid, gid) that hold where a user's line says nothing."""
    top = it.top
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
            it.box, it.what, it.where = box_of(fields["mail"]), f"userdb: mail={fields['mail']}", section.where
            if it.box.format not in ("", "maildir") or it.box.options.get("LAYOUT") == "fs":
                convert(it, it.where, it.what, it.box)
    return home, uid, gid


def _passwd_file(it: Reading, section: Section, where: str, what: str, args: str, home: str, uid: str, gid: str) -> None:
    out, source = it.out, it.source
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
    realm = it.top.get("auth_default_realm") or it.top.get("auth_default_domain")
    for name, domain in passwdfile.files(source, path):
        for line in passwdfile.lines(source, name):
            user = (line.user if "@" in line.user or not (domain or realm) else f"{line.user}@{domain or realm}").lower()
            count += 1
            _user(it, section.kind, line, user, home, uid, gid, scheme)
    if count:
        out.same(where, what, f"{'passwords' if section.kind == 'passdb' else 'users'}: {count} lines")
    elif not source.has(path.partition("%")[0].rpartition("/")[0] if "%" in path else path):
        out.unsupported(where, what, f"there is no {path or 'file'}; name its users by hand")
    if form not in ("%u", "%Lu", "%{user}", "%{user | lower}") and form:
        out.different(where, f"{what}", f"logins were looked up as {form}; here by full address, or by the bare name in the first domain")


def _user(it: Reading, kind: str, line: passwdfile.Line, user: str, home: str, uid: str, gid: str, scheme: str) -> None:
    out, extra = it.out, line.extra
    if kind == "passdb":
        if "nopassword" in extra:
            out.unsupported(line.where, user, "could log in with any password; set one with pymta-passwd")
        elif out.password(line.where, user, passwdfile.hash_of(line.password, scheme)):
            pass
        for name in ("allow_nets", "allow_real_nets"):
            if name in extra:
                out.unsupported(line.where, f"{user}: {name}={extra[name]}", "could log in from some networks only; here from everywhere")
    if user.lower() in it.seen or kind == "passdb" and not it.by_password:
        return
    own = line.home or extra.get("home", "")
    home = own or passwdfile.expand(home, user) or ""
    if not own and _defaults_unreadable(it, home, user, line.where):
        return
    quota = ""
    for name, value in extra.items():
        if name.startswith("quota_rule") or name == "quota_storage_size":
            quota_ = passwdfile.quota(value)
            if quota_ is None:
                out.unsupported(line.where, f"{user}: {name}={value}", "a rule for one folder, or for the number of messages; here the whole mailbox has one size")
            else:
                quota = quota_
    box = box_of(extra["mail"]) if "mail" in extra else it.box
    if "mail" in extra and (box.format not in ("", "maildir") or box.options.get("LAYOUT") == "fs"):
        convert(it, line.where, f"{user}: mail={extra['mail']}", box)
    home = _home(it, line.where, user, box, home)
    if out.user(line.where, user, line.uid or extra.get("uid", "") or uid, line.gid or extra.get("gid", "") or gid, home, quota):
        it.seen.add(user.lower())
        if not it.converted:
            out.next[f"pymta-maildir adopt {user} --from dovecot"] = None
        else:
            out.next[f"doveadm backup -u {user} maildir:{home or 'HOME'}/Maildir && pymta-maildir adopt {user} --from dovecot"] = None


def _defaults_unreadable(it: Reading, home: str, user: str, where: str) -> bool:
    if home or not it.top.get("mail_home") and not any("home" in one.get("args") for one in it.top.of("userdb")):
        return False
    it.out.unsupported(where, user, "the path of its home is made of variables this program does not know; write its line in users by hand")
    return True


def _home(it: Reading, where: str, user: str, box: Box, home: str) -> str:
    """The home by which our Maildir is the one that lies there."""
    if box.format != "maildir" or box.options.get("LAYOUT") == "fs" or not box.path:
        return home
    path = passwdfile.expand(box.path, user, home)
    if path is None or not path.startswith("/"):
        it.out.unsupported(where, f"{user}: {box.path}", "where its Maildir lies cannot be told from this; write its line in users by hand")
        return home
    path = re.sub("/+", "/", path).rstrip("/")
    if path.endswith("/Maildir"):
        return path.removesuffix("/Maildir")
    it.out.different(where, f"{user}: {path}", f"the Maildir is {path} itself, ours is Maildir in the home: ln -s . {path}/Maildir lets it stay where it is")
    it.out.next[f"ln -s . {path}/Maildir"] = None
    return path


def _system(it: Reading, template: str) -> None:
    """Users of the system: their Maildirs stay, where they are ~/Maildir."""
    out, box = it.out, it.box
    if box.format == "maildir" and box.options.get("LAYOUT") != "fs":
        if box.path not in ("~/Maildir", "%h/Maildir", "%{home}/Maildir", "~/Maildir/"):
            link = box.path.removeprefix("~/").removeprefix("%h/").rstrip("/")
            out.different(it.where, it.what, f"for the users of the system ours is ~/Maildir: as each of them, ln -s {link or '.'} ~/Maildir")
    elif box.format and not it.converted:
        convert(it, it.where, it.what, box)
    for name, uid, home in system_users(it.source):
        if uid >= 1000 and (it.source.has(f"{home}/Maildir/cur") or it.source.has(f"{home}/Maildir/new")):
            out.next[f"pymta-maildir adopt {name} --from dovecot"] = None
