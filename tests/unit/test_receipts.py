"""runner and local: who hears of a delivery, and who does not (RFC 3461)."""
import email
import os

import pytest

from pymta import clock
from pymta.formats import queuefile, report
from tests.queuebox import Box

SUCCESS = ((b"Pymta-Notify", b"SUCCESS,FAILURE"),)


@pytest.fixture
def box(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Box(str(tmp_path), aliases="team: alice, carol\nmixed: alice, x@remote.test, y@remote.test\nboss: alice\n")


def work(box, rounds=3):
    runner, local = box.runner(), box.local()
    runner.start()
    local.start()
    for _ in range(rounds):
        runner.look()
        local.look()
    return runner, local


def told(box, user="bob"):
    """What the reports in a mailbox say: [(field -> value of the group of each recipient)]."""
    out = []
    for data in box.mail(user):
        message = email.message_from_bytes(data)
        if message.get_content_type() == "multipart/report":
            groups = list(message.walk())[3:]           # the whole, the text, the status; then its groups
            out += [dict(group.items()) for group in groups if "Action" in group]
    return out


def test_a_delivery_here_is_told_to_who_wants_to_hear_of_it(box):
    box.accept(b"bob@example.test", [b"alice@example.test"], notes=(*SUCCESS, (b"Pymta-Orcpt", b"rfc822;Al+ice@example.test")),
               facts={"envid": "QQ+2B314", "ret": "HDRS"})
    work(box)
    assert len(box.mail("alice")) == 1 and box.queue() == []
    fate, = told(box)
    assert fate["Action"] == "delivered" and fate["Status"] == "2.1.5" and fate["Final-Recipient"] == "rfc822; alice@example.test"
    assert fate["Original-Recipient"] == "rfc822; Al+ice@example.test"
    assert b"Original-Envelope-Id: QQ+314\n" in box.mail("bob")[0] and b"Subject: Delivered: " in box.mail("bob")[0]


@pytest.mark.parametrize("notes, sender", [((), b"bob@example.test"), (((b"Pymta-Notify", b"FAILURE,DELAY"),), b"bob@example.test"),
                                           (((b"Pymta-Notify", b"NEVER"),), b"bob@example.test"), (SUCCESS, b"")])
def test_nobody_else_hears_of_it(box, notes, sender):
    box.accept(sender, [b"alice@example.test"], notes=notes)
    work(box)
    assert len(box.mail("alice")) == 1 and box.mail("bob") == [] and box.queue() == []


def test_mail_without_a_wish_for_receipts_is_still_delivered_by_rename(box):
    box.accept(b"bob@example.test", [b"alice@example.test"], notes=((b"Pymta-Notify", b"FAILURE"),))
    inode = os.stat("in/smtpd/new/" + os.listdir("in/smtpd/new")[0]).st_ino
    work(box)
    name, = os.listdir(box.maildir("alice") + "/new")
    assert os.stat(f"{box.maildir('alice')}/new/{name}").st_ino == inode


def test_an_alias_with_one_target_is_delivered_under_its_name(box):
    box.accept(b"bob@example.test", [b"boss@example.test"], notes=SUCCESS)
    work(box)
    fate, = told(box)
    assert fate["Action"] == "delivered" and fate["Original-Recipient"] == "rfc822; boss@example.test"


def test_an_alias_with_several_targets_is_expanded(box):
    """RFC 3461 §5.2.7.3 c."""
    box.accept(b"bob@example.test", [b"team@example.test"], notes=SUCCESS)
    work(box)
    fate, = told(box)
    assert fate["Action"] == "expanded" and fate["Final-Recipient"] == "rfc822; team@example.test"
    assert len(box.mail("alice")) == len(box.mail("carol")) == 1 and box.queue() == []


def test_an_alias_that_leads_here_and_elsewhere_is_expanded_once(box):
    box.accept(b"bob@example.test", [b"mixed@example.test"], notes=SUCCESS)
    runner, local = work(box)
    path, = box.queue()
    with open(path, "rb") as file:
        envelope, _ = queuefile.read_envelope(file.fileno())
    assert [dict(recipient.notes)[b"Pymta-Notify"] for recipient in envelope.recipients] == [b"FAILURE"] * 2
    box.report_remote(os.path.basename(path), (0, "deferred", "4.2.0", "later"), (1, "relayed", "2.0.0", "mx[192.0.2.1] said: 250 ok"))
    runner.look()
    local.look()
    assert [fate["Action"] for fate in told(box)] == ["expanded"]


def test_a_host_that_sends_no_receipts_is_named(box):
    """RFC 3461 §5.2.2."""
    id = box.accept(b"bob@example.test", [b"x@remote.test", b"y@remote.test", b"z@remote.test"], notes=SUCCESS)
    runner, local = work(box)
    box.report_remote(f"{id}.remote", (0, "relayed", "2.6.0", "mx.b.example[192.0.2.1] said: 250 2.6.0 queued as 4711"),
                      (1, "failed", "5.1.1", "mx.b.example[192.0.2.1] said: 550 5.1.1 no such user"), (2, "delivered", "2.0.0", "mx2[::1] said: 250 ok"))
    runner.look()
    local.look()
    assert box.queue() == []
    fates = {fate["Final-Recipient"]: fate for fate in told(box)}
    assert sorted(fates) == ["rfc822; x@remote.test", "rfc822; y@remote.test"]      # z's host has promised to tell
    assert fates["rfc822; x@remote.test"]["Action"] == "relayed" and fates["rfc822; y@remote.test"]["Action"] == "failed"
    for fate, said in ((fates["rfc822; x@remote.test"], "250 2.6.0 queued as 4711"), (fates["rfc822; y@remote.test"], "550 5.1.1 no such user")):
        assert fate["Remote-MTA"] == "dns; mx.b.example" and fate["Diagnostic-Code"] == f"smtp; {said}"


@pytest.mark.parametrize("notify, heard", [(b"NEVER", 0), (b"SUCCESS", 0), (b"FAILURE", 1), (b"DELAY", 0), (b"", 1)])
def test_a_failure_is_told_where_it_is_wanted(box, notify, heard):
    id = box.accept(b"bob@example.test", [b"x@remote.test"], notes=((b"Pymta-Notify", notify),) if notify else ())
    runner, local = work(box)
    box.report_remote(f"{id}.remote", (0, "failed", "5.1.1", "550 no"))
    runner.look()
    local.look()
    assert len(told(box)) == heard and box.queue() == []


@pytest.mark.parametrize("notify, heard", [(b"NEVER", 0), (b"SUCCESS,FAILURE", 0), (b"DELAY", 1), (b"", 1)])
def test_a_delay_is_told_where_it_is_wanted(box, notify, heard, monkeypatch):
    id = box.accept(b"bob@example.test", [b"x@remote.test"], notes=((b"Pymta-Notify", notify),) if notify else ())
    runner, local = work(box)
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + 6 * 3600)
    box.report_remote(f"{id}.remote", (0, "deferred", "4.2.0", "mx.b.example[192.0.2.1] said: 451 4.2.0 greylisted"))
    runner.look()
    local.look()
    assert [(fate["Action"], fate["Remote-MTA"], fate["Diagnostic-Code"]) for fate in told(box)] == \
        [("delayed", "dns; mx.b.example", "smtp; 451 4.2.0 greylisted")] * heard


def test_a_report_that_was_not_read_before_a_crash_is_no_reason_to_deliver_again(box):
    box.accept(b"bob@example.test", [b"alice@example.test"], notes=SUCCESS)
    runner, local = box.runner(), box.local()
    runner.start()
    local.start()
    assert len(box.mail("alice")) == 1 and os.listdir("publishing") == [] and len(os.listdir("todo/local")) == 1
    local = box.local()                                 # it was killed, and is back before the runner
    local.start()
    assert len(box.mail("alice")) == 1
    runner.look()
    local.look()
    assert [fate["Action"] for fate in told(box)] == ["delivered"] and len(box.mail("alice")) == 1 and box.queue() == []


def test_torn_records_of_one_attempt_count_for_nothing():
    records = [queuefile.Record(1, 5, number, "failed", "5.1.1", "no") for number in range(3)]
    data = queuefile.encode_records(records)
    ends = [at + 1 for at in range(len(data)) if data[at:at + 1] == b"\n"]
    for cut in range(len(data)):
        assert queuefile.decode_records(data[:cut]) == ([], 0)
        assert queuefile.decode_records(data + data[:cut]) == (records, len(data))
    assert queuefile.decode_records(data) == (records, ends[-1])
    old = b"".join(map(queuefile.encode_record, records))                   # as the first version wrote them
    assert queuefile.decode_records(old[:ends[1]]) == (records[:2], ends[1])


@pytest.mark.parametrize("text, parts", [
    ("mx.b.example[192.0.2.1] said: 550 5.1.1 no: such", ("mx.b.example", "550 5.1.1 no: such", True)),
    ("mx.b.example[2001:db8::1]: connection lost", ("mx.b.example", "connection lost", False)),
    ("/home/a[1]/x: no space", ("", "/home/a[1]/x: no space", False)), ("no host answers", ("", "no host answers", False)), ("", ("", "", False))])
def test_who_said_it(text, parts):
    assert report.reply(text) == parts
