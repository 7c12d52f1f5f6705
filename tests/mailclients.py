"""Mail programs that know nothing of pymta, each made to send one message in the ways it can.

A Way says how; a Client's send(way, mail) raises Refused where the program says that the mail did not go.  missing() says why a client
cannot be run here.  Environment: NODE_PATH may name where nodemailer lies.
"""
from __future__ import annotations

import asyncio
import os
import re
import shutil
import smtplib
import ssl
import subprocess
from dataclasses import dataclass

SENDER = "alice@example.test"
RECIPIENT = "bob@example.test"
NODE = """
const [port, secure, tls, user, pass, method, ca, lmtp, from, to] = process.argv.slice(1);
const raw = require('fs').readFileSync(0);
const given = {host: '127.0.0.1', port: +port, secure: secure === '1', requireTLS: tls === '1', ignoreTLS: tls !== '1', lmtp: lmtp === '1',
               tls: {ca: require('fs').readFileSync(ca)}};
if (user) Object.assign(given, {auth: {user, pass}, authMethod: method});
require('nodemailer').createTransport(given).sendMail({envelope: {from, to: [to]}, raw}).catch(error => { console.error(error); process.exit(1); });
"""


class Refused(Exception):
    """The program did not send the mail: what it says."""


@dataclass(frozen=True)
class Way:
    """listener: which of the sandbox; tls: "" | "starttls" | "implicit"; mechanism: "" | "PLAIN" | "LOGIN"."""

    listener: str
    tls: str = ""
    mechanism: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, [self.listener, self.tls, self.mechanism]))


@dataclass(frozen=True)
class Door:
    """Where and as whom to send.  ca: file with the authority to trust.  home: a directory to write in."""

    port: int
    user: str
    password: str
    ca: str
    home: str
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Mail:
    """body: LF lines.  bytes: all of what a client is to send."""

    subject: str
    body: bytes

    @property
    def bytes(self) -> bytes:
        return (f"From: Alice <{SENDER}>\nTo: {RECIPIENT}\nSubject: {self.subject}\nDate: Sat, 1 Aug 2026 12:00:00 +0000\n"
                f"Message-ID: <{self.subject}@example.test>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
                "Content-Transfer-Encoding: 8bit\n\n").encode() + self.body


SUBMIT = tuple(Way(listener, tls, mechanism) for listener, tls in (("submission", "starttls"), ("submissions", "implicit"))
               for mechanism in ("PLAIN", "LOGIN"))
MX = (Way("smtp"), Way("smtp", "starttls"))
LMTP = (Way("lmtp"),)


class Client:
    """name; ways: what it can; whole: it sends the bytes it is given, header and all."""

    name = ""
    ways: tuple[Way, ...] = SUBMIT + MX
    whole = True

    def missing(self) -> str | None:
        return None if shutil.which(self.name) else f"no {self.name} here"

    def send(self, way: Way, door: Door, mail: Mail) -> None:
        raise NotImplementedError

    def run(self, words: list[str], door: Door, data: bytes = b"", **environment: str) -> None:
        given = {"PATH": os.environ["PATH"], "HOME": door.home, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **environment}
        done = subprocess.run(words, input=data, env=given, cwd=door.home, capture_output=True, timeout=60)
        if done.returncode:
            raise Refused((done.stdout + done.stderr).decode("utf-8", "replace"))

    def write(self, door: Door, name: str, data: bytes) -> str:
        path = os.path.join(door.home, name)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, 0o600)
        return path


class Smtplib(Client):
    name, ways = "smtplib", SUBMIT + MX + LMTP

    def missing(self) -> str | None:
        return None

    def send(self, way: Way, door: Door, mail: Mail) -> None:
        context = ssl.create_default_context(cafile=door.ca)
        try:
            if way.tls == "implicit":
                client: smtplib.SMTP = smtplib.SMTP_SSL(door.host, door.port, context=context, timeout=30)
            else:
                client = (smtplib.LMTP if way.listener == "lmtp" else smtplib.SMTP)(door.host, door.port, timeout=30)
            with client:
                if way.tls == "starttls":
                    client.starttls(context=context)
                client.ehlo_or_helo_if_needed()
                if way.mechanism:
                    client.user, client.password = door.user, door.password
                    client.auth(way.mechanism, getattr(client, f"auth_{way.mechanism.lower()}"))
                client.sendmail(SENDER, [RECIPIENT], mail.bytes.replace(b"\n", b"\r\n"), ["BODY=8BITMIME"])
        except (smtplib.SMTPException, OSError) as error:
            raise Refused(repr(error)) from error


class Aiosmtplib(Client):
    name = "aiosmtplib"

    def missing(self) -> str | None:
        try:
            import aiosmtplib                                                               # noqa: F401
        except ImportError:
            return "no aiosmtplib here"
        return None

    def send(self, way: Way, door: Door, mail: Mail) -> None:
        asyncio.run(self._send(way, door, mail))

    async def _send(self, way: Way, door: Door, mail: Mail) -> None:
        import aiosmtplib
        client = aiosmtplib.SMTP(hostname=door.host, port=door.port, use_tls=way.tls == "implicit", start_tls=way.tls == "starttls",
                                 tls_context=ssl.create_default_context(cafile=door.ca), timeout=30)
        try:
            async with client:
                if way.mechanism:
                    await client.ehlo()
                    await getattr(client, f"auth_{way.mechanism.lower()}")(door.user, door.password)
                await client.sendmail(SENDER, [RECIPIENT], mail.bytes.replace(b"\n", b"\r\n"), mail_options=["BODY=8BITMIME"])
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Refused(repr(error)) from error


class Swaks(Client):
    name, ways = "swaks", SUBMIT + MX + LMTP

    def send(self, way: Way, door: Door, mail: Mail) -> None:
        wire = re.sub(rb"^\.", b"..", mail.bytes, flags=re.M).replace(b"\n", b"\r\n") + b"."    # its own fixing would change lines
        words = ["swaks", "--server", door.host, "--port", str(door.port), "--from", SENDER, "--to", RECIPIENT, "--helo", "client.example",
                 "--protocol", "LMTP" if way.listener == "lmtp" else "ESMTP", "--no-data-fixup", "--data", "@" + self.write(door, "mail", wire)]
        words += {"starttls": ["--tls"], "implicit": ["--tls-on-connect"], "": []}[way.tls]
        if way.tls:
            words += ["--tls-verify", "--tls-ca-path", door.ca]
        if way.mechanism:
            words += ["--auth", way.mechanism, "--auth-user", door.user, "--auth-password", door.password]
        self.run(words, door)


class Curl(Client):
    name = "curl"

    def send(self, way: Way, door: Door, mail: Mail) -> None:
        words = ["curl", "--silent", "--show-error", "--url", f"smtp{'s' * (way.tls == 'implicit')}://{door.host}:{door.port}/client.example",
                 "--mail-from", SENDER, "--mail-rcpt", RECIPIENT, "--upload-file", "-", "--cacert", door.ca]
        words += ["--ssl-reqd"] if way.tls == "starttls" else []
        if way.mechanism:
            words += ["--user", f"{door.user}:{door.password}", "--login-options", f"AUTH={way.mechanism}"]
        self.run(words, door, mail.bytes.replace(b"\n", b"\r\n"))


class Msmtp(Client):
    name, ways = "msmtp", SUBMIT + MX + LMTP

    def send(self, way: Way, door: Door, mail: Mail) -> None:
        words = ["msmtp", "-C", os.devnull, f"--host={door.host}", f"--port={door.port}", f"--from={SENDER}", "--domain=client.example",
                 f"--protocol={'lmtp' if way.listener == 'lmtp' else 'smtp'}", f"--tls={'on' if way.tls else 'off'}"]
        if way.tls:
            words += [f"--tls-starttls={'on' if way.tls == 'starttls' else 'off'}", f"--tls-trust-file={door.ca}"]
        if way.mechanism:
            words += [f"--auth={way.mechanism.lower()}", f"--user={door.user}", f"--passwordeval=echo {door.password}"]
        self.run([*words, "--", RECIPIENT], door, mail.bytes)


class GitSendEmail(Client):
    name, whole = "git send-email", False

    def missing(self) -> str | None:
        where = subprocess.run(["git", "--exec-path"], capture_output=True, text=True).stdout.strip() if shutil.which("git") else ""
        return None if os.path.exists(os.path.join(where, "git-send-email")) else "no git send-email here"

    def send(self, way: Way, door: Door, mail: Mail) -> None:
        words = ["git", "send-email", "--quiet", f"--smtp-server={door.host}", f"--smtp-server-port={door.port}", "--smtp-domain=client.example",
                 f"--from=Alice <{SENDER}>", f"--to={RECIPIENT}", "--confirm=never", "--suppress-cc=all", "--no-validate",
                 "--transfer-encoding=8bit", f"--smtp-ssl-cert-path={door.ca}"]
        words += {"starttls": ["--smtp-encryption=tls"], "implicit": ["--smtp-encryption=ssl"], "": []}[way.tls]
        if way.mechanism:
            words += [f"--smtp-user={door.user}", f"--smtp-pass={door.password}", f"--smtp-auth={way.mechanism}"]
        self.run([*words, self.write(door, "0001.patch", b"From " + b"0" * 40 + b" Mon Sep 17 00:00:00 2001\n" + mail.bytes)], door,
                 GIT_CONFIG_NOSYSTEM="1")


class Nodemailer(Client):
    name, ways = "nodemailer", SUBMIT + MX + LMTP

    def missing(self) -> str | None:
        if not shutil.which("node") or subprocess.run(["node", "-e", "require('nodemailer')"], capture_output=True).returncode:
            return "no nodemailer here; npm install nodemailer somewhere, and point NODE_PATH at its node_modules"
        return None

    def send(self, way: Way, door: Door, mail: Mail) -> None:
        credentials = [door.user, door.password, way.mechanism] if way.mechanism else ["", "", ""]
        self.run(["node", "-e", NODE, str(door.port), str(int(way.tls == "implicit")), str(int(way.tls == "starttls")), *credentials, door.ca,
                  str(int(way.listener == "lmtp")), SENDER, RECIPIENT], door, mail.bytes, NODE_PATH=os.environ.get("NODE_PATH", ""))


class Snail(Client):
    name, whole = "s-nail", False

    def send(self, way: Way, door: Door, mail: Mail) -> None:
        words = ["s-nail", "-:/", "-Sv15-compat", f"-Smta={'submissions' if way.tls == 'implicit' else 'smtp'}://localhost:{door.port}",
                 f"-Stls-ca-file={door.ca}", "-Stls-ca-no-defaults", "-Stls-verify=strict", f"-Sfrom={SENDER}", "-Shostname=client.example",
                 "-Ssendwait", "-Snosave", "-Sttycharset=utf-8", "-Ssendcharsets=utf-8", "-Smime-encoding=8b", f"-Ssmtp-auth={way.mechanism.lower() or 'none'}"]
        words += ["-Ssmtp-use-starttls"] if way.tls == "starttls" else []
        if way.mechanism:
            words += [f"-Suser={door.user}", f"-Spassword={door.password}"]
        self.run([*words, "-s", mail.subject, RECIPIENT], door, mail.body)


class Mutt(Client):
    name, whole = "mutt", False

    def send(self, way: Way, door: Door, mail: Mail) -> None:
        scheme = "smtps" if way.tls == "implicit" else "smtp"
        who = f"{door.user.replace('@', '%40')}:{door.password}@" if way.mechanism else ""
        rows = {"smtp_url": f"{scheme}://{who}{door.host}:{door.port}", "smtp_authenticators": way.mechanism.lower(), "from": SENDER,
                "use_envelope_from": "yes", "hostname": "client.example", "copy": "no", "certificate_file": door.ca, "ssl_usesystemcerts": "no",
                "ssl_starttls": "yes" if way.tls else "no", "ssl_force_tls": "yes" if way.tls else "no", "send_charset": "utf-8",
                "charset": "utf-8", "ssl_verify_dates": "yes", "ssl_verify_host": "yes", "allow_8bit": "yes", "ssl_ca_certificates_file": door.ca}
        text = "".join(f'set {name}="{value}"\n' for name, value in rows.items() if value)
        self.run(["mutt", "-n", "-F", self.write(door, "muttrc", text.encode()), "-s", mail.subject, "--", RECIPIENT], door, mail.body)


CLIENTS: tuple[Client, ...] = (Smtplib(), Aiosmtplib(), Swaks(), Curl(), Msmtp(), GitSendEmail(), Nodemailer(), Snail(), Mutt())
