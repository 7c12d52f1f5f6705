"""pymta.importing.qmail: control files, users/assign, tcp.smtp and .qmail files in, rows and files out."""
from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymta.importing import qmail
from pymta.importing.qmail import dot
from tests.importing import PASSWD, check, rows, texts, who, write

C = "/var/qmail/control"
FILES = {
    "/etc/passwd": PASSWD.decode() + "alias:x:70:70::/var/qmail/alias:/bin/true\nvmail:x:2000:2000::/home/vmail:/bin/false\n",
    f"{C}/me": "mail.a.example\n", f"{C}/locals": "a.example\nmail.a.example\nlocalhost\n", f"{C}/rcpthosts": "a.example\nv.example\nw.example\nbackup.example\n.wild.example\n",
    f"{C}/virtualdomains": "v.example:vmail\nw.example:alias-w\nboss@far.example:alias-boss\n", f"{C}/defaultdelivery": "./Maildir/\n",
    f"{C}/smtproutes": "far.example:192.0.2.9:2525\n.far.example:\n:hub.example\n", f"{C}/databytes": "20000000\n", f"{C}/concurrencyremote": "50\n",
    f"{C}/badmailfrom": "@spam.example\nx@y.example\n", f"{C}/helohost": "mail.a.example\n",
    "/var/qmail/alias/.qmail-root": "&ann\n", "/var/qmail/alias/.qmail-postmaster": "root\n", "/var/qmail/alias/.qmail-w-info": "ann\nbob@far.example\n",
    "/var/qmail/alias/.qmail-w-default": "|bouncesaying 'nobody here'\n", "/var/qmail/alias/.qmail-boss-boss": "ann\n",
    "/var/qmail/alias/.qmail-list": "|/usr/bin/ezmlm-send '/var/lists/a'\n&bob\n",
    "/home/ann/.qmail": "./Maildir/\n&ann@far.example\n", "/home/ann/.qmail-shop": "&bob\n", "/home/bob/.qmail-default": "./Maildir/\n",
    "/home/vmail/.qmail-carl": "/home/vmail/carl/Maildir/\n", "/home/vmail/.qmail-dot:ted": "&bob\n", "/home/vmail/.qmail-default": "&ann\n",
    "/etc/tcp.smtp": '127.:allow,RELAYCLIENT=""\n192.168.0-1.:allow,RELAYCLIENT=""\n10.1.2.3:allow,RELAYCLIENT="",DATABYTES="0"\n198.51.100.:deny\n:allow,QMAILQUEUE="/var/qmail/bin/simscan"\n',
    "/service/qmail-smtpd/run": "#!/bin/sh\nexec tcpserver -x /etc/tcp.smtp.cdb 0 smtp rblsmtpd -r zen.block.example qmail-smtpd\n",
}


def read(**changes: str):
    return qmail.read(texts(FILES | changes), host="host.example")


def test_a_whole_configuration():
    made = read()
    assert made.settings == {
        "host.name": "mail.a.example", "local.domains": "a.example, mail.a.example", "local.virtual_domains": "v.example, w.example", "queue.size_max": "20000000",
        "queue.lifetime": "604800s", "remote.concurrency_all": "50", "local.relay_domains": "backup.example", "remote.smarthost": "hub.example:25",
        "smtp.relay_from": "10.1.2.3/32 127.0.0.0/8 192.168.0.0/23", "local.extension": "-"}
    assert made.aliases == {
        "ann@a.example": ["\\ann", "ann@far.example"], "ann@mail.a.example": ["\\ann", "ann@far.example"], "ann-shop@a.example": ["bob"], "ann-shop@mail.a.example": ["bob"],
        "root@a.example": ["ann"], "root@mail.a.example": ["ann"], "postmaster@a.example": ["root"], "postmaster@mail.a.example": ["root"],
        "list@a.example": ["bob"], "list@mail.a.example": ["bob"], "dot.ted@v.example": ["bob"], "@v.example": ["ann"], "info@w.example": ["ann", "bob@far.example"],
        "boss@far.example": ["ann"]}
    assert made.users == {"carl@v.example": "carl@v.example:2000::/home/vmail/carl"}
    assert made.transports == {"far.example": "far.example 192.0.2.9:2525", ".far.example": ".far.example mx"}
    assert list(made.relay_recipients) == ["@backup.example"]
    unsupported = rows(made, "unsupported")
    assert {what.partition(" ")[0] for what in unsupported} == {"list@a.example:", "@w.example:", "rcpthosts:", "198.51.100.:deny", ":allow,QMAILQUEUE=\"/var/qmail/bin/simscan\"",
                                                                "exec", "badmailfrom:"}
    assert "ezmlm" in unsupported["list@a.example: |/usr/bin/ezmlm-send '/var/lists/a'"]
    assert {row.what: row.where for row in made.rows}["rcpthosts: .wild.example"] == f"{C}/rcpthosts:5"
    assert "a size for some clients" in rows(made, "different")['10.1.2.3:allow,RELAYCLIENT="",DATABYTES="0"']


def test_what_is_written_is_in_order_and_mail_goes_where_it_went(tmp_path):
    made = read()
    made.settings |= {"tls.self_signed": "no", "smtp.submission": "", "smtp.submissions": ""}
    made.users |= {"ann": "ann:65534:65534:/home/ann", "bob": "bob:65534:65534:/home/bob"}       # system users of the other host
    write(made, str(tmp_path))
    assert [line for line in check(str(tmp_path)) if "backup.example" not in line and "boss@far.example: far.example is not a domain of ours" not in line] == []
    assert who(str(tmp_path), "ann@a.example", "ann-shop@mail.a.example", "bob-any@a.example", "carl@v.example", "any@v.example", "dot.ted@v.example", "info@w.example",
               "any@w.example", "postmaster@a.example", "boss@far.example", "list@w.example", "list@a.example", "x@backup.example") == {
        "ann@a.example": ["ann@a.example", "ann@far.example"], "ann-shop@mail.a.example": ["bob@a.example"], "bob-any@a.example": ["bob-any@a.example"],
        "carl@v.example": ["carl@v.example"], "any@v.example": ["ann@a.example", "ann@far.example"], "dot.ted@v.example": ["bob@a.example"],
        "info@w.example": ["ann@a.example", "ann@far.example", "bob@far.example"], "any@w.example": "550", "postmaster@a.example": ["ann@a.example", "ann@far.example"],
        "boss@far.example": ["ann@a.example", "ann@far.example"], "list@w.example": "550", "list@a.example": ["bob@a.example"], "x@backup.example": ["x@backup.example"]}


def test_without_virtual_domains_aliases_are_bare_names():
    made = qmail.read(texts({f"{C}/me": "mail.a.example\n", "/var/qmail/alias/.qmail-root": "ann\n", "/var/qmail/alias/.qmail-default": "bob\n"}))
    assert made.aliases == {"root": ["ann"], "@mail.a.example": ["bob"]} and made.settings["local.extension"] == ""
    assert "mail for every domain was taken" in rows(made, "different")["no rcpthosts"]


def test_a_domain_of_vpopmail():
    home = "/home/vpopmail/domains/p.example"
    made = read(**{f"{C}/virtualdomains": "p.example:p.example\n", "/var/qmail/users/assign": f"+p.example-:p.example:89:89:{home}:-::\n.\n",
                   f"{home}/.qmail-default": "| /home/vpopmail/bin/vdelivermail '' /home/vpopmail/domains/p.example/ann\n", f"{home}/.qmail-info": f"&bob\n{home}/ann/Maildir/\n",
                   f"{home}/vpasswd": f"ann:$1$salt$qJH7.N4xYta3aEG/dfqo/0:1:0:Ann:{home}/ann:NOQUOTA\nbob:$1$salt$qJH7.N4xYta3aEG/dfqo/0:1:0:Bob:{home}/bob:5000000S\n"})
    assert made.users["ann@p.example"] == f"ann@p.example:89:89:{home}/ann" and made.passwords["bob@p.example"] == "$1$salt$qJH7.N4xYta3aEG/dfqo/0"
    assert made.aliases["@p.example"] == ["ann@p.example"]
    assert "a quota" in rows(made, "unsupported")["bob@p.example: 5000000S"]


@pytest.mark.parametrize("path, data, verdict, expected", [
    ("/home/ann/.qmail", "|/usr/bin/procmail\n", "unsupported", "procmail"), ("/home/ann/.qmail", "./Mailbox\n", "unsupported", "mbox"),
    ("/home/ann/.qmail", "# nobody\n", "unsupported", "threw all its mail away"), ("/home/ann/.qmail", "./Maildir/\n", "same", "~/Maildir"),
    ("/home/ann/.qmail-default", "|filter\n", "unsupported", "ann-anything is ann's"), (f"{C}/smtproutes", ":hub.example:25 user pass\n", "unsupported", "logs in"),
    (f"{C}/virtualdomains", ":alias-all\n", "unsupported", "many domains"), (f"{C}/databytes", "0\n", "different", "always a limit"),
    (f"{C}/percenthack", "a.example\n", "unsupported", "percent hack"), (f"{C}/made_up", "1\n", "unsupported", "does not know"),
    ("/etc/tcp.smtp", ':allow,RELAYCLIENT=""\n', "unsupported", "list their networks"), ("/var/qmail/rc", "exec qmail-start ./Mailbox splogger\n", "different", "mbox"),
    (f"{C}/defaultdelivery", "|vdeliver\n", "unsupported", "a program"),
])
def test_one_file(path, data, verdict, expected):
    files = {key: value for key, value in FILES.items() if key != f"{C}/defaultdelivery" or path != "/var/qmail/rc"} | {path: data}
    made = qmail.read(texts(files))
    assert any(row.verdict == verdict and expected in row.text for row in made.rows), [row for row in made.rows if row.where.startswith(path)]


def test_who_controls_a_name():
    users = dot.Users(texts(FILES | {"/var/qmail/users/assign": "=joe:u:7:8:/j:::\n+list-:l:9:9:/l:-:pre-:\n.\n"}), "/var/qmail")
    assert [(users.of(name).home, users.of(name).extension) for name in ("ann", "ann-x-y", "nobody", "joe", "list-a-b", "annx", "root")] == [
        ("/home/ann", ""), ("/home/ann", "x-y"), ("/var/qmail/alias", "nobody"), ("/j", ""), ("/l", "pre-a-b"), ("/var/qmail/alias", "annx"), ("/var/qmail/alias", "root")]


_NOISE = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(
    [b"a.example", b"v.example:alias-v", b":", b"\n", b"=x:", b"+x:", b"|vdelivermail '' delete", b"&", b"./Maildir/", b"/x/Maildir/", b"#", b"RELAYCLIENT=\"", b",", b"allow", b"1-999.", b"10.",
     b"@", b"-", b"\xff", b".", b"=", b"9" * 20, b"[", b"]"]), max_size=40).map(b"".join))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_NOISE, _NOISE, _NOISE)
def test_any_bytes_in_any_file(one, two, three):
    source = texts({})
    source.files |= {f"{C}/{name}": one for name in ("me", "locals", "rcpthosts", "databytes", "queuelifetime", "defaultdelivery", "x")}
    source.files |= {f"{C}/{name}": two for name in ("virtualdomains", "smtproutes", "morercpthosts")}
    source.files |= {path: three for path in ("/etc/tcp.smtp", "/etc/passwd", "/var/qmail/users/assign", "/var/qmail/alias/.qmail-x", "/var/qmail/alias/.qmail-default",
                                              "/home/ann/.qmail", "/var/qmail/rc", "/service/x/run")}
    qmail.read(source)
