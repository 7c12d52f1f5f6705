"""pymta-imapd as a process: its transcripts, pushes, limits, and stock clients as strangers."""
from __future__ import annotations

import codecs
import dataclasses
import imaplib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from tests.running import Sandbox
from tests.sessions.runner import SocketPeer, Transcript, play, transcripts

TRANSCRIPTS = [param for param in transcripts("imap") if not param.values[0].option("engine", "no") == ""]
USERS = [f"user{number}" for number in range(len(TRANSCRIPTS))]
OTHERS = ["alice", "bob", "carol", "dave", "erin", "frank", "gail", "hugo", "ines", "jack", "kate", "lena"]
MESSAGE = b"From: Ann <ann@a.example>\nSubject: %d\n\nhello\n"


@pytest.fixture(scope="module")
def box(module_sandbox_factory) -> Sandbox:
    return module_sandbox_factory(user=[f"{name}:secret" for name in USERS + OTHERS])


def deliver(box: Sandbox, user: str, *messages: bytes, folder: str = "") -> None:
    """Put messages into new/ as any delivery agent does."""
    maildir = Path(box.user(user)["maildir"]) / folder
    owner = maildir.stat()
    for number, message in enumerate(messages):
        name = f"{time.time_ns() // 10**9}.M{time.time_ns() // 1000 % 10**6:06}P{os.getpid()}Q{number}.host"
        path = maildir / "tmp" / name
        path.write_bytes(message)
        os.chown(path, owner.st_uid, owner.st_gid)
        path.rename(maildir / "new" / name)


def wait_for(client: imaplib.IMAP4, wanted: bytes, seconds: float = 20) -> bytes:
    """Lines that come unasked, up to one that holds wanted."""
    heard = b""
    client.sock.settimeout(seconds)
    while wanted not in heard or not heard.endswith(b"\r\n"):
        heard += client.sock.recv(1000)
    return heard


def idle(client: imaplib.IMAP4) -> None:
    client.send(b"I IDLE\r\n")
    assert client.readline().startswith(b"+")


def done(client: imaplib.IMAP4) -> bytes:
    client.send(b"DONE\r\n")
    return wait_for(client, b"I OK")


@pytest.mark.parametrize(("transcript", "user"), [pytest.param(param.values[0], user, id=param.id)
                                                  for param, user in zip(TRANSCRIPTS, USERS)])
def test_transcript(box: Sandbox, transcript: Transcript, user: str) -> None:
    deliver(box, user, *(codecs.escape_decode(value.encode())[0] for name, value in transcript.options if name == "mail"))
    steps = tuple(dataclasses.replace(step, text=step.text.replace(b"alice", user.encode()).replace(b"{5", b"{%d" % len(user))
                                      if b"alice" in step.text or b"LOGIN {5" in step.text else step.text) for step in transcript.steps)
    with SocketPeer(box.ends["host"], box.ends["imap"], tls=box.tls()) as peer:
        play(dataclasses.replace(transcript, steps=steps), peer)


def test_idle_hears_of_deliveries_and_of_other_sessions(box: Sandbox) -> None:
    idler, other = box.imap("alice"), box.imap("alice", "imaps")
    idler.select()
    other.select()
    idle(idler)
    deliver(box, "alice", MESSAGE % 1)
    assert b"* 1 EXISTS" in wait_for(idler, b"EXISTS")
    other.noop()
    other.store("1", "+FLAGS", "(\\Flagged $Work)")
    heard = wait_for(idler, b"$Work)")
    assert b"* FLAGS (" in heard and b"* 1 FETCH (UID 1 FLAGS (" in heard
    other.store("1", "+FLAGS", "\\Deleted")
    other.expunge()
    assert b"* 1 EXPUNGE" in wait_for(idler, b"EXPUNGE")
    done(idler)
    idler.logout()
    other.logout()


def test_an_expunge_is_told_only_where_it_may_be(box: Sandbox) -> None:
    """RFC 3501 §7.4.1: never in answer to FETCH, STORE or SEARCH, and the message can be read until it is told."""
    deliver(box, "bob", MESSAGE % 1, MESSAGE % 2)
    one, other = box.imap("bob"), box.imap("bob")
    one.select()
    other.select()
    one.store("1", "+FLAGS", "\\Deleted")
    one.expunge()
    kind, rows = other.fetch("1", "(BODY.PEEK[TEXT])")
    assert kind == "OK" and rows[0][1] == b"hello\r\n"
    assert other.search(None, "ALL") == ("OK", [b"1 2"])
    assert other.untagged_responses.get("EXPUNGE") is None
    assert other.response("EXPUNGE") == ("EXPUNGE", [None])
    other.noop()
    assert other.response("EXPUNGE") == ("EXPUNGE", [b"1"])
    assert other.search(None, "ALL") == ("OK", [b"1"])
    one.logout()
    other.logout()


def test_a_mailbox_that_goes_away_ends_its_sessions(box: Sandbox) -> None:
    one, other = box.imap("bob"), box.imap("bob")
    one.create("Doomed")
    other.select("Doomed")
    idle(other)
    one.delete("Doomed")
    assert b"* BYE" in wait_for(other, b"BYE")
    one.logout()


def test_too_many_sessions_end_the_oldest_idle_one(sandbox_factory) -> None:
    box = sandbox_factory(set=["imap.sessions_per_user=3", "imap.workers=1"])
    first = box.imap()
    first.select()
    idle(first)
    busy = [box.imap() for _ in range(2)]
    extra = box.imap()
    assert b"You have 3 sessions, the most there may be (imap.sessions_per_user)" in wait_for(first, b"BYE")
    with pytest.raises(imaplib.IMAP4.error, match=r"\[LIMIT\] You have 3 sessions, the most there may be \(imap.sessions_per_user\)"):
        box.imap()
    extra.logout()
    box.imap().logout()
    for client in busy:
        client.logout()


def test_the_end_is_said_and_commands_are_finished(sandbox_factory) -> None:
    box = sandbox_factory()
    idler, reader = box.imap(), box.imap("bob")
    idle(idler)
    deliver(box, "bob", *[b"Subject: big\n\n" + b"x" * 70 * 1000 + b"\n"] * 40)
    reader.select()
    reader.send(b"f FETCH 1:* BODY.PEEK[]\r\n")
    time.sleep(0.1)
    for pid in box.ends["pids"]["pymta-imapd"]:
        os.kill(pid, signal.SIGTERM)
        break
    assert b"* BYE" in wait_for(idler, b"BYE")
    assert b"f OK Done\r\n" in wait_for(reader, b"BYE")


def test_a_long_answer_waits_for_a_slow_client(box: Sandbox) -> None:
    """The server does not read ahead for a client that takes nothing, and serves others meanwhile."""
    deliver(box, "dave", *[b"Subject: big\n\n" + b"x" * 70 * 1000 + b"\n"] * 60)
    slow = socket.create_connection((box.ends["host"], box.ends["imap"]))
    slow.sendall(b"a LOGIN dave secret\r\nb SELECT INBOX\r\nc FETCH 1:* BODY.PEEK[]\r\nd LOGOUT\r\n")
    time.sleep(0.3)
    quick = box.imap("erin")
    assert quick.noop()[0] == "OK"
    quick.logout()
    heard = bytearray()
    slow.settimeout(20)
    while data := slow.recv(1 << 16):
        heard += data
    assert heard.count(b"Subject: big") == 60 and b"c OK" in heard and heard.endswith(b"d OK Done\r\n")
    slow.close()


def test_a_peer_that_goes_away_in_the_middle_takes_nothing_with_it(box: Sandbox) -> None:
    for text in (b"", b"a LOGIN erin sec", b"a LOGIN erin secret\r\n", b"a LOGIN erin secret\r\nb SELECT INBOX\r\nc IDLE\r\n",
                 b"a LOGIN erin secret\r\nb APPEND INBOX {1000}\r\nhalf"):
        with socket.create_connection((box.ends["host"], box.ends["imap"])) as sock:
            sock.sendall(text)
    client = box.imap("erin")
    assert client.select() == ("OK", [b"0"])
    client.logout()
    assert "bug" not in [line.split()[1] for line in box.log().splitlines() if line.startswith("pymta-imapd:")]


@pytest.mark.parametrize("login", [b"", b"a LOGIN erin secret\r\n"], ids=["before the login", "after it"])
@pytest.mark.parametrize("command", [b"x" * 64, b"b SEARCH TEXT {2000000000+}\r\n"], ids=["no line end", "a huge literal"])
def test_who_sends_too_much_hears_why(box: Sandbox, login: bytes, command: bytes) -> None:
    """A command or a literal that is too long ends the session; the client sends on, and the end is no reset."""
    with socket.create_connection((box.ends["host"], box.ends["imap"]), 20) as sock:
        sock.sendall(login)
        heard = sock.recv(100)
        while login and b"a OK" not in heard:
            heard += sock.recv(1000)
        sock.sendall(command + b"x" * (4 << 20))
        while data := sock.recv(1000):                  # raises ConnectionResetError
            heard += data
    assert b"* BYE " in heard


def test_who_says_no_more_still_hears_the_answers(box: Sandbox) -> None:
    with socket.create_connection((box.ends["host"], box.ends["imap"]), 20) as sock:
        sock.sendall(b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc LOGOUT\r\n")
        sock.shutdown(socket.SHUT_WR)
        heard = sock.makefile("rb").read()
    for wanted in (b"a OK [CAPABILITY ", b"b OK [READ-WRITE]", b"c OK "):
        assert wanted in heard


def test_terms_of_stdlib(box: Sandbox) -> None:
    """imaplib, with everything it knows."""
    client = box.imap("frank", "imaps")
    assert client.append("INBOX", "(\\Seen)", imaplib.Time2Internaldate(1_600_000_000), b"Subject: a\r\n\r\nb\r\n")[0] == "OK"
    assert client.select() == ("OK", [b"1"])
    assert b"13-Sep-2020" in client.fetch("1", "INTERNALDATE")[1][0]
    assert client.copy("1", "Archive")[0] == "OK"
    assert client.status("Archive", "(MESSAGES UIDVALIDITY)")[1][0].startswith(b'"Archive" (MESSAGES 1 ')
    assert client.uid("SEARCH", "UID", "1:*")[1] == [b"1"]
    assert client.create('"a b"')[0] == "OK" and client.rename('"a b"', "c")[0] == "OK" and client.delete("c")[0] == "OK"
    assert len(client.list()[1]) == 6 and len(client.lsub()[1]) == 5
    assert client.namespace()[1] == [b'(("" ".")) (("Other Users." ".")) NIL']
    assert client.check()[0] == client.close()[0] == client.unsubscribe("Junk")[0] == client.subscribe("Junk")[0] == "OK"
    client.logout()


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def run(*words: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, input=text, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def test_curl(box: Sandbox, tmp_path: Path) -> None:
    curl = needs("curl")
    deliver(box, "gail", MESSAGE % 7)
    url = f"imaps://localhost:{box.ends['imaps']}"
    common = (curl, "-sS", "--cacert", box.ends["ca_file"], "-u", "gail:secret")
    assert run(*common, url).stdout.count("* LIST") == 6
    assert "Subject: 7" in run(*common, f"{url}/INBOX;MAILINDEX=1").stdout
    mail = tmp_path / "mail"
    mail.write_text("Subject: put\r\n\r\nx\r\n")
    assert run(*common, "-T", str(mail), f"{url}/Sent").returncode == 0
    assert "* SEARCH 1" in run(*common, f"{url}/Sent", "-X", "SEARCH SUBJECT put").stdout
    plain = run(curl, "-sS", "--ssl-reqd", "--cacert", box.ends["ca_file"], "-u", "gail:secret", f"imap://localhost:{box.ends['imap']}/INBOX?ALL")
    assert "* SEARCH 1" in plain.stdout


def test_mbsync_both_ways(box: Sandbox, tmp_path: Path) -> None:
    mbsync = needs("mbsync")
    deliver(box, "hugo", MESSAGE % 1, MESSAGE % 2)
    far, near = Path(box.user("hugo")["maildir"]), tmp_path / "near"
    near.mkdir()
    (tmp_path / "rc").write_text(f"""
IMAPStore far
Host localhost
Port {box.ends['imap']}
User hugo
Pass secret
SSLType STARTTLS
CertificateFile {box.ends['ca_file']}

MaildirStore near
Path {near}/
Inbox {near}/INBOX
SubFolders Verbatim

Channel both
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
""")
    def sync() -> None:
        found = run(mbsync, "-c", str(tmp_path / "rc"), "-a", HOME=str(tmp_path))
        assert found.returncode == 0, found.stderr
    sync()
    files = sorted([*(near / "INBOX/cur").iterdir(), *(near / "INBOX/new").iterdir()])
    assert len(files) == 2
    base = files[0].name.partition(":2,")[0]
    files[0].rename(near / "INBOX/cur" / f"{base}:2,FS")
    files[1].unlink()
    folder = near / "Entw&APw-rfe x"
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)
    (folder / "cur" / "1.1.x:2,S").write_bytes(MESSAGE % 3)
    sync()
    assert [path.name[-2:] for path in (far / "cur").iterdir()] == ["FS"]
    there = list((far / ".Entw&APw-rfe x/cur").iterdir())
    assert len(there) == 1 and b"Subject: 3\n" in there[0].read_bytes() and there[0].name.endswith(":2,S")
    before = sorted(near.rglob("*"))
    sync()
    assert [path for path in sorted(near.rglob("*")) if path.is_file()] == [path for path in before if path.is_file()]


def test_mutt(box: Sandbox, tmp_path: Path) -> None:
    mutt, script = needs("mutt"), needs("script")
    deliver(box, "ines", MESSAGE % 1, MESSAGE % 2)
    where = f"imap://ines:secret@127.0.0.1:{box.ends['imap']}"
    (tmp_path / "rc").write_text(f"""
set folder={where}/
set spoolfile={where}/INBOX
set ssl_starttls=no ssl_force_tls=no header_cache={tmp_path}/cache certificate_file={tmp_path}/certificates
set sleep_time=0 wait_key=no confirmappend=no confirmcreate=no delete=yes quit=yes move=no copy=no collapse_unread=no
macro index X "<tag-pattern>~s 1<enter><tag-prefix><flag-message><tag-prefix><save-message>=Archive<enter><sync-mailbox><quit>"
push X
""")
    found = run(script, "-qec", f"{mutt} -n -F {tmp_path}/rc", "/dev/null", TERM="xterm", HOME=str(tmp_path))
    client = box.imap("ines")
    assert client.select("Archive") == ("OK", [b"1"]), found.stdout
    assert b"\\Flagged" in client.fetch("1", "FLAGS")[1][0]
    assert client.select("INBOX") == ("OK", [b"1"])
    client.logout()


def test_s_nail(box: Sandbox, tmp_path: Path) -> None:
    nail = needs("s-nail")
    deliver(box, "jack", MESSAGE % 1, MESSAGE % 2)
    url = f"imap://jack:secret@localhost:{box.ends['imap']}"
    found = run(nail, "-:/", "-Sv15-compat", f"-Stls-ca-file={box.ends['ca_file']}", f"-Sfolder={url}", "-Y", "flag 1\ncopy 2 +Archive\nquit\n",
                "-f", f"{url}/INBOX", HOME=str(tmp_path))
    client = box.imap("jack")
    assert client.select("Archive") == ("OK", [b"1"]), found.stdout + found.stderr
    client.select("INBOX")
    assert b"\\Flagged" in client.fetch("1", "FLAGS")[1][0]
    client.logout()


def test_imapclient(box: Sandbox) -> None:
    imapclient = pytest.importorskip("imapclient")
    with imapclient.IMAPClient(box.ends["host"], box.ends["imap"], ssl=False) as client:
        client.starttls(box.tls())
        client.login("alice", "secret")
        client.create_folder("Über & x")
        uids = client.append("Über & x", b"Subject: \xc3\xbc\r\n\r\nx\r\n", flags=[b"\\Seen", b"$Work"])
        assert b"APPENDUID" in uids
        assert client.select_folder("Über & x")[b"EXISTS"] == 1
        found = client.fetch([1], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "BODY[HEADER.FIELDS (SUBJECT)]"])
        assert found[1][b"ENVELOPE"].subject == b"=?utf-8?B?w7w=?=" and b"$Work" in found[1][b"FLAGS"]
        assert client.find_special_folder(b"\\Sent") == "Sent"
        client.idle()
        deliver(box, "alice", MESSAGE % 1, folder=".&ANw-ber &- x")
        assert (2, b"EXISTS") in client.idle_check(timeout=20)
        client.idle_done()
        client.move([1], "Trash")
        client.unselect_folder()
        client.delete_folder("Über & x")


def test_offlineimap(box: Sandbox, tmp_path: Path) -> None:
    offlineimap = needs("offlineimap")
    deliver(box, "kate", MESSAGE % 1, MESSAGE % 2)
    near, far = tmp_path / "mail", Path(box.user("kate")["maildir"])
    (tmp_path / "rc").write_text(f"""[general]
accounts = a
metadata = {tmp_path}/meta
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {near}
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {box.ends['imaps']}
ssl = yes
sslcacertfile = {box.ends['ca_file']}
remoteuser = kate
remotepass = secret
""")
    def sync() -> None:
        found = run(offlineimap, "-c", str(tmp_path / "rc"), "-u", "basic", "-o", HOME=str(tmp_path))
        assert found.returncode == 0, found.stdout + found.stderr
    sync()
    files = sorted((near / "INBOX/new").iterdir())
    assert len(files) == 2
    files[0].rename(near / "INBOX/cur" / (files[0].name.partition(":2,")[0] + ":2,FS"))
    sync()
    assert sorted(path.name.partition(":2,")[2] for path in (far / "cur").iterdir()) == ["", "FS"]


FLOW = """
const { ImapFlow } = require('imapflow');
(async () => {
  const client = new ImapFlow({host: '127.0.0.1', port: +process.argv[1], secure: false, logger: false,
                               auth: {user: 'lena', pass: 'secret'}, tls: {rejectUnauthorized: false}});
  await client.connect();
  const sent = (await client.list()).find(box => box.specialUse === '\\\\Sent');
  const lock = await client.getMailboxLock(sent.path);
  const stored = await client.append(sent.path, 'Subject: flow\\r\\n\\r\\nx\\r\\n', ['\\\\Seen', '$Work']);
  const one = await client.fetchOne(stored.uid, {uid: true, envelope: true, bodyStructure: true, flags: true, source: true}, {uid: true});
  const found = await client.search({subject: 'flow'}, {uid: true});
  const moved = await client.messageMove(stored.uid, 'Archive', {uid: true});
  console.log(JSON.stringify([sent.path, one.envelope.subject, [...one.flags].sort(), one.bodyStructure.type, one.source.length, found,
                              [...moved.uidMap.keys()]]));
  lock.release();
  await client.logout();
})().catch(error => { console.error(error); process.exit(1); });
"""


def test_imapflow(box: Sandbox) -> None:
    """Wants node, and imapflow where NODE_PATH says."""
    node = needs("node")
    if run(node, "-e", "require('imapflow')").returncode:
        pytest.skip("imapflow is not installed; npm install imapflow, and set NODE_PATH")
    found = run(node, "-e", FLOW, str(box.ends["imap"]))
    assert found.returncode == 0, found.stderr
    path, subject, flags, kind, octets, uids, moved = json.loads(found.stdout)
    assert (path, subject, kind, octets, uids, moved) == ("Sent", "flow", "text/plain", 20, [1], [1])
    assert {"\\Seen", "$Work"} <= set(flags)


@pytest.mark.parametrize("listener", ["imap", "imaps"])
def test_compressed(box: Sandbox, listener: str) -> None:
    client = box.imap("lena", listener)
    assert client.xatom("COMPRESS", "DEFLATE")[0] == "OK"
    out, into = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)

    def ask(data: bytes) -> None:
        client.sock.sendall(out.compress(data) + out.flush(zlib.Z_SYNC_FLUSH))

    def hear(wanted: bytes) -> bytes:
        heard = b""
        while wanted not in heard:
            data = client.sock.recv(10_000)
            assert data, heard
            heard += into.decompress(data)
        return heard

    client.sock.settimeout(20)
    text = b"Subject: pressed\r\n\r\n" + b"all the same " * 50_000
    ask(b"x SELECT Sent\r\n")
    hear(b"x OK")
    ask(b"y APPEND Sent {%d+}\r\n%b {%d+}\r\n%b\r\n" % (len(text), text, len(text), text))
    hear(b"y OK [APPENDUID ")
    ask(b"z FETCH * BODY.PEEK[]\r\n")
    assert text in hear(b"z OK")
    ask(b"q LOGOUT\r\n")
    hear(b"q OK")
    client.sock.close()
