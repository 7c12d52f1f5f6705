"""runner and local: where a queue file goes, step by step."""
import errno
import os

import pytest

from pymta import clock, durable
from pymta.formats import queuefile
from pymta.programs import inject
from tests.queuebox import BODY, HOST, Box


@pytest.fixture
def box(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Box(str(tmp_path), aliases="team: alice, bob\nmixed: alice, x@remote.test\nloop: ann@client.example\n")


def records(path):
    with open(path, "rb") as file:
        envelope, _ = queuefile.read_envelope(file.fileno())
        return queuefile.read_records(file.fileno(), envelope)[0]


def run(box, times=3):
    runner, local = box.runner(), box.local()
    runner.start()
    local.start()
    for _ in range(times):
        runner.look()
        local.look()
    return runner, local


def test_one_recipient_is_delivered_by_rename(box):
    box.accept(b"ann@client.example", [b"alice@example.test"])
    inode = os.stat("in/smtpd/new/" + os.listdir("in/smtpd/new")[0]).st_ino
    run(box)
    name, = os.listdir(box.maildir("alice") + "/new")
    found = os.stat(f"{box.maildir('alice')}/new/{name}")
    assert found.st_ino == inode and found.st_mode & 0o777 == 0o600
    data, = box.mail("alice")
    assert data.startswith(b"Return-Path: <ann@client.example>\nDelivered-To: alice@example.test\nPymta-Queue: 1 ")
    assert name.endswith(",S=%d,W=%d" % (len(data), len(data) + data.count(b"\n")))
    assert box.queue() == []


def test_a_copy_that_waits_to_be_published_stays_young(box):
    """Others tidy Maildir/tmp by age; what is missing there after its intent was noted counts as delivered."""
    box.accept(b"ann@client.example", [b"team@example.test"])
    new = f"{box.maildir('alice')}/new"
    os.rename(new, new + ".away")
    open(new, "wb").close()
    runner, local = run(box, 1)
    key, = os.listdir(f"{box.maildir('alice')}/tmp")
    os.utime(f"{box.maildir('alice')}/tmp/{key}", (1, 1))
    runner.look()
    runner.due(runner.next_due() + 1)
    local.look()
    assert os.stat(f"{box.maildir('alice')}/tmp/{key}").st_mtime > 1e9
    os.unlink(new)
    os.rename(new + ".away", new)
    runner.look()
    runner.due(runner.next_due() + 1)
    local.look()
    assert len(box.mail("alice")) == len(box.mail("bob")) == 1


def test_the_copies_of_a_batch_are_all_written_before_the_first_is_synced(box, monkeypatch):
    """One commit of the file system's journal then serves them all."""
    calls = []
    for number in range(3):
        box.accept(b"ann@client.example", [b"team@example.test"])
    runner = box.runner()
    runner.start()
    local = box.local()
    monkeypatch.setattr(durable, "tap", lambda kind, path, *more: calls.append(kind) if "/Maildir/tmp/" in str(path) else None)
    local.look()
    assert [kind for kind in calls if kind in ("create", "sync_file")] == ["create"] * 6 + ["sync_file"] * 6
    assert len(box.mail("alice")) == len(box.mail("bob")) == 3


def test_several_recipients_get_a_copy_each_that_names_nobody_else(box):
    box.accept(b"ann@client.example", [b"team@example.test", b"carol@example.test"])
    run(box)
    for user in ("alice", "bob", "carol"):
        data, = box.mail(user)
        assert data.count(b"Delivered-To:") == 1 and f"Delivered-To: {user}@example.test\n".encode() in data
        name, = os.listdir(box.maildir(user) + "/new")
        assert name.endswith(",S=%d,W=%d" % (len(data), len(data) + data.count(b"\n")))
        assert queuefile.decode(data).size_octets == len(data)
    assert box.queue() == [] and os.listdir("publishing") == []
    assert os.listdir(box.maildir("alice") + "/tmp") == []


def test_a_mixed_message_is_parted(box):
    id = box.accept(b"ann@client.example", [b"mixed@example.test"])
    run(box)
    assert len(box.mail("alice")) == 1
    path, = box.queue()
    assert path.startswith("todo/remote/") and id not in path
    with open(path, "rb") as file:
        assert queuefile.is_whole(file.fileno())
        assert [r.address for r in queuefile.read_envelope(file.fileno())[0].recipients] == [b"x@remote.test"]


def test_a_deferral_waits_in_a_bucket_and_comes_back_when_due(box):
    id = box.accept(b"ann@client.example", [b"x@remote.test"])
    runner, _ = run(box)
    box.report_remote(f"{id}.remote", (0, "deferred", "4.2.0", "451 later"))
    runner.look()
    path, = box.queue()
    assert path.startswith("later/")
    assert clock.now() + 250 < runner.next_due() < clock.now() + 400
    runner.due(clock.now())
    assert box.queue() == [path]
    runner.due(runner.next_due())
    assert box.queue() == [f"todo/remote/{id}.remote"]
    assert [r.word for r in records(f"todo/remote/{id}.remote")] == ["deferred"]
    assert not os.listdir("later")


def test_a_failure_is_returned_to_the_sender_and_the_rest_goes_on(box):
    id = box.accept(b"bob@example.test", [b"x@remote.test", b"y@remote.test"])
    runner, local = run(box)
    box.report_remote(f"{id}.remote", (0, "failed", "5.1.1", "550 5.1.1 no such user"), (1, "deferred", "4.2.0", "451 later"))
    runner.look()
    local.look()
    bounce, = box.mail("bob")
    assert bounce.startswith(b"Return-Path: <>\n") and b"550 5.1.1 no such user" in bounce and b"x@remote.test" in bounce
    assert b"y@remote.test" not in bounce.split(b"Undelivered message")[0]
    path, = box.queue()
    assert path.startswith("later/") and [r.word for r in records(path)] == ["failed", "deferred"]


def test_what_is_tried_for_too_long_is_returned(box, monkeypatch):
    id = box.accept(b"bob@example.test", [b"x@remote.test"])
    runner, local = run(box)
    start = clock.now()
    for wait in (0, 600, 3600, 86400, 6 * 86400):
        monkeypatch.setattr(clock, "now", lambda: start + wait)
        runner.due(clock.now())
        box.report_remote(f"{id}.remote", (0, "deferred", "4.2.0", "451 greylisted"))
        runner.look()
        local.look()
    bounce = box.mail("bob")[-1]                        # the first says that it is late
    assert b"451 greylisted" in bounce and b"5.4.7" in bounce
    assert box.queue() == []


def test_the_sender_is_told_once_that_it_is_late(box, monkeypatch):
    id = box.accept(b"bob@example.test", [b"x@remote.test"])
    runner, local = run(box)
    start = clock.now()
    for wait in (0, 5 * 3600, 6 * 3600):
        monkeypatch.setattr(clock, "now", lambda: start + wait)
        runner.due(clock.now())
        box.report_remote(f"{id}.remote", (0, "deferred", "4.2.0", "451 greylisted"))
        runner.look()
    local.look()
    notice, = box.mail("bob")
    assert b"Action: delayed" in notice and b"Will-Retry-Until:" in notice


def test_no_bounce_for_a_bounce_it_waits_for_the_admin(box, capfd):
    id = box.accept(b"", [b"x@remote.test"])
    runner, _ = run(box)
    box.report_remote(f"{id}.remote", (0, "failed", "5.1.1", "550 no"))
    runner.look()
    assert box.queue() == [f"hold/{id}.remote"]
    assert 'remedy="pymta-mailq show, then delete' in capfd.readouterr().err       # to release it would hold it again


def test_a_bounce_to_a_sender_who_does_not_exist_waits_for_the_admin(box):
    id = box.accept(b"nobody@example.test", [b"x@remote.test"])
    runner, local = run(box)
    box.report_remote(f"{id}.remote", (0, "failed", "5.1.1", "550 no"))
    for _ in range(3):
        runner.look()
        local.look()
    path, = box.queue()
    assert path.startswith("hold/")


def test_mail_for_postmaster_waits_while_nobody_reads_it(box):
    id = box.accept(b"ann@client.example", [b"postmaster@example.test"])
    runner, _ = run(box)
    assert box.queue() == [f"hold/{id}.local"]


def test_held_mail_goes_to_who_is_named_later(box, monkeypatch):
    id = box.accept(b"ann@client.example", [b"postmaster@example.test", b"alice@example.test"])
    runner, local = run(box)
    assert box.queue() == [f"hold/{id}.local"] and len(box.mail("alice")) == 1
    start = clock.now()
    monkeypatch.setattr(clock, "now", lambda: start + 30 * 86400)       # nobody is told that it was given up: it waited for the admin

    def release():
        os.rename(f"hold/{id}.local", f"in/qrun/new/{id}.local")
        for _ in range(3):
            runner.look()
            local.look()

    release()
    assert box.queue() == [f"hold/{id}.local"]
    box.write("etc/aliases", "root: alice, bob, ann@client.example\n")
    release()
    path, = box.queue()
    assert path.startswith("todo/remote/")
    mail, = box.mail("bob")
    assert b"Delivered-To: bob@example.test\nOriginal-Recipient: rfc822;postmaster@example.test\n" in mail and b"Pymta-Hold" not in mail
    assert len(box.mail("alice")) == 1


def test_held_mail_goes_to_a_mailbox_that_was_made_later(box):
    drop(box, [b"dora@example.test"], sender=b"")
    run(box)
    path, = box.queue()
    box.write("etc/users", f"dora@example.test:{os.getuid() or 65534}:{os.getgid() or 65534}:{box.root}/home/example.test/bob\n")
    os.rename(path, f"in/qrun/new/{os.path.basename(path)}")
    run(box)
    assert box.queue() == [] and len(box.mail("bob")) == 1


def test_a_dead_destination_is_parked_as_a_whole_and_released_as_a_whole(box):
    ids = [box.accept(b"ann@client.example", [b"x@remote.test"]) for _ in range(5)]
    runner, _ = run(box)
    box.report_remote(f"{ids[0]}.remote", (0, "deferred", "4.4.1", "connection refused"), down=True)
    runner.look()
    more = box.accept(b"ann@client.example", [b"y@remote.test"])
    runner.look()
    assert f"parked/remote.test/{ids[0]}.remote" in box.queue() and f"parked/remote.test/{more}.remote" in box.queue()
    for id in ids[1:]:
        box.report_remote(f"{id}.remote", (0, "deferred", "4.4.1", "connection refused"), down=True)
    runner.look()
    assert {os.path.dirname(path) for path in box.queue()} == {"parked/remote.test"}
    due = runner.next_due()
    runner.due(due - 1)
    assert not os.listdir("todo/remote")
    runner.due(due)
    probe, = os.listdir("todo/remote")                  # one is tried, not six
    box.report_remote(probe, (0, "delivered", "2.0.0", "250 ok"))
    runner.look()
    assert len(os.listdir("todo/remote")) == 5 and not os.listdir("parked")


def test_parked_mail_is_probed_after_a_restart(box):
    id = box.accept(b"ann@client.example", [b"x@remote.test"])
    runner, _ = run(box)
    box.report_remote(f"{id}.remote", (0, "deferred", "4.4.1", "connection refused"), down=True)
    runner.look()
    again = box.runner()
    again.start()
    again.due(clock.now())
    assert os.listdir("todo/remote") == [f"{id}.remote"]


def test_parked_mail_is_returned_with_the_last_answer_as_it_was(box, monkeypatch):
    id = box.accept(b"bob@example.test", [b"x@remote.test"])
    runner, local = run(box)
    start = clock.now()
    for wait in (0, 900, 3600, 86400, 2 * 86400):
        monkeypatch.setattr(clock, "now", lambda: start + wait)
        runner.due(clock.now())
        box.report_remote(f"{id}.remote", (0, "deferred", "4.4.3", "no name server"), down=True)
        runner.look()
    monkeypatch.setattr(clock, "now", lambda: start + 5 * 86400 + 1)
    runner.due(clock.now())
    runner.look()
    local.look()
    assert b"the last answer was: 4.4.3 no name server" in box.mail("bob")[-1].replace(b"\n    ", b" ")


def test_parked_mail_is_returned_when_its_lifetime_ends(box, monkeypatch):
    ids = [box.accept(b"bob@example.test", [b"x@remote.test"]) for _ in range(2)]
    runner, local = run(box)
    for id in ids:
        box.report_remote(f"{id}.remote", (0, "deferred", "4.4.1", "connection refused"), down=True)
    runner.look()
    start = clock.now()
    for wait in (900, 3600, 86400, 2 * 86400):          # probes
        monkeypatch.setattr(clock, "now", lambda: start + wait)
        runner.due(clock.now())
        name, = os.listdir("todo/remote")
        box.report_remote(name, (0, "deferred", "4.4.1", "connection refused"), down=True)
        runner.look()
    monkeypatch.setattr(clock, "now", lambda: start + 5 * 86400 + 1)
    runner.due(clock.now())
    local.look()
    bounces = [data for data in box.mail("bob") if b"Action: failed" in data]
    assert len(bounces) == 2 and all(b"connection refused" in data for data in bounces) and box.queue() == []


def test_a_torn_file_is_set_aside_with_its_reason(box):
    id = box.accept(b"ann@client.example", [b"alice@example.test"])
    os.truncate(f"in/smtpd/new/{id}.local", 100)
    run(box)
    assert box.queue() == [f"corrupt/{id}.local", f"corrupt/{id}.local.why"] and box.mail("alice") == []


def test_a_user_who_has_gone_since_is_a_bounce(box):
    box.accept(b"bob@example.test", [b"carol@example.test"])
    box.write("etc/users", "".join(f"{user}@example.test:{os.getuid() or 65534}:{os.getuid() or 65534}\n" for user in ("alice", "bob")))
    run(box)
    bounce, = box.mail("bob")
    assert b"no such user here" in bounce and box.queue() == []


def test_mail_that_has_been_here_before_is_stopped(box):
    box.accept(b"bob@example.test", [b"alice@example.test"])
    path = "in/smtpd/new/" + os.listdir("in/smtpd/new")[0]
    with open(path, "rb") as file:
        envelope, head = queuefile.read_envelope(file.fileno())
    message = b"Received: x\nDelivered-To: Alice@example.test\n" + head[envelope.head_octets:]
    with open(path, "wb") as file:
        file.write(queuefile.encode(envelope, message))
    run(box)
    bounce, = box.mail("bob")
    assert b"5.4.6" in bounce and box.mail("alice") == []


def test_a_mailbox_that_cannot_be_written_defers_only_its_own_recipient(box):
    os.rename(box.maildir("alice"), box.maildir("alice") + ".away")
    with open(box.maildir("alice"), "w"):
        pass                                            # a file where the Maildir was
    box.accept(b"ann@client.example", [b"team@example.test"])
    runner, local = run(box)
    assert len(box.mail("bob")) == 1
    path, = box.queue()
    assert path.startswith("later/")
    assert sorted(r.word for r in records(path)) == ["deferred", "delivered"]
    os.unlink(box.maildir("alice"))
    os.rename(box.maildir("alice") + ".away", box.maildir("alice"))
    runner.due(runner.next_due())
    local.look()
    assert len(box.mail("alice")) == 1 and len(box.mail("bob")) == 1 and box.queue() == []


def test_the_hosts_own_name_is_in_the_maildir_name(box):
    box.accept(b"ann@client.example", [b"alice@example.test"])
    run(box)
    assert f".{HOST}," in os.listdir(box.maildir("alice") + "/new")[0]


def test_strange_names_are_set_aside_and_dot_names_are_nobodys(box):
    for name in ("README", ".hidden"):
        with open(f"in/smtpd/new/{name}", "w"):
            pass
    run(box)
    assert "corrupt/README" in box.queue() and os.path.exists("in/smtpd/new/.hidden")


def drop(box, recipients, sender=b"bob@example.test", notes=()):
    id = queuefile.Ids().new(clock.now())
    envelope = queuefile.Envelope(sender, [queuefile.Recipient(queuefile.UNROUTED, address, notes) for address in recipients], id)
    inject.drop(envelope, BODY % (b"drop", b"drop"), inject.read_settings(box.etc))
    return id


def test_a_drop_is_routed_and_stamped_with_the_kernels_uid(box):
    drop(box, [b"team@example.test", b"alice@example.test", b"nobody@example.test"])
    run(box)
    data, = box.mail("alice")
    assert b"from userid %d)" % os.getuid() in data
    bounce, copy = sorted(box.mail("bob"), key=lambda data: b"Undelivered" not in data)
    assert b"no such user here" in bounce and b"Delivered-To: bob@example.test" in copy
    assert box.queue() == []


def test_a_drop_waits_while_the_alias_file_is_wrong(box):
    box.write("etc/aliases", "team: alice, |/bin/cat\n")
    id = drop(box, [b"team@example.test"])
    runner, local = run(box)
    assert box.queue() == [f"in/inject/new/{id}.drop"] and box.mail("bob") == []
    box.write("etc/aliases", "team: alice\n")
    runner.look()
    local.look()
    assert len(box.mail("alice")) == 1 and box.queue() == []


def test_a_lost_drop_of_nobody_waits_for_the_admin(box):
    drop(box, [b"nobody@example.test"], sender=b"")
    run(box)
    path, = box.queue()
    assert path.startswith("hold/")


@pytest.mark.parametrize("make", [lambda path: os.symlink("/etc/passwd", path), lambda path: os.mkfifo(path), lambda path: os.mkdir(path),
                                  lambda path: open(path, "w").write("garbage"), lambda path: open(path, "w").close()])
def test_garbage_in_the_drop_directory_is_set_aside(box, make):
    make("in/inject/new/0000000000000.drop")
    drop(box, [b"alice@example.test"])
    run(box)
    assert len(box.mail("alice")) == 1
    assert os.path.lexists("corrupt/0000000000000.drop") and not os.listdir("in/inject/new")


def test_a_stranger_s_directory_that_cannot_be_moved_is_told_of_once(box, monkeypatch, capfd):
    """A directory can be moved elsewhere only by who may write in it: it stays, and must not fill the log each minute."""
    real = durable.rename

    def rename(source, target):
        if source.endswith("stranger.drop"):
            raise PermissionError(errno.EACCES, "Permission denied")
        real(source, target)

    monkeypatch.setattr(durable, "rename", rename)
    os.mkdir("in/inject/new/stranger.drop")
    drop(box, [b"alice@example.test"])
    runner, _ = run(box)
    runner.look()
    runner.look()
    assert len(box.mail("alice")) == 1 and os.path.isdir("in/inject/new/stranger.drop")
    assert capfd.readouterr().err.count("cannot set in/inject/new/stranger.drop aside") == 1


def test_a_drop_with_a_second_link_is_set_aside(box):
    id = drop(box, [b"alice@example.test"])
    os.link(f"in/inject/new/{id}.drop", f"{box.root}/link")
    run(box)
    assert box.mail("alice") == [] and f"corrupt/{id}.drop" in box.queue()


def test_who_wants_to_hear_nothing_hears_nothing(box):
    drop(box, [b"x@remote.test"], notes=((b"Pymta-Notify", b"NEVER"),))
    runner, local = run(box)
    name, = os.listdir("todo/remote")
    box.report_remote(name, (0, "failed", "5.1.1", "550 no"))
    runner.look()
    local.look()
    assert box.mail("bob") == [] and box.queue() == []


def test_what_was_acknowledged_before_the_boot_goes_on_without_smtpd(box):
    """The whole file in in/smtpd/tmp is the promise; a power cut may have undone the rename that followed."""
    name = box.accept(b"ann@client.example", [b"alice@example.test"]) + ".local"
    torn = box.accept(b"ann@client.example", [b"bob@example.test"]) + ".local"
    young = box.accept(b"ann@client.example", [b"carol@example.test"]) + ".local"
    for each in (name, torn, young):
        os.rename(f"in/smtpd/new/{each}", f"in/smtpd/tmp/{queuefile.shard(each)}/{each}")
    os.truncate(f"in/smtpd/tmp/{queuefile.shard(torn)}/{torn}", 50)
    for each in (name, torn):
        os.utime(f"in/smtpd/tmp/{queuefile.shard(each)}/{each}", (1000, 1000))
    run(box)
    assert len(box.mail("alice")) == 1 and box.mail("bob") == [] and box.mail("carol") == []
    assert [found for _, _, found in os.walk("in/smtpd/tmp") if found] == [[young]]       # somebody may be writing it
