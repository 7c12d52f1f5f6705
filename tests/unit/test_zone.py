"""zone: the records for a host are those its RFCs ask for, in a form that a name server loads."""
from __future__ import annotations

import dns.zone
import pytest

from pymta import zone

PORTS = {"submissions": 465, "submission": 587, "imaps": 993, "pop3s": 995}


@pytest.fixture
def records():
    return zone.wanted("mail.a.example", ["192.0.2.7", "2001:db8::7"], ["a.example", "b.example"], PORTS, "ab" * 32)


def test_a_name_server_loads_what_is_printed(records):
    loaded = dns.zone.from_text(zone.text(records), origin=".", relativize=False, check_origin=False)
    found = {(name.to_text(omit_final_dot=True), dns.rdatatype.to_text(kind.rdtype)): sorted(each.to_text() for each in kind)
             for name, node in loaded.items() for kind in node}
    assert found["mail.a.example", "A"] == ["192.0.2.7"] and found["mail.a.example", "AAAA"] == ["2001:db8::7"]
    assert found["7.2.0.192.in-addr.arpa", "PTR"] == ["mail.a.example."]
    assert found[("7." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"), "PTR"] == ["mail.a.example."]
    for domain in ("a.example", "b.example"):
        assert found[domain, "MX"] == ["10 mail.a.example."]
        assert found[domain, "TXT"] == ['"v=spf1 mx -all"']
        assert found[f"_dmarc.{domain}", "TXT"][0].startswith('"v=DMARC1; p=none; ')
        assert found[f"_imaps._tcp.{domain}", "SRV"] == ["0 1 993 mail.a.example."]
        assert found[f"_submissions._tcp.{domain}", "SRV"] == ["0 1 465 mail.a.example."]
        assert found[f"_submission._tcp.{domain}", "SRV"] == ["10 1 587 mail.a.example."]
        assert found[f"_pop3s._tcp.{domain}", "SRV"] == ["10 1 995 mail.a.example."]
    assert found["mail.a.example", "TXT"] == ['"v=spf1 a -all"']
    assert found["_25._tcp.mail.a.example", "TLSA"] == ["3 1 1 " + "ab" * 32]


def test_that_dkim_comes_later_is_said_plainly(records):
    assert "does not sign mail yet" in zone.text(records).splitlines()[-1]


def test_a_host_that_is_its_own_domain_has_one_spf_record():
    found = zone.wanted("a.example", ["192.0.2.7"], ["a.example"], {})
    assert [record.data for record in found if record.kind == "TXT" and record.name == "a.example"] == ['"v=spf1 a -all"']
    assert not [record for record in found if record.kind == "SRV"]


def test_the_usual_port_is_announced_where_there_are_several():
    assert zone.ports({"imaps": [("::", 1993), ("::", 993)], "pop3s": [("::", 1995)], "submission": []}) == {"imaps": 993, "pop3s": 1995}


def test_for_programs(records):
    assert zone.rows(records)[0] == {"name": "mail.a.example", "kind": "A", "data": "192.0.2.7", "why": "where this host is", "need": "must"}
