"""pymta.importing.exim: Debian's update-exim4.conf.conf and monolithic configurations in, rows and files out."""
from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymta.importing import exim
from pymta.importing.exim import grammar
from tests.importing import check, rows, texts, who, write

DEBIAN = {
    "/etc/exim4/update-exim4.conf.conf": """\
# made by debconf
dc_eximconfig_configtype='smarthost'
dc_other_hostnames='a.example;b.example'
dc_local_interfaces='127.0.0.1 ; ::1 ; 192.0.2.1.587'
dc_readhost='a.example'
dc_relay_domains='backup.example:*.wild.example'
dc_minimaldns='false'
dc_relay_nets='192.0.2.0/24 ; 2001:db8::/32'
dc_smarthost='smart.example::587'
CFILEMODE='644'
dc_use_split_config='true'
dc_hide_mailname='true'
dc_mailname_in_oh='true'
dc_localdelivery='maildir_home'
""",
    "/etc/mailname": "a.example\n", "/etc/aliases": "root: ann\nlist: |/usr/bin/list\nnews: :blackhole:\nstaff: ann, bob@far.example\n",
    "/etc/email-addresses": "# comment\nann: ann@brand.example\n", "/etc/exim4/passwd.client": "# comment\nsmart.example:me:secret\n",
    "/etc/exim4/hubbed_hosts": "hub.example: 192.0.2.7\n", "/home/bob/.forward": "# Exim filter\nif true then save x endif\n",
}
MONOLITH = {
    "/etc/exim/exim.conf": """\
######
HOST = mail.a.example
primary_hostname = HOST
domainlist local_domains = @ : a.example : \\
    localhost
domainlist relay_to_domains = backup.example
domainlist virtual_domains = dsearch;/etc/exim/virtual
hostlist relay_from_hosts = <; 127.0.0.1 ; ::1 ; 192.0.2.0/24
acl_smtp_rcpt = acl_check_rcpt
qualify_domain = a.example
message_size_limit = 30M
delay_warning = 12h
tls_certificate = /etc/ssl/exim.pem
daemon_smtp_ports = 25 : 465 : 587
tls_on_connect_ports = 465
.ifdef NO_SUCH_MACRO
smtp_banner = never
.else
never_users = root
.endif
begin acl
acl_check_rcpt:
  accept hosts = :
  deny message = listed
       dnslists = zen.block.example
  accept hosts = +relay_from_hosts
  require message = relay not permitted
          domains = +local_domains : +relay_to_domains
  accept
begin routers
smart:
  driver = manualroute
  domains = ! +local_domains : ! +virtual_domains
  transport = remote_smtp
  route_list = "* hub.example::2525 byname"
  no_more
virtual:
  driver = redirect
  domains = +virtual_domains
  data = ${lookup{$local_part}lsearch*{/etc/exim/virtual/$domain_data}}
system_aliases:
  driver = redirect
  allow_fail
  data = ${lookup{$local_part}lsearch{/etc/aliases}}
userforward:
  driver = redirect
  check_local_user
  file = $home/.forward
localuser:
  driver = accept
  check_local_user
  local_part_suffix = +* : -*
  local_part_suffix_optional
  transport = local_delivery
lists:
  driver = accept
  domains = lists.example
  transport = mailman
begin transports
remote_smtp:
  driver = smtp
local_delivery:
  driver = appendfile
  directory = $home/Maildir
  maildir_format
mailman:
  driver = pipe
  command = /usr/lib/mailman post
begin retry
*   *   F,2h,15m; G,16h,1h,1.5; F,6d,6h
begin rewrite
*@old.example $1@a.example
begin authenticators
plain:
  driver = plaintext
cram:
  driver = cram_md5
""",
    "/etc/aliases": "root: ann\n", "/etc/exim/virtual/v.example": "info: ann, bob@far.example\n*: bob\n", "/home/bob/.forward": "bob, bob@far.example\n",
    "/etc/ssl/exim.pem": "",
}


def test_debians_configuration(tmp_path):
    made = exim.read(texts(DEBIAN), "/etc/exim4", host="www.a.example")
    assert made.settings == {
        "local.domains": "a.example, b.example, www.a.example", "local.extension": "", "remote.smarthost": "smart.example:587", "local.relay_domains": "backup.example",
        "smtp.relay_from": "127.0.0.1 ::1 192.0.2.0/24 2001:db8::/32", "smtp.listen": "127.0.0.1:25 [::1]:25", "smtp.submission": "192.0.2.1:587"}
    assert made.aliases == {"root": ["ann"], "staff": ["ann", "bob@far.example"]} and made.transports == {"hub.example": "hub.example 192.0.2.7"}
    assert set(rows(made, "unsupported")) == {"dc_relay_domains: *.wild.example", "dc_hide_mailname='true'", "list: |/usr/bin/list", "news: :blackhole:", "bob", "1 users",
                                              "passwd.client: 1 lines"}
    assert "secret" not in str(made.rows)
    assert {row.what: row.where for row in made.rows}["dc_smarthost='smart.example::587'"] == "/etc/exim4/update-exim4.conf.conf:9"
    made.settings |= {"host.name": "www.a.example", "tls.self_signed": "no", "smtp.submission": "", "smtp.submissions": ""}
    made.users |= {"ann": "ann:65534:65534:/home/ann"}      # a system user of the other host
    write(made, str(tmp_path))
    assert [line for line in check(str(tmp_path)) if "relay_recipients" not in line] == []
    assert who(str(tmp_path), "root", "staff@b.example", "ann+x@a.example", "x@backup.example") == {
        "root": ["ann@a.example"], "staff@b.example": ["ann@a.example", "bob@far.example"], "ann+x@a.example": "550", "x@backup.example": ["x@backup.example"]}


def test_a_satellite_sends_all_mail_to_its_hub():
    made = exim.read(texts(DEBIAN | {"/etc/exim4/update-exim4.conf.conf": "dc_eximconfig_configtype='satellite'\ndc_readhost='hub.example'\ndc_smarthost='hub.example'\ndc_other_hostnames=''\n"}),
                     "/etc/exim4", host="www.a.example")
    assert made.settings["local.admin"] == "root@hub.example" and made.aliases["bob"] == ["bob@hub.example"] and made.settings["remote.smarthost"] == "hub.example:25"


def test_a_monolithic_configuration(tmp_path):
    made = exim.read(texts(MONOLITH), "/etc/exim", host="other.example")
    assert made.settings == {
        "host.name": "mail.a.example", "local.domains": "a.example, mail.a.example", "local.relay_domains": "backup.example", "smtp.relay_from": "127.0.0.1 ::1 192.0.2.0/24",
        "queue.size_max": "30M", "queue.warn_after": "12h", "tls.certificate": "/etc/ssl/exim.pem", "tls.key": "/etc/ssl/exim.pem", "remote.smarthost": "hub.example:2525",
        "local.extension": "+-", "queue.lifetime": "6d", "local.virtual_domains": "v.example"}
    assert made.aliases == {
        "info@v.example": ["ann", "bob@far.example"], "@v.example": ["bob"], "root@a.example": ["ann"], "root@mail.a.example": ["ann"],
        "bob@a.example": ["\\bob", "bob@far.example"], "bob@mail.a.example": ["\\bob", "bob@far.example"]}
    unsupported = rows(made, "unsupported")
    assert set(unsupported) == {"acl acl_check_rcpt: deny message = listed dnslists = zen.block.example", "router lists (accept)", "authenticator cram (cram_md5)",
                                "rewrite: *@old.example $1@a.example"}
    assert "mailman (pipe)" in unsupported["router lists (accept)"]
    assert {row.what: row.where for row in made.rows}["router lists (accept)"] == "/etc/exim/exim.conf:55"
    for name in ("tls.certificate", "tls.key"):
        del made.settings[name]
    made.settings |= {"tls.self_signed": "no", "smtp.submission": "", "smtp.submissions": ""}
    made.users |= {"ann": "ann:65534:65534:/home/ann", "bob": "bob:65534:65534:/home/bob"}       # system users of the other host
    write(made, str(tmp_path))
    assert [line for line in check(str(tmp_path)) if "relay_recipients" not in line] == []
    assert who(str(tmp_path), "info@v.example", "x@v.example", "root", "bob-x@a.example", "x@a.example") == {
        "info@v.example": ["ann@a.example", "bob@far.example"], "x@v.example": ["bob@a.example", "bob@far.example"],
        "root": ["ann@a.example"], "bob-x@a.example": ["bob@a.example", "bob@far.example"], "x@a.example": "550"}


@pytest.mark.parametrize("line, verdict, expected", [
    ("system_filter = /etc/exim/filter", "unsupported", "a filter over all mail"), ("hostlist relay_from_hosts = 127.0.0.1 : *.a.example", "unsupported", "not a network"),
    ("domainlist local_domains = a.example : mysql;SELECT x", "unsupported", "not a plain domain"), ("tls_certificate = /etc/gone", "different", "no such file"),
    ("message_size_limit = 0", "different", "always a limit"), ("av_scanner = clamd:/x", "unsupported", "scanner"), ("made_up = 1", "unsupported", "does not know"),
    ("local_interfaces = 127.0.0.1", "different", "smtp.listen = 127.0.0.1:25"), ("log_selector = +all", "same", "nothing here"), ("what is this", "unsupported", "neither"),
    (".include /gone", "unsupported", "no such file"), ("daemon_smtp_ports = 2525", "different", "smtp.listen = [::]:2525"),
])
def test_an_option(line, verdict, expected):
    made = exim.read(texts(MONOLITH | {"/etc/exim/exim.conf": MONOLITH["/etc/exim/exim.conf"].replace("begin acl\n", f"{line}\nbegin acl\n")}), "/etc/exim")
    assert any(row.verdict == verdict and expected in row.text for row in made.rows), made.rows


@pytest.mark.parametrize("router, verdict, expected", [
    ("driver = manualroute\n domains = far.example\n route_list = * 192.0.2.9\n transport = remote_smtp", "same", "transports: far.example 192.0.2.9:25"),
    ("driver = manualroute\n route_list = far.example h1.example:h2.example\n transport = remote_smtp", "different", "only h1.example is asked"),
    ("driver = manualroute\n route_data = ${lookup{$domain}lsearch{/routes}}\n transport = remote_smtp", "same", "transports: r.example r1.example:25"),
    ("driver = redirect\n data = ${lookup mysql{SELECT x}}", "unsupported", "a database"), ("driver = redirect\n data = :fail: no", "unsupported", "refused or dropped"),
    ("driver = redirect\n data = ${lookup{$local_part@$domain}lsearch{/addresses}}", "same", "aliases: x@y.example"), ("driver = queryprogram", "unsupported", "routes that way"),
    ("driver = accept\n condition = ${if x}\n check_local_user\n transport = local_delivery", "unsupported", "a condition"),
    ("driver = accept\n senders = ${if exists{/gone}{/gone}{}}\n transport = local_delivery", "same", "~/Maildir"),
])
def test_a_router(router, verdict, expected):
    made = exim.read(texts(MONOLITH | {"/etc/exim/exim.conf": MONOLITH["/etc/exim/exim.conf"].replace("begin routers\n", f"begin routers\nnew:\n {router}\n"),
                                       "/routes": "r.example: r1.example\n", "/addresses": "x@y.example: ann\n"}), "/etc/exim")
    assert any(row.verdict == verdict and expected in row.text for row in made.rows), made.rows


@pytest.mark.parametrize("value, items", [("a : b:c", ["a", "b", "c"]), ("<; ::1 ; a", ["::1", "a"]), ("h::25", ["h:25"]), ("", []), ("${if a:b{c}}:d", ["${if a:b{c}}", "d"]), (": 127.0.0.1 : ::::1", ["127.0.0.1", "::1"])])
def test_a_list(value, items):
    assert grammar.items(value) == items


_NOISE = st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(
    [b"begin routers\n", b"begin acl\n", b"begin transports\n", b"begin retry\n", b"x:\n", b"driver = ", b"manualroute\n", b"redirect\n", b"accept\n", b"data = ", b"${lookup{$local_part}lsearch{/f}}\n",
     b"route_list = ", b"* h\n", b"deny ", b"\n", b" = ", b":", b"<;", b"A = B\n", b"B = A\n", b".ifdef A\n", b".endif\n", b".include /f\n", b"domainlist local_domains", b"+local_domains", b"\\",
     b"hostlist relay_from_hosts", b"\xff", b"@", b"*", b"${if exists{/f}{/f}{}}", b"local_interfaces", b"1.2.3.4.5", b"dc_smarthost='x::9'\n", b"dc_eximconfig_configtype='satellite'\n"]), max_size=50).map(b"".join))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_NOISE, _NOISE)
def test_any_bytes_in_any_file(main, table):
    source = texts({})
    source.files |= {"/etc/exim/exim.conf": main, "/f": table, "/etc/aliases": table, "/etc/passwd": table}
    exim.read(source, "/etc/exim")
    source.files |= {"/etc/exim4/update-exim4.conf.conf": main, "/etc/mailname": table, "/etc/exim4/hubbed_hosts": table}
    exim.read(source, "/etc/exim4")
