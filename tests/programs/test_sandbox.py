"""The sandbox contract, sentence by sentence: what anybody who runs pymta-sandbox may rely on."""
from __future__ import annotations

import imaplib
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.running import PROGRAM, ROOT, START_S, Sandboxes, new_directory, wait_until

DAEMONS = ["pymta-smtpd", "pymta-qrun", "pymta-local", "pymta-remote", "pymta-imapd", "pymta-pop3d"]
PORTS = ["smtp", "submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s"]
FOLDERS = ["Archive", "Drafts", "Junk", "Sent", "Trash"]


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def all_pids(one) -> list[int]:
    return [pid for pids in one.ends["pids"].values() for pid in pids]


def holders(directory: str) -> list[str]:
    """Processes that have something open, or work, below directory."""
    out = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        for link in ("cwd", "fd"):
            base = f"/proc/{pid}/{link}"
            try:
                names = [base] if link == "cwd" else [f"{base}/{n}" for n in os.listdir(base)]
                out += [name for name in names if os.readlink(name).startswith(directory + "/")]
            except OSError:
                continue
    return out


def owner(pid: int) -> int:
    return os.stat(f"/proc/{pid}").st_uid


# ---- what is there ----------------------------------------------------------------------------------------------------
def test_endpoints(sandbox):
    ends = sandbox.ends
    assert list(ends) == ["domain", "host", *PORTS, "managesieve", "http", "ca_file", "sendmail", "etc", "spool", "log", "pids", "users"]
    assert ends["domain"] == "example.test" and ends["host"] == "127.0.0.1"
    assert all(isinstance(ends[name], int) for name in PORTS) and len({ends[name] for name in PORTS}) == len(PORTS)
    assert [user["name"] for user in ends["users"]] == ["alice", "bob"]
    assert [user["address"] for user in ends["users"]] == ["alice@example.test", "bob@example.test"]
    for path in (ends["ca_file"], ends["sendmail"], ends["etc"], ends["spool"], ends["log"], *(user["maildir"] for user in ends["users"])):
        assert path.startswith(sandbox.directory + "/") and os.path.exists(path)
    with open(os.path.join(ends["etc"], "aliases"), "rb") as file:
        assert file.read().endswith(b"\n")
    assert os.path.samefile(os.path.join(sandbox.directory, "etc", "aliases"), os.path.join(ends["etc"], "aliases"))


def test_every_daemon_runs_and_every_process_is_listed(sandbox):
    pids = sandbox.ends["pids"]
    assert list(pids) == DAEMONS
    assert all(alive(pid) for pid in all_pids(sandbox))
    for name, listed in pids.items():
        with open(f"/proc/{listed[0]}/cmdline", "rb") as file:
            assert f"/{name}\0".encode() in file.read()
        for child in filter(str.isdecimal, os.listdir("/proc")):
            try:
                with open(f"/proc/{child}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
            assert parent not in listed or int(child) in listed


@pytest.mark.parametrize("listener", PORTS)
def test_every_port_answers(sandbox, listener):
    greeting = {"s": b"220 ", "l": b"220 ", "i": b"* OK", "p": b"+OK "}[listener[0]]
    with socket.create_connection((sandbox.ends["host"], sandbox.ends[listener]), 30) as sock:
        if listener in ("submissions", "imaps", "pop3s"):
            sock = sandbox.tls().wrap_socket(sock, server_hostname="localhost")
        with sock:
            assert sock.recv(512).startswith(greeting)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "mail.example.test", "::1"])
def test_the_certificate_names_us_all(sandbox, name):
    context = sandbox.tls()
    context.verify_flags |= ssl.VERIFY_X509_STRICT      # the default from Python 3.13 on
    with socket.create_connection((sandbox.ends["host"], sandbox.ends["imaps"]), 30) as sock:
        with context.wrap_socket(sock, server_hostname=name) as wrapped:
            assert wrapped.version() in ("TLSv1.2", "TLSv1.3")


def test_every_mailbox_has_its_folders(sandbox):
    with sandbox.imap() as client:
        listed = b"\n".join(line for line in client.list()[1] if isinstance(line, bytes)).decode()
    for folder in FOLDERS:
        assert re.search(rf'\(.*\\{folder}\b.*\) "." "?{folder}"?', listed), listed


def test_passwords_are_what_the_settings_say(sandbox):
    with open(os.path.join(sandbox.ends["etc"], "passwords")) as file:
        text = file.read()
    assert text.count(":$argon2id$v=19$m=19456,t=2,p=1$") == 2 and "secret" not in text


# ---- what it does -----------------------------------------------------------------------------------------------------
def test_mail_for_the_domain_is_taken_from_anybody_and_read_by_imap_and_pop3(sandbox):
    sandbox.send("bob@example.test", "Subject: by smtp\n\nhello bob\n")
    sandbox.wait_mail(name="bob")
    with sandbox.imap("bob") as client:
        assert client.select("INBOX")[1] == [b"1"]
        assert b"hello bob" in client.fetch("1", "(BODY.PEEK[TEXT])")[1][0][1]
    client = sandbox.pop3("bob", "pop3s")
    assert b"hello bob" in client.retr(1)[1]
    client.quit()


def test_nothing_is_relayed(sandbox):
    with sandbox.smtp() as client:
        client.ehlo("client.test")
        client.mail("a@client.test")
        assert client.rcpt("x@elsewhere.test")[0] == 550
        assert client.rcpt("nobody-here@example.test")[0] == 550
        assert client.rcpt("alice@example.test")[0] == 250


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_submission_wants_tls_and_a_login(sandbox, listener):
    with sandbox.smtp(listener) as client:
        client.ehlo("client.test")
        if listener == "submission":
            assert "auth" not in client.esmtp_features
            assert client.mail("alice@example.test")[0] == 530
            client.starttls(context=sandbox.tls())
            client.ehlo("client.test")
        assert client.mail("alice@example.test")[0] == 530
        client.rset()
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("alice@example.test", "wrong")
        client.login("alice@example.test", "secret")
        client.sendmail("alice@example.test", ["alice@example.test"], f"From: alice@example.test\r\nSubject: {listener}\r\n\r\nx\r\n")
    wait_until(lambda: any(f"Subject: {listener}\n" in open(path).read() for path in sandbox.inbox()))


@pytest.mark.parametrize("name", ["alice@example.test", "alice", "Alice@Example.TEST"])
def test_one_logs_in_with_the_address_or_the_bare_name(sandbox, name):
    with imaplib.IMAP4(sandbox.ends["host"], sandbox.ends["imap"], timeout=30) as client:
        assert client.login(name, "secret")[0] == "OK"


def test_sendmail_works_without_any_environment(sandbox):
    before = len(sandbox.inbox())
    done = sandbox.sendmail("-i", "alice", message="Subject: from a script\n\nyes\n")
    assert (done.returncode, done.stderr) == (0, b"")
    sandbox.wait_mail(before + 1)


def test_an_alias_is_in_force_at_once_in_every_domain(sandbox_factory):
    one = sandbox_factory(domain=["first.test", "second.test"], user=["carol:pw", "dave@second.test:pw:with:colons"])
    with open(os.path.join(one.directory, "etc", "aliases"), "a") as file:
        file.write("sales: carol@first.test\n")
    for domain in ("first.test", "second.test"):
        wait_until(lambda address=f"sales@{domain}": accepts(one, address))
        one.send(f"sales@{domain}")
    one.wait_mail(2, "carol")
    dave = one.user("dave@second.test")
    assert dave["address"] == "dave@second.test" and dave["password"] == "pw:with:colons"
    with one.imap("dave@second.test", "imaps") as client:
        assert client.select("INBOX")[0] == "OK"
    assert [user["name"] for user in one.ends["users"]] == ["carol", "dave@second.test"]
    assert not accepts(one, "alice@first.test")


def accepts(one, address: str) -> bool:
    with one.smtp() as client:
        client.ehlo("client.test")
        client.mail("a@client.test")
        return client.rcpt(address)[0] == 250


def test_postmaster_is_read_by_somebody(sandbox):
    before = len(sandbox.inbox())
    sandbox.send("postmaster@example.test")
    sandbox.wait_mail(before + 1)


@pytest.mark.parametrize("protocol", ["", "lmtp:"])
def test_relaying_and_transports(sandbox_factory, protocol):
    from aiosmtpd.controller import Controller
    from aiosmtpd.lmtp import LMTP

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            seen.append((type(server), envelope.rcpt_tos))
            return "250 ok"

    class Peer(Controller):
        def factory(self):
            return LMTP(self.handler) if protocol else super().factory()

    seen: list = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    peer = Peer(Handler(), "127.0.0.1", port, ready_timeout=30)
    peer.start()
    try:
        one = sandbox_factory(relay_from="127.0.0.0/8", transport=f"remote.test={protocol}127.0.0.1:{port}")
        one.send("someone@remote.test")
        wait_until(lambda: seen, 30, lambda: one.log())
    finally:
        peer.stop()
    assert seen[0][1] == ["someone@remote.test"] and issubclass(seen[0][0], LMTP) == bool(protocol)


def test_a_user_may_hold_200_sessions(sandbox):
    clients = []
    try:
        for _ in range(200):
            clients.append(sandbox.imap("bob"))
        assert clients[-1].select("INBOX")[0] == "OK"
    finally:
        for client in clients:
            client.shutdown()


def test_wrong_passwords_ban_nobody(sandbox):
    for _ in range(12):
        with imaplib.IMAP4(sandbox.ends["host"], sandbox.ends["imap"], timeout=30) as client:
            with pytest.raises(imaplib.IMAP4.error):
                client.login("alice", "wrong")
    sandbox.imap().logout()


def test_sixty_users(sandbox_factory):
    one = sandbox_factory(user=[f"u{n}:pw{n}" for n in range(60)])
    assert len(one.ends["users"]) == 60
    with one.imap("u59") as client:
        assert client.select("Archive")[0] == "OK"


def test_any_setting_can_be_set(sandbox_factory):
    one = sandbox_factory(set=["queue.retry=1s,2s,5s", "queue.lifetime=1m", "smtp.lmtp=", "login.failures=2"])
    with open(os.path.join(one.directory, "etc", "pymta.conf")) as file:
        text = file.read()
    assert "\nqueue.retry = 1s,2s,5s\n" in text and "\nlogin.failures = 2\n" in text
    assert one.ends["lmtp"] is None


def test_lmtp_on_a_unix_socket(sandbox_factory):
    with Sandboxes() as sandboxes:
        folder = sandboxes.new_directory()
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        path = os.path.join(folder, "lmtp")
        one = sandbox_factory(set=f"smtp.lmtp={path}")
        assert one.ends["lmtp"] == path and f"\nsmtp.lmtp = {path}\n" in (Path(one.directory) / "etc" / "pymta.conf").read_text()
        with smtplib.LMTP(path) as client:
            assert client.sendmail("ann@elsewhere.test", ["alice@example.test"], "Subject: by path\n\n") == {}
        one.wait_mail(1)
        one.stop()


def test_a_spool_elsewhere(sandbox_factory):
    with Sandboxes() as sandboxes:
        elsewhere = sandboxes.new_directory()
        if os.geteuid() == 0:
            os.chown(elsewhere, 65534, 65534)
        one = sandbox_factory(set=f"host.spool={elsewhere}")
        assert one.ends["spool"] == elsewhere
        one.send("alice@example.test")
        one.wait_mail(1)
        one.stop()


def test_caches_may_be_removed_at_any_time(sandbox):
    sandbox.send("alice@example.test", "Subject: kept\n\nthrough it all\n")
    sandbox.wait_mail(1)
    with sandbox.imap() as client:
        client.select("INBOX")
        before = client.uid("SEARCH", "ALL")
    for top, _, names in os.walk(sandbox.user("alice")["maildir"]):
        for name in names:
            if name.startswith("pymta"):
                os.unlink(os.path.join(top, name))
    with sandbox.imap() as client:
        client.select("INBOX")
        assert client.uid("SEARCH", "ALL") == before


# ---- how it ends, and begins again ------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_leaves_nothing(sandbox_factory, number):
    one = sandbox_factory()
    pids = all_pids(one)
    session = one.imap()                                # somebody is there, and idle
    assert one.stop(number) == 0
    session.shutdown()
    assert not [pid for pid in pids if alive(pid)]
    assert not os.path.exists(os.path.join(one.directory, "endpoints.json"))
    assert not holders(one.directory)


def test_it_can_be_stopped_before_it_is_ready(sandbox_factory):
    one = sandbox_factory(wait=False)
    wait_until(lambda: os.path.exists(os.path.join(one.directory, "log")), START_S)
    assert one.stop() == 0
    assert not os.path.exists(os.path.join(one.directory, "endpoints.json"))
    wait_until(lambda: not holders(one.directory))


def test_killed_itself_its_children_die_and_the_next_start_finds_everything(sandbox_factory):
    options = {"set": "queue.retry=1h", "relay_from": "127.0.0.0/8", "transport": "dead.test=127.0.0.1:9"}
    one = sandbox_factory(**options)
    one.send("alice@example.test", "Subject: one\n\nfirst\n")
    one.wait_mail(1)
    one.send("x@dead.test")
    pids = all_pids(one)
    one.process.kill()
    one.process.wait()
    wait_until(lambda: not [pid for pid in pids if alive(pid)], 30)
    assert os.path.exists(os.path.join(one.directory, "endpoints.json"))    # stale: nobody was there to remove it
    queued = queue_files(one.directory)
    assert len(queued) == 1
    ca = open(os.path.join(one.directory, "etc", "tls", "ca.pem")).read()

    box = os.path.join(one.directory, "home", "alice", "Maildir")
    os.mkdir(os.path.join(one.directory, "lost+found"), 0o700)
    shutil.rmtree(os.path.join(box, "tmp"))
    shutil.rmtree(os.path.join(box, ".Junk"))
    shutil.rmtree(os.path.join(one.directory, "spool", "corrupt"))
    stranger = os.stat(os.path.join(one.directory, "lost+found"))
    with open(os.path.join(one.directory, "etc", "aliases"), "a") as file:
        file.write("written: alice\n")
    again = sandbox_factory(one.directory, **options)
    assert len(again.inbox()) == 1
    assert [os.path.basename(path)[:15] for path in queue_files(one.directory)] == [os.path.basename(path)[:15] for path in queued]
    assert os.path.isdir(os.path.join(box, "tmp")) and os.path.isdir(os.path.join(box, ".Junk", "cur"))
    assert os.path.isdir(os.path.join(one.directory, "spool", "corrupt"))
    now = os.stat(os.path.join(one.directory, "lost+found"))
    assert (now.st_uid, now.st_mode, now.st_mtime_ns) == (stranger.st_uid, stranger.st_mode, stranger.st_mtime_ns)
    assert open(os.path.join(one.directory, "etc", "tls", "ca.pem")).read() == ca
    assert accepts(again, "written@example.test")
    again.send("alice@example.test", "Subject: two\n\nsecond\n")
    again.wait_mail(2)


def queue_files(directory: str) -> list[str]:
    return sorted(os.path.join(top, name) for top, _, names in os.walk(os.path.join(directory, "spool")) for name in names
                  if re.match(r"[0-9a-v]{15}", name))


@pytest.mark.parametrize("name", DAEMONS)
def test_a_daemon_that_dies_is_started_again(module_sandbox, name):
    one = module_sandbox
    old = one.ends["pids"][name]
    os.kill(old[0], signal.SIGKILL)

    def replaced() -> bool:
        new = one.ends["pids"][name]
        return bool(new) and not set(new) & set(old) and len(new) >= len(old) and not any(alive(pid) for pid in old)

    wait_until(replaced, 40, lambda: f"{old} {one.ends['pids']}\n{one.log()[-3000:]}")
    before = len(one.inbox())
    one.send("alice@example.test")
    one.wait_mail(before + 1)
    one.imap().logout()


def test_a_worker_that_dies_is_replaced_and_the_list_is_right(module_sandbox):
    old = module_sandbox.ends["pids"]["pymta-smtpd"]
    os.kill(old[-1], signal.SIGKILL)

    def replaced() -> bool:
        new = module_sandbox.ends["pids"]["pymta-smtpd"]
        return old[-1] not in new and len(new) == len(old) and new[0] == old[0]

    wait_until(replaced, 40, lambda: f"{old} {module_sandbox.ends['pids']}")


@pytest.fixture(scope="module")
def module_sandbox():
    with Sandboxes() as sandboxes:
        yield sandboxes.start()


def test_two_on_one_directory_are_refused(module_sandbox):
    done = run(module_sandbox.directory)
    assert done.returncode == 69 and "in use" in done.stderr
    assert module_sandbox.process.poll() is None and os.path.exists(os.path.join(module_sandbox.directory, "endpoints.json"))


def test_port_base(sandbox_factory):
    for base in range(23000 + os.getpid() % 5000, 31000, 50):
        one = sandbox_factory(port_base=base, wait=False)
        try:
            one.wait_ready()
        except AssertionError:
            assert "choose another port" in one.said()
            continue
        assert [one.ends[name] for name in PORTS] == list(range(base, base + 8))
        return
    pytest.fail("no free ports")


# ---- words that are wrong ---------------------------------------------------------------------------------------------
def run(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, PROGRAM, *words], capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.parametrize("words, named", [
    (["--set", "queue.retri=1s"], "queue.retry"),
    (["--set", "queue.lifetime=5x"], "not a duration"),
    (["--set", "queue.lifetime"], "KEY=VALUE"),
    (["--user", "alice"], "NAME:PASSWORD"),
    (["--user", "alice:"], "password"),
    (["--user", "a/b:pw"], "NAME:PASSWORD"),
    (["--user", "../../x:pw"], "NAME:PASSWORD"),
    (["--domain", "not a domain"], "not a domain"),
    (["--transport", "x.test"], "not a transport"),
    (["--relay-from", "everywhere"], "not a network"),
    (["--port-base", "65535"], "not a port"),
    (["--nonsense"], "--nonsense"),
])
def test_a_wrong_word_is_named_with_its_remedy(tmp_path, words, named):
    done = run(str(tmp_path / "box"), *words)
    assert done.returncode == 64 and named in done.stderr
    assert not (tmp_path / "box").exists()


# ---- as whom ----------------------------------------------------------------------------------------------------------
@pytest.mark.root
def test_as_root_with_a_directory_of_root_everything_is_nobody_s(sandbox_factory):
    one = sandbox_factory()
    assert {owner(pid) for pid in [one.process.pid, *all_pids(one)]} == {65534}
    assert os.stat(one.directory).st_uid == 65534
    assert os.stat(one.user("alice")["maildir"]).st_uid == 65534


@pytest.mark.root
def test_any_numeric_uid_will_do(sandbox_factory):
    with Sandboxes() as sandboxes:
        directory = sandboxes.new_directory()
        os.chown(directory, 54321, 100)
        one = sandboxes.start(directory)
        assert {owner(pid) for pid in [one.process.pid, *all_pids(one)]} == {54321}
        one.send("alice@example.test")
        one.wait_mail(1)
        done = subprocess.run([one.ends["sendmail"], "bob"], input=b"Subject: x\n\ny\n", env={}, user=54321, group=54321,
                              extra_groups=[], capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        one.wait_mail(1, "bob")


@pytest.mark.root
def test_a_directory_that_comes_back_as_root_s_is_given_away_again_but_for_lost_and_found(sandbox_factory):
    one = sandbox_factory()
    one.send("alice@example.test")
    one.wait_mail(1)
    one.stop()
    stranger = os.path.join(one.directory, "spool", "lost+found")
    os.mkdir(stranger, 0o700)
    for top, folders, names in os.walk(one.directory):
        for name in [".", *folders, *names]:
            os.chown(os.path.join(top, name), 0, 0, follow_symlinks=False)
    again = sandbox_factory(one.directory)
    again.send("alice@example.test")
    again.wait_mail(2)
    assert os.stat(stranger).st_uid == 0
    assert again.stop() == 0


@pytest.mark.root
def test_code_that_the_uid_cannot_read_is_named():
    closed = new_directory()
    try:
        for name in ("bin", "pymta"):
            shutil.copytree(os.path.join(ROOT, name), os.path.join(closed, "src", name))
        os.chmod(os.path.join(closed, "src"), 0o700)
        done = subprocess.run([sys.executable, os.path.join(closed, "src", "bin", "pymta-sandbox"), os.path.join(closed, "box")],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 77
        assert f"cannot read {closed}/src " in done.stderr
    finally:
        shutil.rmtree(closed)


# ---- what it costs ----------------------------------------------------------------------------------------------------
def test_the_idle_system_is_small(sandbox_factory, capsys):
    one = sandbox_factory()
    end = time.monotonic() + 20                         # what the start and its hashes used is given back after a few quiet seconds
    while True:
        sizes = {"pymta-sandbox": pss_kib([one.process.pid]), **{name: pss_kib(pids) for name, pids in one.ends["pids"].items()}}
        if sum(sizes.values()) <= 150 * 1024 or time.monotonic() > end:
            break
        time.sleep(0.5)
    with capsys.disabled():
        print("  PSS KiB:", json.dumps(sizes))
    assert sum(sizes.values()) <= 150 * 1024


def pss_kib(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M)[1])     # type: ignore[index]
    return total
