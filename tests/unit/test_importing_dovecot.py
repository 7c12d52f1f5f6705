"""pymta.importing.dovecot: dovecot.conf of 2.3 and 2.4 and its passwd-file in, rows and files out."""
from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymta.login import hashes
from pymta.importing import dovecot
from pymta.importing.dovecot import grammar, passwdfile
from tests.importing import check, rows, texts, who, write

OLD = {
    "/etc/dovecot/dovecot.conf": """\
## Dovecot configuration file
!include_try /usr/share/dovecot/protocols.d/*.protocol
listen = *, ::
dict {
  #quota = mysql:/etc/dovecot/dovecot-dict-sql.conf.ext
}
!include conf.d/*.conf
!include_try local.conf
""",
    "/usr/share/dovecot/protocols.d/imapd.protocol": "protocols = $protocols imap\n",
    "/usr/share/dovecot/protocols.d/pop3d.protocol": "protocols = $protocols pop3\n",
    "/etc/dovecot/conf.d/10-auth.conf": "auth_mechanisms = plain login cram-md5\n!include auth-passwdfile.conf.ext\n",
    "/etc/dovecot/conf.d/auth-passwdfile.conf.ext": """\
passdb {
  driver = passwd-file
  args = scheme=CRYPT username_format=%u /etc/dovecot/users
}
userdb {
  driver = passwd-file
  args = username_format=%u /etc/dovecot/users
  default_fields = uid=5000 gid=5000 home=/srv/mail/%d/%n
}
""",
    "/etc/dovecot/conf.d/10-mail.conf": """\
mail_location = maildir:/srv/mail/%d/%n/Maildir
namespace inbox {
  inbox = yes
  separator = /
  prefix = INBOX/
}
mail_plugins = $mail_plugins quota zlib
""",
    "/etc/dovecot/conf.d/10-ssl.conf": "ssl = required\nssl_cert = </etc/ssl/mail.pem\nssl_key = </etc/ssl/mail.key\nssl_min_protocol = TLSv1.2\n",
    "/etc/dovecot/conf.d/15-mailboxes.conf": """\
namespace inbox {
  mailbox Drafts {
    special_use = \\Drafts
    auto = subscribe
  }
  mailbox "Sent Messages" {
    special_use = \\Sent
  }
  mailbox Trash {
    special_use = \\Trash
    autoexpunge = 30d
  }
}
""",
    "/etc/dovecot/conf.d/90-quota.conf": "plugin {\n  quota = maildir:User quota\n  quota_rule = *:storage=1G\n  quota_rule2 = Trash:storage=+100M\n}\n",
    "/etc/dovecot/conf.d/10-master.conf": """\
service imap-login {
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    #port = 993
  }
}
service auth {
  unix_listener /var/spool/postfix/private/auth {
    mode = 0666
  }
}
protocol imap {
  mail_max_userip_connections = 20
  mail_plugins = $mail_plugins imap_quota
}
""",
    "/etc/dovecot/users": """\
ann@v.example:{SHA512-CRYPT}$6$abcdefgh$0123456789:::::
bob@v.example:$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe:5001:5001::/home/bob::userdb_quota_rule=*:storage=2G allow_nets=192.0.2.0/24
carl@v.example:{CRAM-MD5}9186d855e11eba527a7a52ca82b313e180d62234f0acc9051b527243d41e2740:::::
dora@v.example:{PLAIN}secret word:::::
""",
    "/etc/ssl/mail.pem": "", "/etc/ssl/mail.key": "",
}
NEW = {"/etc/dovecot/dovecot.conf": """\
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.0
protocols {
  imap = yes
  lmtp = yes
}
mail_driver = maildir
mail_home = /srv/mail/%{user | domain}/%{user | username}
mail_path = ~/mail
mail_uid = 5000
mail_gid = 5000
ssl_server_cert_file = /etc/ssl/mail.pem
ssl_server_key_file = /etc/ssl/mail.key
namespace inbox { inbox = yes }
passdb passwd-file {
  default_password_scheme = sha512
  passwd_file_path = /etc/dovecot/passwd
}
userdb static {
  fields {
    uid = 5000
    gid = 5000
  }
}
quota "User quota" {
  quota_storage_size = 500M
}
mail_plugins {
  quota = yes
  fts = yes
}
""", "/etc/dovecot/passwd": "ann@v.example:" + "0" * 128 + "\n", "/etc/ssl/mail.pem": "", "/etc/ssl/mail.key": ""}


def test_a_whole_configuration_of_2_3(tmp_path):
    made = dovecot.read(texts(OLD))
    assert made.settings == {"imap.listen": "", "tls.certificate": "/etc/ssl/mail.pem", "tls.key": "/etc/ssl/mail.key", "tls.minimum": "1.2",
                             "local.quota": "1G", "local.folders": "Drafts", "imap.sessions_per_user": "20"}
    assert made.users == {
        "ann@v.example": "ann@v.example:5000:5000:/srv/mail/v.example/ann", "bob@v.example": "bob@v.example:5001:5001:/srv/mail/v.example/bob:quota=2G",
        "carl@v.example": "carl@v.example:5000:5000:/srv/mail/v.example/carl", "dora@v.example": "dora@v.example:5000:5000:/srv/mail/v.example/dora"}
    assert made.passwords == {"ann@v.example": "$6$abcdefgh$0123456789", "dora@v.example": "{PLAIN}secret word",
                              "bob@v.example": "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe"}
    unsupported = rows(made, "unsupported")
    assert set(unsupported) == {"auth_mechanisms: cram-md5", "password of carl@v.example", "bob@v.example: allow_nets=192.0.2.0/24", "mail_plugins: zlib",
                                "plugin: quota_rule2 = Trash:storage=+100M", "mailbox Trash { special_use = \\Trash autoexpunge = 30d }"}
    assert "9186d855" not in str(made.rows) and "pymta-passwd" in unsupported["password of carl@v.example"]
    different = rows(made, "different")
    assert "take the prefix out" in different["prefix = INBOX/"] and "a/b" in different["separator = /"]
    assert [line for line in made.next if "ann" in line] == ["pymta-maildir adopt ann@v.example --from dovecot"]
    where = {row.what: row.where for row in made.rows}
    assert where["mail_plugins: zlib"] == "/etc/dovecot/conf.d/10-mail.conf:7" and where["bob@v.example: allow_nets=192.0.2.0/24"] == "/etc/dovecot/users:2"

    for name in ("tls.certificate", "tls.key", "imap.listen"):
        del made.settings[name]
    made.settings |= {"host.name": "mail.v.example", "local.admin": "ann@v.example", "tls.self_signed": "no", "smtp.submission": "", "smtp.submissions": ""}
    write(made, str(tmp_path))
    assert check(str(tmp_path)) == []
    assert who(str(tmp_path), "ann@v.example", "eve@v.example") == {"ann@v.example": ["ann@v.example"], "eve@v.example": "550"}


def test_a_whole_configuration_of_2_4():
    made = dovecot.read(texts(NEW))
    assert made.settings == {"tls.certificate": "/etc/ssl/mail.pem", "tls.key": "/etc/ssl/mail.key", "local.quota": "500M"}
    assert made.users == {"ann@v.example": "ann@v.example:5000:5000:/srv/mail/v.example/ann/mail"}
    assert list(made.next) == ["ln -s . /srv/mail/v.example/ann/mail/Maildir", "pymta-maildir adopt ann@v.example --from dovecot"]
    assert made.passwords["ann@v.example"].startswith("{SHA512}AAAA")
    assert rows(made, "unsupported") == {}


def read(line: str, **files: str):
    return dovecot.read(texts(OLD | {"/etc/dovecot/local.conf": line + "\n"} | files))


@pytest.mark.parametrize("line, verdict, expected", [
    ("mail_location = mbox:~/mail:INBOX=/var/mail/%u", "unsupported", "doveadm backup -u USER maildir:HOME/Maildir"),
    ("mail_location = mdbox:~/mdbox", "unsupported", "mail lies as mdbox"),
    ("mail_location = maildir:~/Maildir:LAYOUT=fs", "unsupported", "folders in folders"),
    ("mail_location = maildir:~/Maildir", "same", "where it lies"),
    ("mail_location = maildir:~/Maildir:CONTROL=/var/control/%u", "different", "uidlist"),
    ("protocols = imap sieve", "different", "pop3.listen_tls"),
    ("protocols = imap sieve", "unsupported", "users' scripts"),
    ("listen = 192.0.2.1", "different", "imap.listen_tls = 192.0.2.1:993"),
    ("ssl_min_protocol = TLSv1.3", "same", "tls.minimum = 1.3"),
    ("ssl_min_protocol = TLSv1", "different", "tls.minimum = 1.2"),
    ("ssl_cert = </etc/ssl/gone.pem", "different", "there is no /etc/ssl/gone.pem"),
    ("ssl_verify_client_cert = yes", "unsupported", "certificate"),
    ("login_trusted_networks = 192.0.2.0/24", "same", "login.plain_from = 127.0.0.0/8 ::1/128 192.0.2.0/24"),
    ("passdb {\n driver = pam\n}", "different", "/etc/shadow"),
    ("passdb {\n driver = sql\n args = /etc/dovecot/sql.conf\n}", "unsupported", "database"),
    ("passdb {\n driver = passwd-file\n deny = yes\n args = /etc/deny\n}", "unsupported", "shut some users out"),
    ("userdb {\n driver = ldap\n args = /etc/dovecot/ldap.conf\n}", "unsupported", "another server"),
    ("userdb {\n driver = passwd\n}", "same", "users of the system"),
    ("namespace shared {\n type = shared\n prefix = shared/%%u/\n}", "different", "Other Users"),
    ("mail_plugins = acl", "same", "dovecot-acl"), ("mail_plugins = made_up", "unsupported", "does not know"),
    ("plugin {\n sieve_before = /etc/sieve\n}", "unsupported", "scripts"),
    ("pop3_uidl_format = %f", "different", "--uidl-format '%f'"),
    ("auth_username_format = %Ln", "different", "full address"),
    ("no_such_setting = 1", "unsupported", "does not know"), ("what is this", "unsupported", "neither a setting nor a section"),
    ("!include gone.conf", "unsupported", "no such file"), ("mail_debug = yes", "same", "nothing here"),
    ("local_name mail.b.example {\n ssl_cert = </b.pem\n}", "different", "tls.certificates"),
    ("service managesieve-login {\n inet_listener sieve {\n port = 4190\n }\n}", "unsupported", "ManageSieve"),
    ("service pop3-login {\n inet_listener pop3s {\n port = 1995\n }\n}", "different", "pop3.listen_tls = [::]:1995"),
])
def test_a_setting(line, verdict, expected):
    made = read(line)
    assert any(row.verdict == verdict and expected in row.text for row in made.rows), [row for row in made.rows if "local.conf" in row.where]


def test_users_of_the_system_keep_their_maildirs_and_get_no_line():
    made = dovecot.read(texts({"/etc/dovecot/dovecot.conf": "mail_location = maildir:~/Maildir\npassdb {\n driver = passwd-file\n args = /etc/dovecot/passwd\n}\n"
                               "userdb {\n driver = passwd\n}\n", "/etc/dovecot/passwd": "ann:{PLAIN}hello\n", "/home/ann/Maildir/cur/1.2.3": ""}))
    assert made.users == {} and made.passwords == {"ann": "{PLAIN}hello"} and list(made.next) == ["pymta-maildir adopt ann --from dovecot"]


def test_a_file_for_each_domain():
    made = dovecot.read(texts({"/etc/dovecot/dovecot.conf": "mail_location = maildir:~/Maildir\npassdb {\n driver = passwd-file\n args = username_format=%n /etc/pw/%d/passwd\n}\n"
                               "userdb {\n driver = static\n args = uid=5 gid=6 home=/m/%d/%n\n}\n", "/etc/pw/a.example/passwd": "ann:{PLAIN}x\n", "/etc/pw/b.example/passwd": "bob:{PLAIN}x\n"}))
    assert made.users == {"ann@a.example": "ann@a.example:5:6:/m/a.example/ann", "bob@b.example": "bob@b.example:5:6:/m/b.example/bob"}


@pytest.mark.parametrize("field, scheme, password", [
    ("{SHA256.HEX}5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", "CRYPT", b"password"),
    ("5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", "SHA256", b"password"),
    ("{SHA256.B64}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=", "CRYPT", b"password"),
    ("{MD5}$1$salt$qJH7.N4xYta3aEG/dfqo/0", "CRYPT", b"password"), ("secret", "PLAIN", b"secret"), ("{CLEARTEXT}secret", "", b"secret"),
])
def test_a_hash_is_still_that_of_the_password(field, scheme, password):
    ours = passwdfile.hash_of(field, scheme)
    assert hashes.matches(ours, password) and not hashes.matches(ours, b"x" + password)


@pytest.mark.parametrize("rule, size", [("*:storage=1G", "1G"), ("*:bytes=1048576", "1M"), ("*:storage=100", "100K"), ("*:storage=0", "0"), ("Trash:storage=+1M", None),
                                        ("*:messages=100", None), ("*:storage=1G:messages=5", None), ("500M", "500M"), ("*:storage=", None), ("", None)])
def test_a_quota(rule, size):
    assert passwdfile.quota(rule) == size


@pytest.mark.parametrize("template, path", [
    ("/m/%d/%n", "/m/V.example/Ann"), ("/m/%Lu", "/m/ann@v.example"), ("/m/%{user | domain}/%{user | username | lower}", "/m/V.example/ann"), ("~/Maildir", "/h/Maildir"),
    ("%h/mail", "/h/mail"), ("/m/%1.1n/%n", None), ("/m/%{env:X}", None), ("/m/%%", "/m/%"), ("/m/%H", "/m/%H"), ("/m/%{user | substr(0, 1)}", None)])
def test_a_path_with_variables(template, path):
    assert passwdfile.expand(template, "Ann@V.example", "/h") == path


def test_the_grammar():
    text = "a = 1 # comment\nb = \"x # y\"\nc = one \\\n  two\nd = $a-$c\nsection name { k = v }\ns {\n t u {\n  e = 5\n }\n}\n}\ns {\n f = 6\n}\n"
    top = grammar.read(texts({"/d": text}), "/d").top
    assert {key: one.value for key, one in top.settings.items()} == {"a": "1", "b": "x # y", "c": "one two", "d": "1-one two"}
    assert top.settings["d"].where == "/d:5" and next(top.of("section")).get("k") == "v"
    section = next(top.of("s"))
    assert section.get("f") == "6" and next(section.of("t")).get("e") == "5"


_NOISE = st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(
    [b"passdb", b"userdb", b" {\n", b"}\n", b"\n", b" = ", b"mail_location", b"maildir:", b"driver", b"passwd-file", b"args", b"/f", b"%", b"%{", b"|", b"$", b"!include ", b"*", b'"',
     b"\\", b"#", b"namespace", b"mailbox x", b"auto", b"create", b"quota_rule", b"*:storage=", b"plugin", b"service imap-login", b"inet_listener imap", b"port", b"9" * 30, b"\xff",
     b"ssl_cert", b"<", b"protocols", b":", b"a@b", b"{PLAIN}", b"~"]), max_size=50).map(b"".join))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_NOISE, _NOISE)
def test_any_bytes_in_any_file(main, users):
    source = texts({})
    source.files |= {"/etc/dovecot/dovecot.conf": b"passdb {\n driver = passwd-file\n args = /f\n}\nuserdb {\n driver = passwd-file\n args = /f\n}\n" + main,
                     "/f": users, "/etc/passwd": users}
    dovecot.read(source)
