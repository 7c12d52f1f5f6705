"""Programs that know nothing of pymta and fetch mail into a Maildir of their own, by POP3 or IMAP.

A Fetcher's fetch(way, door, keep) fetches what it has not fetched before and leaves it on the server (keep) or not; got(door) is what it
has put down so far.  missing() says why it cannot be run here.  Failed: the program says that it did not work.
"""
from __future__ import annotations

import mailbox
import os
import poplib
import shutil
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


NOBODY = 65534
PATH = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"        # pip puts getmail beside python


class Failed(Exception):
    """What the program says."""


@dataclass(frozen=True)
class Way:
    """protocol: "pop3" | "imap"; tls: "starttls" | "implicit"."""

    protocol: str
    tls: str

    @property
    def listener(self) -> str:
        return self.protocol + "s" * (self.tls == "implicit")

    def __str__(self) -> str:
        return f"{self.protocol}-{self.tls}"


POP3 = (Way("pop3", "starttls"), Way("pop3", "implicit"))
IMAP = (Way("imap", "starttls"), Way("imap", "implicit"))


@dataclass(frozen=True)
class Door:
    """Where and as whom to fetch.  ca: file with the authority to trust.  home: a directory to write in."""

    port: int
    user: str
    password: str
    ca: str
    home: Path
    host: str = "localhost"


class Fetcher:
    """name; ways: what it can."""

    name = ""
    ways: tuple[Way, ...] = POP3

    def missing(self) -> str | None:
        return None if shutil.which(self.name) else f"no {self.name} here; apt-get install {self.name}"

    def fetch(self, way: Way, door: Door, keep: bool) -> None:
        raise NotImplementedError

    def got(self, door: Door) -> list[bytes]:
        """What lies in the Maildir, LF lines."""
        box = mailbox.Maildir(door.home / "mail")
        return [box.get_bytes(key) for key in box.keys()]

    def run(self, words: list[str], door: Door, good: tuple[int, ...] = (0,)) -> str:
        given = {"PATH": PATH, "HOME": str(door.home), "LANG": "C.UTF-8", "SSL_CERT_FILE": door.ca}
        who: dict = {}
        if os.getuid() == 0:                            # several of them refuse root
            who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", door.home], check=True)
        done = subprocess.run(words, env=given, cwd=door.home, capture_output=True, timeout=60, **who)
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        if done.returncode not in good:
            raise Failed(f"{done.returncode}: {said}")
        return said

    def write(self, door: Door, name: str, text: str) -> str:
        """A configuration file that nobody else may read, and the Maildir it speaks of."""
        mailbox.Maildir(door.home / "mail")
        path = door.home / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)


class Poplib(Fetcher):
    name = "poplib"

    def missing(self) -> str | None:
        return None

    def fetch(self, way: Way, door: Door, keep: bool) -> None:
        context = ssl.create_default_context(cafile=door.ca)
        client = poplib.POP3_SSL(door.host, door.port, context=context, timeout=30) if way.tls == "implicit" else poplib.POP3(door.host, door.port, timeout=30)
        box, seen = mailbox.Maildir(door.home / "mail"), door.home / "seen"
        old = set(seen.read_bytes().split()) if seen.exists() else set()
        try:
            if way.tls == "starttls":
                client.stls(context)
            client.user(door.user)
            client.pass_(door.password)
            for number, uid in (row.split() for row in client.uidl()[1]):
                if uid not in old:
                    box.add(b"\n".join(client.retr(int(number))[1]) + b"\n")
                    old.add(uid)
                if not keep:
                    client.dele(int(number))
            client.quit()
        except poplib.error_proto as error:
            raise Failed(str(error)) from error
        seen.write_bytes(b"\n".join(old))


class Curl(Fetcher):
    """Fetches each message by its number; keeps no record, so its Maildir is begun anew each time."""

    name = "curl"

    def fetch(self, way: Way, door: Door, keep: bool) -> None:
        shutil.rmtree(door.home / "mail", ignore_errors=True)
        box = mailbox.Maildir(door.home / "mail")
        words = ["curl", "-sS", "--cacert", door.ca, "--user", f"{door.user}:{door.password}"] + ["--ssl-reqd"] * (way.tls == "starttls")
        url = f"{way.listener if way.tls == 'implicit' else way.protocol}://{door.host}:{door.port}/"
        for row in reversed(self.run([*words, url], door).strip().split("\r\n")):      # numbers behind one that goes change
            one, path = url + row.split()[0], door.home / "one"
            self.run([*words, one, "-o", str(path)], door)
            box.add(path.read_bytes().replace(b"\r\n", b"\n"))
            if not keep:
                self.run([*words, one, "-X", "DELE", "--head"], door)


class Fetchmail(Fetcher):
    name, ways = "fetchmail", POP3 + IMAP

    def fetch(self, way: Way, door: Door, keep: bool) -> None:
        put = self.write(door, "put", f'cat > "{door.home}/mail/tmp/$$" && mv "{door.home}/mail/tmp/$$" "{door.home}/mail/new/"\n')
        rc = self.write(door, "fetchmailrc", f"""set invisible
set no bouncemail
set idfile "{door.home}/ids"
poll {door.host} protocol {way.protocol} port {door.port} {'uidl' if way.protocol == 'pop3' else ''}
  user "{door.user}" password "{door.password}" {'ssl' if way.tls == 'implicit' else 'sslproto "TLS1.2+"'} sslcertck sslcertfile "{door.ca}"
  {'keep' if keep else 'no keep'} mda "sh {put}"
""")
        self.run(["fetchmail", "-f", rc, "--pidfile", str(door.home / "pid"), "--nosyslog", "-v"], door, good=(0, 1))     # 1: nothing new


class Mpop(Fetcher):
    name = "mpop"

    def fetch(self, way: Way, door: Door, keep: bool) -> None:
        rc = self.write(door, "mpoprc", f"""account default
host {door.host}
port {door.port}
user {door.user}
passwordeval echo {door.password}
tls on
tls_starttls {'on' if way.tls == 'starttls' else 'off'}
tls_trust_file {door.ca}
received_header off
uidls_file {door.home}/uids
delivery maildir {door.home}/mail
keep {'on' if keep else 'off'}
""")
        self.run(["mpop", "-C", rc], door)


class Getmail(Fetcher):
    name, ways = "getmail", POP3 + IMAP

    def missing(self) -> str | None:
        return None if shutil.which("getmail", path=PATH) else "no getmail here; apt-get install getmail6, or pip install getmail6"

    def fetch(self, way: Way, door: Door, keep: bool) -> None:
        rc = self.write(door, "getmailrc", f"""[retriever]
type = Simple{way.protocol.upper()}{'SSL' if way.tls == 'implicit' else ''}Retriever
server = {door.host}
port = {door.port}
username = {door.user}
password = {door.password}
ca_certs = {door.ca}
[destination]
type = Maildir
path = {door.home}/mail/
[options]
read_all = false
delete = {str(not keep).lower()}
delivered_to = false
received = false
verbose = 2
""")
        self.run(["getmail", "--getmaildir", str(door.home), "--rcfile", rc], door)


class Fdm(Fetcher):
    """Checks certificates against the system's authorities, or those of SSL_CERT_FILE."""

    name, ways = "fdm", POP3 + IMAP

    def fetch(self, way: Way, door: Door, keep: bool) -> None:
        listener = f"{way.protocol}s" if way.tls == "implicit" else way.protocol
        rc = self.write(door, "fdm.conf", f"""set no-received
set verify-certificates
set default-user "{NOBODY if os.getuid() == 0 else os.getuid()}"
set lock-file "{door.home}/lock"
action "put" maildir "{door.home}/mail"
account "a" {listener} server "{door.host}" port {door.port} user "{door.user}" pass "{door.password}" new-only {f'cache "{door.home}/cache"' if way.protocol == 'pop3' else ''} {'starttls' if way.tls == 'starttls' else ''} {'keep' if keep else ''}
match all action "put"
""")
        self.run(["fdm", "-f", rc, "-v", "fetch"], door)


FETCHERS: tuple[Fetcher, ...] = (Poplib(), Curl(), Fetchmail(), Mpop(), Getmail(), Fdm())
