"""pymta.importing.postfix: main.cf, master.cf and tables in, rows and files out."""
from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymta.importing import postfix
from pymta.importing.postfix import grammar
from pymta.importing.postfix.grammar import Values
from tests.importing import check, rows, texts, who, write

MAIN = """\
# a host with virtual domains
compatibility_level = 3.6
domain = a.example
myhostname = mail.$domain
myorigin = $domain
mydestination = $myhostname, $domain,
    localhost
mynetworks = 127.0.0.0/8 [::1]/128 192.0.2.0/28
recipient_delimiter = +
home_mailbox = Maildir/
alias_maps = hash:/etc/aliases
virtual_alias_domains = shop.example
virtual_alias_maps = hash:/etc/postfix/virtual
virtual_mailbox_domains = v.example
virtual_mailbox_base = /srv/mail
virtual_mailbox_maps = hash:/etc/postfix/vmailbox
virtual_uid_maps = static:5000
virtual_gid_maps = static:5001
relay_domains = backup.example
relay_recipient_maps = texthash:/etc/postfix/relay_recipients
transport_maps = hash:/etc/postfix/transport
relayhost = [smart.example]:587
message_size_limit = 20480000
maximal_queue_lifetime = 4
header_checks = pcre:/etc/postfix/header_checks
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated,
    reject_unauth_destination, reject_rbl_client zen.block.example,
    reject_unknown_reverse_client_hostname
"""
FILES = {
    "/etc/postfix/main.cf": MAIN,
    "/etc/aliases": 'postmaster: root\nroot: ann\nstaff: ann,\n  bob, "out side"@far.example\nlist: "|/usr/bin/list", bob\nnoreply: /dev/null\nann: ann, ann@far.example\n',
    "/etc/postfix/virtual": "info@shop.example ann bob@far.example\n@shop.example\tbob\nann@v.example sales@v.example, boss@far.example\n",
    "/etc/postfix/vmailbox": "sales@v.example v.example/sales/Maildir/\nold@v.example v.example/old\n",
    "/etc/postfix/relay_recipients": "joe@backup.example OK\n",
    "/etc/postfix/transport": "far.example smtp:[192.0.2.9]:2525\n.far.example :\nlists.example lmtp:inet:127.0.0.1:8024\nfax.example fax:\nx@far.example smtp:y\n",
    "/etc/postfix/header_checks": "/^Subject: spam/ REJECT\n/^X:/ IGNORE\n",
    "/etc/postfix/master.cf": "smtp inet n - y - - smtpd\nsubmission inet n - y - - smtpd\n  -o smtpd_tls_security_level=encrypt\n  -o smtpd_sasl_auth_enable=yes\n"
                              "  -o smtpd_sender_restrictions=reject_sender_login_mismatch\nfax unix - n n - 1 pipe\n  flags= user=fax argv=/usr/bin/fax\n",
}


def read(**changes: str):
    return postfix.read(texts(FILES | changes), host="host.example")


def test_a_whole_configuration():
    made = read()
    assert made.settings | {"smtp.require_ptr": "yes"} == made.settings
    assert {name: made.settings[name] for name in made.settings if name != "smtp.require_ptr"} == {
        "host.name": "mail.a.example", "local.domains": "a.example, mail.a.example", "local.extension": "+",
        "smtp.relay_from": "127.0.0.0/8 ::1/128 192.0.2.0/28", "local.virtual_domains": "shop.example, v.example",
        "local.relay_domains": "backup.example", "remote.smarthost": "smart.example:587", "queue.size_max": "20480000", "queue.lifetime": "4d"}
    assert made.aliases["info@shop.example"] == ["ann", "bob@far.example"] and made.aliases["@shop.example"] == ["bob"]
    assert made.aliases["staff@a.example"] == made.aliases["staff@mail.a.example"] == ["ann", "bob", '"out side"@far.example']
    assert made.aliases["list@a.example"] == ["bob"] and "noreply@a.example" not in made.aliases
    assert made.users == {"sales@v.example": "sales@v.example:5000:5001:/srv/mail/v.example/sales", "old@v.example": "old@v.example:5000:5001"}
    assert made.transports == {"far.example": "far.example 192.0.2.9:2525", ".far.example": ".far.example mx",
                               "lists.example": "lists.example lmtp:127.0.0.1:8024"}
    assert list(made.relay_recipients) == ["joe@backup.example"]
    unsupported = rows(made, "unsupported")
    assert set(unsupported) == {"list@a.example: \"|/usr/bin/list\"", "noreply@a.example: /dev/null", "old@v.example v.example/old", "fax.example fax:",
                                "x@far.example smtp:y", "header_checks = pcre:/etc/postfix/header_checks",
                                "smtpd_recipient_restrictions: reject_rbl_client zen.block.example"}
    assert unsupported["header_checks = pcre:/etc/postfix/header_checks"].startswith("2 patterns: ")
    assert "/usr/bin/fax (/etc/postfix/master.cf:6)" in unsupported["fax.example fax:"]


def test_every_row_names_file_and_line():
    by_what = {row.what: row.where for row in read().rows}
    assert by_what["mydestination = $myhostname, $domain, localhost"] == "/etc/postfix/main.cf:6"
    assert by_what["noreply@a.example: /dev/null"] == "/etc/aliases:6"
    assert by_what["old@v.example v.example/old"] == "/etc/postfix/vmailbox:2"


def test_what_is_written_is_in_order_and_mail_goes_where_it_went(tmp_path):
    made = read()
    made.settings |= {"tls.self_signed": "no", "smtp.submission": "", "smtp.submissions": ""}
    made.users |= {"ann": "ann:65534:65534:/home/ann", "bob": "bob:65534:65534:/home/bob"}       # system users of the other host
    write(made, str(tmp_path))
    assert check(str(tmp_path)) == []
    assert who(str(tmp_path), "info@shop.example", "any@shop.example", "staff@a.example", "staff@v.example", "ann@v.example", "ann@a.example", "sales+x@v.example",
               "root", "nobody@v.example", "joe@backup.example", "jim@backup.example", "bob@mail.a.example", "far@far.example") == {
        "info@shop.example": ["ann@a.example", "ann@far.example", "bob@far.example"], "any@shop.example": ["bob@a.example"],
        "staff@a.example": ['"out side"@far.example', "ann@a.example", "ann@far.example", "bob@a.example"], "staff@v.example": "550",
        "ann@v.example": ["boss@far.example", "sales@v.example"], "ann@a.example": ["ann@a.example", "ann@far.example"],
        "sales+x@v.example": ["sales+x@v.example"], "root": ["ann@a.example", "ann@far.example"], "nobody@v.example": "550",
        "joe@backup.example": ["joe@backup.example"], "jim@backup.example": "550", "bob@mail.a.example": ["bob@a.example"],
        "far@far.example": ["far@far.example"]}


# (line of main.cf, verdict, our setting or part of the text)
@pytest.mark.parametrize("line, verdict, expected", [
    ("message_size_limit = 1000000", "same", "queue.size_max = 1000000"),
    ("message_size_limit = 0", "different", "queue.size_max = 1G"),
    ("message_size_limit = $mailbox_size_limit", "same", "queue.size_max = 51200000"),
    ("bounce_queue_lifetime = 36h", "same", "queue.bounce_lifetime = 36h"),
    ("delay_warning_time = 4", "same", "queue.warn_after = 4h"),
    ("smtpd_client_connection_count_limit = 10", "same", "smtp.client_sessions = 10"),
    ("smtpd_tls_protocols = >=TLSv1.3", "same", "tls.minimum = 1.3"),
    ("smtpd_tls_protocols = !SSLv2, !SSLv3", "different", "tls.minimum = 1.2"),
    ("smtpd_tls_security_level = encrypt", "unsupported", "refused mail without TLS"),
    ("smtp_tls_security_level = dane", "unsupported", "refused to send without TLS"),
    ("smtp_tls_security_level = may", "same", "remote.tls = may"),
    ("smtpd_tls_cert_file = /etc/ssl/certs/ssl-cert-snakeoil.pem", "different", "self-signed"),
    ("smtpd_tls_cert_file = /etc/ssl/gone.pem", "different", "there is no /etc/ssl/gone.pem"),
    ("smtpd_tls_cert_file = /etc/aliases", "same", "tls.certificate = /etc/aliases"),
    ("relayhost = isp.example", "different", "remote.smarthost = isp.example:25"),
    ("relayhost = [2001:db8::1]:submission", "same", "remote.smarthost = [2001:db8::1]:587"),
    ("inet_interfaces = loopback-only", "different", "smtp.listen = 127.0.0.1:25 [::1]:25"),
    ("smtp_sasl_auth_enable = yes", "unsupported", "logged in"),
    ("smtpd_milters = inet:localhost:8891", "unsupported", "another program"),
    ("content_filter = smtp-amavis:[127.0.0.1]:10024", "unsupported", "another program"),
    ("canonical_maps = hash:/etc/aliases", "unsupported", "entries: rewrote"),
    ("sender_canonical_maps = ldap:/etc/x.cf", "unsupported", "elsewhere: rewrote"),
    ("smtpd_helo_restrictions = reject_non_fqdn_helo_hostname", "same", "smtp.helo_check = strict"),
    ("smtpd_client_restrictions = check_client_access cidr:/etc/postfix/virtual", "unsupported", "3 networks"),
    ("smtpd_sender_restrictions = reject_unknown_sender_domain", "unsupported", "looked the sender's domain up"),
    ("smtpd_client_restrictions = made_up", "unsupported", "does not know"),
    ("biff = no", "same", "nothing here has to be told"),
    ("qmgr_message_active_limit = 5", "different", "Postfix's own processes"),
    ("luser_relay = ann", "same", "catch-all aliases: @a.example"),
    ("home_mailbox = mail/", "different", "ln -s mail Maildir"),
    ("home_mailbox = mbox", "different", "mb2md"),
    ("mailbox_command = /usr/bin/procmail", "unsupported", "a program delivered"),
    ("mailbox_transport = lmtp:unix:private/dovecot-lmtp", "different", "pymta-import dovecot"),
    ("virtual_mailbox_maps = mysql:/etc/postfix/users.cf", "unsupported", "database"),
    ("virtual_alias_maps = hash:/etc/postfix/gone", "unsupported", "there is no /etc/postfix/gone"),
    ("fax_destination_recipient_limit = 1", "different", "one service"), ("postscreen_dnsbl_sites = zen.block.example", "unsupported", "block lists"),
    ("no_such_setting_at_all = 1", "unsupported", "does not know"),
    ("this is no setting", "unsupported", "no setting"),
])
def test_a_setting(line, verdict, expected):
    made = read(**{"/etc/postfix/main.cf": MAIN + line + "\n"})
    name = line.partition(" =")[0]
    assert any(name in row.what and row.verdict == verdict and expected in row.text for row in made.rows), [row for row in made.rows if name in row.what]


def test_a_host_that_passes_everything_on():
    made = postfix.read(texts({"/etc/postfix/main.cf": "myorigin = example.net\nmydestination =\nrelayhost = hub.example.net\ninet_interfaces = loopback-only\n"}),
                        host="www.example.net")
    assert made.settings["local.domains"] == "" and made.settings["local.admin"] == "root@example.net"
    assert any("always local here" in row.text for row in made.rows)


def test_postscreen_hands_on_to_the_smtpd_of_port_25():
    made = read(**{"/etc/postfix/master.cf": "smtp inet n - y - 1 postscreen\nsmtpd pass - - y - - smtpd\n  -o smtpd_proxy_filter=127.0.0.1:10024\n"})
    texts_ = {row.what: row.text for row in made.rows if "master.cf" in row.where}
    assert "early talkers" in texts_["smtp inet postscreen"] and "another program" in texts_["smtpd pass smtpd -o smtpd_proxy_filter=127.0.0.1:10024"]
    assert "smtpd pass smtpd" not in texts_ and "turn that off" in texts_["no submission"]


def test_without_permit_mynetworks_nobody_relays():
    made = read(**{"/etc/postfix/main.cf": MAIN.replace("permit_mynetworks", "permit") + "smtpd_relay_restrictions = permit_sasl_authenticated, reject\n"})
    assert "smtp.relay_from" not in made.settings


def test_a_forward_becomes_an_alias():
    made = read(**{"/home/bob/.forward": "\\bob, bob@far.example\n"})
    assert made.aliases["bob@a.example"] == made.aliases["bob@mail.a.example"] == ["\\bob", "bob@far.example"]


def test_logins_and_their_senders():
    made = read(**{"/etc/postfix/main.cf": MAIN + "smtpd_sender_login_maps = hash:/etc/postfix/logins\n",
                   "/etc/postfix/logins": "sales@v.example sales@v.example\npress@v.example sales@v.example, ann\n@brand.example ann\n"})
    assert made.senders == {"sales@v.example": ["press@v.example"], "ann": ["press@v.example", "@brand.example"]}


@pytest.mark.parametrize("text, value", [
    ("$a", "1"), ("${a}", "1"), ("$(a)x", "1x"), ("$$a", "$a"), ("${a?yes}", "yes"), ("${a:no}", ""), ("${none:no}", "no"), ("${none?{y}:{n}}", "n"),
    ("${{$a} <level {2} ? {low} : {high}}", "low"), ("${{3.10} >=level {3.6}?{new}:{old}}", "new"), ("${{$a} == {2} ? {x}}", ""), ("$loop", "$loop"),
    ("${a", "1"), ("$", "$"), ("cost$", "cost$"), ("$none", ""), ("$b/$a", "1-1/1"),
])
def test_a_value_is_expanded(text, value):
    given_, _ = grammar.main_cf("a = 1\nb = $a-$a\nloop = $loop\n", "main.cf")
    assert Values(given_, {}).expand(text) == value


def test_names_that_name_names_come_to_an_end():
    main = "a0 =\n" + "".join(f"a{number} = {f'$a{number - 1} ' * 50}\n" for number in range(1, 20))
    given_, _ = grammar.main_cf(main + "myhostname = x$a19\n", "main.cf")
    assert Values(given_, {}).get("myhostname").startswith("x")


_NOISE = st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(
    [b"virtual_alias_maps", b"transport_maps", b"mydestination", b" = ", b"\n", b" ", b"hash:/f", b"$", b"${", b"{", b"}", b"inline:{", b",", b"@", b":", b'"', b"|x",
     b"a@b.example", b"\xff", b"smtpd_client_restrictions", b"relayhost", b"[", b"]", b"mynetworks", b"\\", b"-o", b" - - - - - smtpd", b"inet", b"#"]), max_size=40).map(b"".join))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_NOISE, _NOISE, _NOISE)
def test_any_bytes_in_any_file(main, table, master):
    source = texts({})
    source.files |= {"/etc/postfix/main.cf": main + b"\nvirtual_alias_maps = hash:/f\nalias_maps = hash:/g\ntransport_maps = hash:/f\nvirtual_mailbox_maps = hash:/f\n"
                     b"smtpd_sender_login_maps = hash:/f\nrelay_domains = /f\nrelay_recipient_maps = hash:/f\n",
                     "/etc/postfix/master.cf": master, "/f": table, "/g": table, "/etc/passwd": table, "/etc/aliases": table}
    postfix.read(source)
