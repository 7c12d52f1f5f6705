"""serve and wire: sockets, TLS, workers and helpers of every network daemon, with a small daemon as a real process (tests/echo.py)."""
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest
import trustme

from tests.echo import BIG_OCTETS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Daemon:
    def __init__(self, etc, ca, **environment):
        self.ca = ca
        self.conf = etc / "pymta.conf"
        self.smtp, self.smtps = free_port(), free_port()
        (etc / "pymta.conf").write_text(f"smtp.listen = 127.0.0.1:{self.smtp}\nsmtp.submissions = 127.0.0.1:{self.smtps}\n")
        (etc / "tls").mkdir()
        self.tls = etc / "tls"
        self.certificate("localhost")
        self.log = etc / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "tests.echo", str(etc)], cwd=ROOT, stderr=log, env={**os.environ, **environment})
        self.wait_for("start ")

    def reload(self, more):
        with self.conf.open("a") as file:
            file.write(more)
        self.process.send_signal(signal.SIGHUP)

    def certificate(self, name):
        issued = self.ca.issue_cert(name)
        issued.private_key_pem.write_to_path(self.tls / "key.pem")
        (self.tls / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))

    def wait_for(self, text, count=1):
        end = time.monotonic() + 20
        while self.log.read_text().count(text) < count:
            assert time.monotonic() < end and self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.smtp), 10)
        greeting = sock.recv(100)
        assert greeting.startswith(b"220 smtp None ")
        return sock, int(greeting.split()[-1])

    def context(self):
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context

    def children(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path, trustme.CA())
    yield daemon
    if daemon.process.poll() is None:
        daemon.process.terminate()
        assert daemon.process.wait(15) == 0


def read_exactly(sock, octets):
    data = b""
    while len(data) < octets:
        more = sock.recv(1 << 16)
        assert more
        data += more
    return data


def ask(sock, line):
    sock.sendall(line + b"\r\n")
    return sock.recv(1000)


def test_what_the_peer_takes_slowly_arrives_whole(daemon):
    sock, _ = daemon.connect()
    sock.sendall(b"BIG\r\n")
    time.sleep(0.1)
    assert read_exactly(sock, BIG_OCTETS) == b"x" * BIG_OCTETS
    sock.sendall(b"MANY\r\n")
    assert read_exactly(sock, BIG_OCTETS) == b"y" * BIG_OCTETS
    assert ask(sock, b"hello") == b"hello\r\n"


def test_what_a_peer_that_went_away_did_not_take_is_not_kept(daemon):
    one, worker = daemon.connect()
    found: dict[int, socket.socket] = {}
    while worker not in found:                          # another in the same worker
        sock, pid = daemon.connect()
        found.setdefault(pid, sock)
    other = found[worker]
    gone, usual = map(int, ask(other, b"KEPT").split()[1:])
    other.sendall(b"BIG\r\n" * 8)                    # more than the systems between hold
    assert other.recv(10)
    other.close()
    while (now := [int(word) for word in ask(one, b"KEPT").split()[1:]])[0] == gone:
        time.sleep(0.02)
    assert now == [gone + 1, usual]


def test_who_does_not_read_is_not_heard(daemon):
    """Or a stranger who asks for ever and never reads fills the memory."""
    sock, _ = daemon.connect()
    sock.settimeout(2)
    octets = 0
    with pytest.raises(TimeoutError):
        while octets < 48 << 20:
            octets += sock.send(b"12345678901234567890\r\n" * 4096)
    sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        while sock.recv(1 << 20):
            pass
    sock.settimeout(10)
    sock.sendall(b"\r\nhello\r\n")
    assert sock.recv(1000).endswith(b"hello\r\n")


def test_starttls_and_tls_from_the_first_byte(daemon):
    sock, _ = daemon.connect()
    assert ask(sock, b"STARTTLS") == b"220 go\r\n"
    tls = daemon.context().wrap_socket(sock, server_hostname="localhost")
    assert tls.recv(100) == b"250 secured\r\n"
    assert ask(tls, b"hello") == b"hello\r\n"
    tls.sendall(b"BIG\r\n")
    assert read_exactly(tls, BIG_OCTETS) == b"x" * BIG_OCTETS
    assert ask(tls, b"QUIT") == b"221 bye\r\n"
    assert tls.recv(10) == b""                          # a proper end of TLS: no ragged EOF
    direct = daemon.context().wrap_socket(socket.create_connection(("127.0.0.1", daemon.smtps), 10), server_hostname="localhost")
    assert direct.recv(100).startswith(b"220 submissions TLSv1.")
    with pytest.raises(ssl.SSLError):
        old = daemon.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.wrap_socket(socket.create_connection(("127.0.0.1", daemon.smtps), 10), server_hostname="localhost")


def test_a_command_sent_ahead_of_the_handshake_is_never_executed(daemon):
    sock, _ = daemon.connect()
    ask(sock, b"STARTTLS")
    sock.sendall(b"hello in clear\r\n")
    assert b"hello" not in sock.recv(1000)              # an alert at most, then the end
    sock.settimeout(5)
    try:
        assert b"hello" not in sock.recv(1000)
    except ConnectionResetError:
        pass


def test_a_changed_certificate_is_used_without_a_restart(daemon):
    daemon.certificate("mail.example.test")
    time.sleep(1.1)                                     # it is looked at once a second
    sock = socket.create_connection(("127.0.0.1", daemon.smtps), 10)
    daemon.context().wrap_socket(sock, server_hostname="mail.example.test")


def test_a_session_that_says_nothing_is_timed_out(daemon):
    sock, _ = daemon.connect()
    sock.sendall(b"SLOW\r\n")
    assert sock.recv(100) == b"421 late\r\n" and sock.recv(100) == b""


def test_a_bug_ends_its_session_only(daemon):
    (first, _), (other, _) = daemon.connect(), daemon.connect()
    assert ask(first, b"BUG") == b""
    assert ask(other, b"hello") == b"hello\r\n"
    daemon.wait_for("as asked")


def test_a_paused_session_reads_on_later(daemon):
    sock, _ = daemon.connect()
    sock.sendall(b"PAUSE\r\n")
    time.sleep(0.05)
    sock.sendall(b"hello\r\n")
    assert read_exactly(sock, 18) == b"250 again\r\nhello\r\n"


def test_too_many_sessions_are_told_so(daemon):
    open_ones = [daemon.connect() for _ in range(20)]
    refused = 0
    for _ in range(21):
        sock = socket.create_connection(("127.0.0.1", daemon.smtp), 10)
        refused += sock.recv(100) == b"421 full\r\n"
        open_ones.append((sock, 0))
    assert refused >= 1                                 # two workers of 20 each: of 41 at least one


def test_a_worker_that_dies_is_started_again_and_so_is_a_helper(daemon):
    sock, pid = daemon.connect()
    answer = ask(sock, b"ASK")
    helper = int(answer.split()[-1])
    assert answer.startswith(b"250 ASK ") and helper in daemon.children()
    os.kill(helper, signal.SIGKILL)
    daemon.wait_for("upper ended")
    end = time.monotonic() + 10
    while not ask(sock, b"ASK").startswith(b"250 ASK "):      # the worker is handed a new socket
        assert time.monotonic() < end
    os.kill(pid, signal.SIGKILL)
    assert sock.recv(10) == b""
    daemon.wait_for("worker")
    again, new_pid = daemon.connect()
    assert new_pid != pid and ask(again, b"ASK").startswith(b"250 ASK ")


def test_stopping_says_goodbye_and_leaves_no_process(daemon):
    sock, _ = daemon.connect()
    children = daemon.children()
    assert len(children) == 3
    daemon.process.send_signal(signal.SIGTERM)
    assert sock.recv(100) == b"421 stopping\r\n"
    assert daemon.process.wait(10) == 0
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")]


def test_nobody_is_let_in_while_a_session_takes_its_time_to_end(daemon):
    (staying, _), (other, _) = daemon.connect(), daemon.connect()
    assert ask(staying, b"STAY") == b"250 ok\r\n"
    daemon.process.send_signal(signal.SIGTERM)
    assert other.recv(100) == b"421 stopping\r\n"
    end = time.monotonic() + 3                          # long before the staying session is cut off
    while True:
        try:
            socket.create_connection(("127.0.0.1", daemon.smtp), 10).close()
        except OSError:
            break
        assert time.monotonic() < end
        time.sleep(0.02)
    assert ask(staying, b"hello") == b"hello\r\n"
    staying.close()
    assert daemon.process.wait(10) == 0


def test_children_die_with_their_parent(daemon):
    children = daemon.children()
    daemon.process.kill()
    daemon.process.wait()
    end = time.monotonic() + 5
    while [pid for pid in children if os.path.exists(f"/proc/{pid}") and "Z" not in open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1][:3]]:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_port_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "pymta.conf").write_text(f"smtp.listen = 127.0.0.1:{port}\nsmtp.submissions =\n")
        done = subprocess.run([sys.executable, "-m", "tests.echo", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 71 and f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def test_inherited_sockets_are_used_instead_of_own(tmp_path):
    """LISTEN_FDS as systemd passes them: descriptor 3 on, with names."""
    with socket.create_server(("127.0.0.1", 0)) as passed:
        port = passed.getsockname()[1]
        script = ("import os,sys\nos.dup2(int(sys.argv[1]), 3)\nos.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='smtp')\n"
                  "os.execv(sys.executable, [sys.executable, '-m', 'tests.echo', sys.argv[2]])")
        process = subprocess.Popen([sys.executable, "-c", script, str(passed.fileno()), str(tmp_path)], cwd=ROOT,
                                   pass_fds=[passed.fileno(), 3] if passed.fileno() != 3 else [3], stderr=subprocess.DEVNULL)
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                assert sock.recv(100).startswith(b"220 smtp")
        finally:
            process.terminate()
            assert process.wait(15) == 0


def test_as_many_files_as_may_be_are_used(tmp_path):
    """A shell gives 1024, fewer than one worker may have sessions."""
    port = free_port()
    (tmp_path / "pymta.conf").write_text(f"smtp.listen = 127.0.0.1:{port}\nsmtp.submissions =\n")
    process = subprocess.Popen(["sh", "-c", f"ulimit -Sn 24; exec {sys.executable} -m tests.echo {tmp_path}"], cwd=ROOT, stderr=subprocess.PIPE)
    try:
        while b"start " not in process.stderr.readline():
            assert process.poll() is None
        socks = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(38)]
        assert all(sock.recv(100)[:4] in (b"220 ", b"421 ") for sock in socks)     # more than 20 a worker may not have
        for sock in socks:
            sock.close()
    finally:
        process.terminate()
        assert process.wait(15) == 0
        process.stderr.close()


# ---- SIGHUP -----------------------------------------------------------------------------------------------------------
def new_worker(daemon, old):
    """A connection to a worker that is none of old, and its pid."""
    for _ in range(100):
        sock, pid = daemon.connect()
        if pid not in old:
            return sock, pid
        sock.close()
        time.sleep(0.05)
    raise AssertionError("still the old ones")


def test_another_configuration_gets_other_workers_and_open_sessions_go_on(daemon):
    before = daemon.children()
    sock, old = daemon.connect()
    daemon.reload("queue.lifetime = 3d\n")
    daemon.wait_for("reload changed=1")
    new, pid = new_worker(daemon, before)
    assert old in daemon.children() and ask(sock, b"hello") == b"hello\r\n"
    assert ask(sock, b"ASK").startswith(b"250 ")     # its helper is there for it
    sock.close()
    deadline = time.monotonic() + 10
    while set(before) & set(daemon.children()):
        assert time.monotonic() < deadline, daemon.log.read_text()
        time.sleep(0.02)
    assert ask(new, b"hello") == b"hello\r\n" and len(daemon.children()) == len(before)


def test_a_second_reload_says_goodbye_to_those_that_the_first_left(daemon):
    first = daemon.children()
    sock, old = daemon.connect()
    daemon.reload("queue.lifetime = 3d\n")
    daemon.wait_for("reload changed=1")
    daemon.reload("remote.timeout = 200s\n")
    daemon.wait_for("reload changed=1", 2)
    sock.settimeout(10)
    assert sock.recv(100) == b"421 stopping\r\n" and sock.recv(100) == b""
    second, _ = new_worker(daemon, first)
    assert ask(second, b"hello") == b"hello\r\n"


def test_a_wrong_configuration_changes_nothing(daemon):
    before = daemon.children()
    daemon.reload("queue.lifetime = soon\n")
    daemon.wait_for("queue.lifetime = soon")
    assert "until then the settings stay as they were" in daemon.log.read_text()
    assert daemon.children() == before and daemon.connect()[1] in before
    assert " reload " not in daemon.log.read_text()


def test_a_worker_that_hangs_is_replaced_where_the_daemon_is_watched(tmp_path):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(20)
    daemon = Daemon(tmp_path, trustme.CA(), NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="1000000")
    try:
        assert manager.recv(100) == b"READY=1"
        sock, pid = daemon.connect()
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        assert ask(sock, b"hello") == b"hello\r\n"    # who answers is left alone
        os.kill(pid, signal.SIGSTOP)
        daemon.wait_for("hangs")
        daemon.wait_for("started again")
        new, other = new_worker(daemon, [pid])
        assert ask(new, b"hello") == b"hello\r\n"
    finally:
        daemon.process.terminate()
        assert daemon.process.wait(15) == 0
