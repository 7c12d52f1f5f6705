"""An IMAP connection without sockets: both engines, one after the other, over a store in memory."""
from __future__ import annotations

from collections.abc import Callable

from pymta.programs.imapd_session import explain
from pymta.proto.imap import login, session
from pymta.proto.imap.framing import Limits
from pymta.proto.imap.wants import Close, Job, Setting
from tests.mailboxes import Store

LIMITS = Limits(command_octets=1 << 16, append_octets=100_000, skip_octets=1 << 20)
NOW = 1_700_000_000.0


class Conversation:
    """feed() gives octets, take() what was said.  The password of everybody is "secret"; store is theirs.
    Sessions of one store are poked as soon as something wakes them, like those of one process."""

    def __init__(self, store: Store, *, plain: bool = True, can_tls: bool = True, logged_in: bool = False,
                 without: Callable[[bytes], frozenset[bytes]] = lambda client: frozenset(), off: frozenset[bytes] = frozenset()) -> None:
        self.without = without
        self.store = store
        self.login = login.LoginEngine("mail.example.test", secure=False, can_tls=can_tls, plain=plain, off=off)
        self.session: session.Session | None = None
        self.over = self.shaking = self.busy = False
        self.said = b""
        if logged_in:
            self._begin(b"L")
            self.take()

    def feed(self, data: bytes) -> None:
        if self.over:
            return
        if self.shaking:                                # octets in clear where a handshake is due: the wire gives up
            self.over = True
        elif self.session is None:
            self.login.feed(data)
            self._work_login()
        else:
            self.session.feed(data)
            self._work()

    def take(self) -> bytes:
        said, self.said = self.said + self.login.take(), b""
        return said

    def say(self, text: str) -> list[str]:
        """Lines to the server (CR LF is added), its lines back."""
        self.feed(text.replace("\n", "\r\n").encode("latin-1") + b"\r\n")
        return self.heard()

    def heard(self) -> list[str]:
        return self.take().decode("latin-1").split("\r\n")[:-1]

    def secured(self) -> None:
        self.shaking = False
        self.login.secured()

    def ended(self) -> bool:
        return self.over

    def _work_login(self) -> None:
        while True:
            event = self.login.work()
            self.said += self.login.take()
            match event:
                case None:
                    return
                case login.Asked():
                    if event.credentials.password == "secret":
                        self._begin(self.login.tag)
                        return
                    self.login.refuse()
                case login.StartTls():
                    self.shaking = True
                    return
                case login.Close():
                    self.over = True
                    return

    def _begin(self, tag: bytes) -> None:
        setting = Setting(LIMITS, explain, lambda: NOW, self._wake, without=self.without)
        self.session = session.Session(self.store, setting, tag=tag, said=self.login.rest(), client_id=self.login.client_id)
        self._work()

    def _wake(self) -> None:
        if self.session is not None and self.session.listens and not self.busy:
            self.session.poke()
            self._work()

    def _work(self) -> None:
        assert self.session is not None
        self.busy = True
        while (want := self.session.work()) is not None:
            self.said += self.session.take()
            if isinstance(want, Job):
                try:
                    result = want.run()
                except Exception as error:
                    self.session.failed(error)
                else:
                    self.session.done(result)
            elif isinstance(want, Close):
                self.over = True
                break
        self.said += self.session.take()
        self.busy = False
