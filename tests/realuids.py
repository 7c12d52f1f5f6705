"""The whole system as a host would run it: started by root, every program as its own account, mailboxes of several uids.

Run by tests/programs/test_real_uids.py in mount and pid namespaces of its own (unshare), as root:  python -m tests.realuids DIR
The accounts exist only in a copy of /etc/passwd and /etc/group that is mounted over the real ones here.  Prints one JSON object.
"""
from __future__ import annotations

import imaplib
import json
import os
import poplib
import smtplib
import socket
import ssl
import stat
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from pymta import layout                                                            # noqa: E402
from pymta.login import hashes

DAEMONS = ("pymta-qrun", "pymta-local", "pymta-remote", "pymta-smtpd", "pymta-imapd", "pymta-pop3d")
USERS = {"ann": 21001, "ben": 21002}                   # users of the system
FIRST = 20900


def mount(source: str, target: str) -> None:
    subprocess.run(["mount", "--bind", source, target], check=True)


def accounts(directory: str) -> None:
    """Our accounts and users in copies of passwd and group, mounted over the real files."""
    for name in ("passwd", "group"):
        with open(f"/etc/{name}") as file:
            lines = [line for line in file if not line.startswith(("pymta-", "ann:", "ben:"))]
        for number, account in enumerate([*layout.ACCOUNTS, *USERS]):
            uid = USERS.get(account, FIRST + number)
            home = f"{directory}/home/{account}" if account in USERS else "/nonexistent"
            lines.append(f"{account}:x:{uid}:{uid}::{home}:/bin/sh\n" if name == "passwd" else f"{account}:x:{uid}:\n")
        with open(f"{directory}/{name}", "w") as file:
            file.writelines(lines)
        os.chmod(f"{directory}/{name}", 0o644)
        mount(f"{directory}/{name}", f"/etc/{name}")


def free_ports(count: int) -> list[int]:
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def configure(directory: str) -> tuple[str, list[int]]:
    etc = f"{directory}/etc"
    os.makedirs(f"{etc}/tls")
    os.makedirs(f"{directory}/home")
    for user, uid in USERS.items():
        os.mkdir(f"{directory}/home/{user}", 0o700)
        os.chown(f"{directory}/home/{user}", uid, uid)
    os.makedirs(f"{directory}/virtual", mode=0o755)
    vmail = FIRST + list(layout.ACCOUNTS).index("pymta-vmail")
    os.chown(f"{directory}/virtual", vmail, vmail)
    ports = free_ports(4)
    write(f"{etc}/pymta.conf", f"host.name = mail.example.test\nlocal.domains = example.test\nhost.spool = {directory}/spool\n"
          f"host.run = {directory}/run\nlocal.virtual_home = {directory}/virtual\nsmtp.listen = 127.0.0.1:{ports[0]}\n"
          f"smtp.submission = 127.0.0.1:{ports[1]}\nsmtp.submissions =\nimap.listen = 127.0.0.1:{ports[2]}\nimap.listen_tls =\n"
          f"pop3.listen = 127.0.0.1:{ports[3]}\npop3.listen_tls =\nlocal.folders = Sent Trash\nqueue.free_min = 1\n"
          f"tls.certificates = {directory}/letsencrypt/live\n")
    write(f"{etc}/aliases", "team: ann, ben, vic@virtual.test\n")
    write(f"{etc}/users", "vic@virtual.test\n")
    hashed = hashes.make("secret") if hasattr(hashes, "make") else hashes.hash("secret")
    write(f"{etc}/passwords", f"ann:{hashed}\nvic@virtual.test:{hashed}\n", 0o640, "pymta-auth")
    import trustme
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    live, archive = f"{directory}/letsencrypt/live/localhost", f"{directory}/letsencrypt/archive/localhost"     # as certbot makes it
    for folder in (live, archive):
        os.makedirs(folder, 0o700)
        os.chmod(os.path.dirname(folder), 0o700)
    write(f"{archive}/privkey1.pem", issued.private_key_pem.bytes().decode(), 0o600)
    write(f"{archive}/fullchain1.pem", "".join(pem.bytes().decode() for pem in issued.cert_chain_pems))
    for name in ("privkey", "fullchain"):
        os.symlink(f"../../archive/localhost/{name}1.pem", f"{live}/{name}.pem")
    authority.cert_pem.write_to_path(f"{directory}/ca.pem")
    return etc, ports


def write(path: str, text: str, mode: int = 0o644, group: str = "root") -> None:
    import grp
    with open(path, "w") as file:
        file.write(text)
    os.chown(path, 0, grp.getgrnam(group).gr_gid)
    os.chmod(path, mode)


def main(directory: str) -> dict:
    os.chmod(directory, 0o755)
    accounts(directory)
    etc, (smtp, submission, imap, pop3) = configure(directory)
    log = open(f"{directory}/log", "ab")
    os.umask(0o022)
    daemons = {}
    for name in DAEMONS:
        daemons[name] = subprocess.Popen([sys.executable, f"{ROOT}/bin/{name}", "--etc", etc], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    found: dict = {}
    try:
        for name in DAEMONS:
            wait(lambda: f"{name}: start".encode() in open(f"{directory}/log", "rb").read(), f"{name} does not start", 30)
        found["uids"] = {name: uids(daemons[name].pid) for name in DAEMONS}
        with smtplib.SMTP("127.0.0.1", smtp) as client:
            client.sendmail("x@client.example", ["ann@example.test"], "Subject: one\r\n\r\nhello\r\n")
            client.sendmail("x@client.example", ["team@example.test"], "Subject: two\r\n\r\nhello\r\n")
        with smtplib.SMTP("127.0.0.1", submission) as client:
            client.starttls(context=context(f"{directory}/ca.pem"))
            found["subject"] = client.sock.getpeercert()["subjectAltName"]
            client.login("ann", "secret")
            client.sendmail("ann@example.test", ["ben@example.test"], "Subject: four\r\n\r\nhello\r\n")
        inject = subprocess.run([sys.executable, f"{ROOT}/bin/pymta-inject", "--etc", etc, "-i", "ann@example.test"], input=b"Subject: three\n\nhello\n",
                                capture_output=True, user=USERS["ben"], group=USERS["ben"], extra_groups=[])
        found["inject"] = [inject.returncode, inject.stderr.decode()]
        boxes = {"ann": f"{directory}/home/ann/Maildir", "ben": f"{directory}/home/ben/Maildir", "vic": f"{directory}/virtual/virtual.test/vic/Maildir"}
        wait(lambda: [len(names(f"{box}/new")) for box in boxes.values()] == [3, 2, 1], "mail does not arrive", 20)
        found["files"] = {who: sorted({(entry.stat().st_uid, stat.S_IMODE(entry.stat().st_mode)) for entry in os.scandir(f"{box}/new")})
                          for who, box in boxes.items()}
        found["stamp"] = any(f"from userid {USERS['ben']}".encode() in open(entry.path, "rb").read() for entry in os.scandir(f"{boxes['ann']}/new"))
        for login in ("ann", "vic@virtual.test"):
            client = imaplib.IMAP4("127.0.0.1", imap)
            client.starttls(context(f"{directory}/ca.pem"))
            client.login(login, "secret")
            found[f"imap {login}"] = int(client.select()[1][0])
            client.store("1", "+FLAGS", "\\Flagged")
            found[f"imap uids {login}"] = uids(daemons["pymta-imapd"].pid)
            client.append("Sent", None, None, b"Subject: sent\r\n\r\nx\r\n")
            client.logout()
            pop = poplib.POP3("127.0.0.1", pop3)
            pop.stls(context(f"{directory}/ca.pem"))
            pop.user(login)
            pop.pass_("secret")
            found[f"pop3 {login}"] = pop.stat()[0]
            found[f"pop3 uids {login}"] = uids(daemons["pymta-pop3d"].pid)
            pop.quit()
        found["owners"] = {who: sorted({entry.stat().st_uid for top, _, _ in os.walk(box) for entry in os.scandir(top)}) for who, box in boxes.items()}
        found["queue"] = [path for path in files(f"{directory}/spool") if not path.endswith("lock") and "/state/" not in path]
        contacts = f"{directory}/spool/state/smtpd/ann@example.test.contacts"
        found["contacts"] = [os.stat(contacts).st_uid, stat.S_IMODE(os.stat(contacts).st_mode), open(contacts).read().split()[1:]]
    finally:
        for daemon in daemons.values():
            daemon.terminate()
        found["statuses"] = [daemon.wait(20) for daemon in daemons.values()]
        found["log"] = open(f"{directory}/log", errors="replace").read()
    return found


def context(authority: str) -> ssl.SSLContext:
    """Trusts this authority alone, or, where there is no such file, anybody: the host has made its certificate itself."""
    if os.path.exists(authority):
        made = ssl.create_default_context(cafile=authority)
        made.check_hostname = False                     # smtplib connects to the address
        return made
    made = ssl.create_default_context(cafile=f"{os.path.dirname(authority)}/etc/tls/cert.pem")
    made.check_hostname = False
    return made


def uids(pid: int) -> list[int]:
    """Effective uids of a process and its descendants."""
    out, todo = set(), [pid]
    while todo:
        one = todo.pop()
        try:
            with open(f"/proc/{one}/status") as file:
                out.add(int(next(line for line in file if line.startswith("Uid:")).split()[2]))
            with open(f"/proc/{one}/task/{one}/children") as file:
                todo += map(int, file.read().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(out)


def names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def files(top: str) -> list[str]:
    return [f"{directory}/{name}" for directory, _, its in os.walk(top) for name in its]


def wait(condition, what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(what)
        time.sleep(0.05)


if __name__ == "__main__":
    try:
        print(json.dumps(main(sys.argv[1])))
    except Exception:
        print(open(f"{sys.argv[1]}/log", errors="replace").read() if os.path.exists(f"{sys.argv[1]}/log") else "no log", file=sys.stderr)
        raise
