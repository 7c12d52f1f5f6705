"""A queue in a temporary directory whose programs are called step by step in this process.

The real Runner, Local, Router and intake, without their loops: so a test owns the time and can record every change on disk.
"""
from __future__ import annotations

import os

from pymta import clock, layout, outcome, settings
from pymta.accounts import Accounts
from pymta.formats import queuefile, report
from pymta.formats.transports import Transports
from pymta.queue import intake
from pymta.queue.local import Local
from pymta.queue.runner import Runner
from pymta.routing import Router

HOST = "mail.example.test"
USERS = ("alice", "bob", "carol")
BODY = b"Received: from client\nFrom: <ann@client.example>\nSubject: %s\n\nHello,\n%s\n"


class Box:
    """root: the directory; it must be the working directory's future: enter() goes to its spool."""

    def __init__(self, root: str, conf: str = "", aliases: str = "") -> None:
        self.root = root
        self.spool = f"{root}/spool"
        self.etc = f"{root}/etc"
        if not os.path.isdir(self.etc):
            os.makedirs(self.etc)
            self.write("etc/pymta.conf", f"host.name = {HOST}\nhost.spool = {self.spool}\nlocal.system_users = no\n"
                                         f"local.virtual_domains = example.test\nlocal.virtual_home = {root}/home\n"
                                         f"local.virtual_uid = {_uid()}\nlocal.folders = \n{conf}")
            self.write("etc/users", "".join(f"{user}@example.test:{_uid()}:{_uid()}\n" for user in USERS))
            self.write("etc/aliases", aliases)
            layout.make_spool(self.spool, single_uid=True)
            for user in USERS:
                for name in ("tmp", "new", "cur"):
                    os.makedirs(f"{self.maildir(user)}/{name}")
        self.settings = settings.read(self.etc)
        assert not self.settings.complaints, self.settings.complaints
        self.enter()

    def enter(self) -> None:
        os.chdir(self.spool)

    def write(self, path: str, text: str) -> None:
        with open(f"{self.root}/{path}", "w", encoding="utf-8") as file:
            file.write(text)

    def maildir(self, user: str) -> str:
        return f"{self.root}/home/example.test/{user}/Maildir"

    # ---- the programs -------------------------------------------------------------------------------------------------
    def runner(self) -> Runner:
        return Runner(self.settings, Router(self.settings), Transports(f"{self.etc}/transports", self.settings["remote.smarthost"]).destination)

    def local(self) -> Local:
        local = Local(self.settings, Accounts(self.settings))
        local.uid = _uid()
        return local

    def accept(self, sender: bytes, recipients: list[bytes], mark: bytes = b"m", size: int = 20, *,
               notes: tuple[tuple[bytes, bytes], ...] = (), facts: dict[str, str] | None = None) -> str:
        """What pymta-smtpd does: route, write, commit.  notes: what RCPT's parameters say, of every recipient; facts: MAIL's.  Returns the
        id; raises OSError when it was not taken."""
        envelope = queuefile.Envelope(sender, [], queuefile.Ids().new(clock.now()), facts)
        router = Router(self.settings)
        for address in recipients:
            answer = router.resolve(address)
            assert not isinstance(answer, outcome.Outcome), (address, answer)
            for recipient in answer:
                recipient.notes += notes
            envelope.recipients += [r for r in answer if r not in envelope.recipients]
        draft = intake.Draft("in/smtpd", envelope)
        try:
            draft.write(BODY % (mark, mark * size))
            draft.finish()
        except OSError:
            draft.discard()
            raise
        error, = intake.publish("in/smtpd", [draft], syncfs=False)
        if error:
            raise error
        return envelope.id

    def report_remote(self, name: str, *entries: tuple[int, str, str, str], destination: str = "remote.test", down: bool = False) -> None:
        """What pymta-remote says of a file: (recipient, word, status, text)."""
        with open(f"todo/remote/{name}", "rb") as file:
            envelope, _ = queuefile.read_envelope(file.fileno())
            records, _ = queuefile.read_records(file.fileno(), envelope)
        attempt = queuefile.attempts(records) + 1
        lines = [report.Entry(name, attempt, number, word, status, destination, text) for number, word, status, text in entries]
        if down:
            lines.append(report.Entry("-", 0, -1, "down", "-", destination, entries[0][3] if entries else "no answer"))
        report.write(".", "remote", lines)

    # ---- what there is ------------------------------------------------------------------------------------------------
    def mail(self, user: str) -> list[bytes]:
        """Messages in the user's new/ and cur/."""
        out = []
        for name in ("new", "cur"):
            for base in sorted(os.listdir(f"{self.maildir(user)}/{name}")):
                with open(f"{self.maildir(user)}/{name}/{base}", "rb") as file:
                    out.append(file.read())
        return out

    def queue(self) -> list[str]:
        """Every queue file, by path."""
        out = []
        for place in ("in/smtpd/new", "in/inject/new", "in/qrun/new", "split", "todo/local", "todo/remote", "later", "parked", "hold",
                      "corrupt"):
            for top, _, names in os.walk(place):
                out += [f"{top}/{name}" for name in names]
        return sorted(out)


def _uid() -> int:
    return os.getuid() or 65534
