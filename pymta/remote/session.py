"""session: one connection to another host: the engine (proto/smtp_client.py) on a socket.

    opening ──▶ idle ◀──▶ busy ──▶ leaving ──▶ gone
       └──────────┴─────────┴────────────────────▲

`open` is a coroutine (connect, greeting, EHLO, STARTTLS); after that everything happens in callbacks: at 0.2 ms a message a task
switch would be dear.
"""
from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from pymta import clock, log, outcome
from pymta.message import downgrade
from pymta.outcome import Outcome
from pymta.proto.smtp_client import Closed, Event, Ready, Result, SendBody, SmtpClient, StartTls
from pymta.remote.file import Opened
from pymta.remote.jobs import Share

if TYPE_CHECKING:
    from pymta.remote.destination import Destination

IDLE_S = 3.0                        # how long an open connection waits for the next message
QUIT_S = 5.0                        # how long for the answer to QUIT
HIGH_WATER_OCTETS = 1 << 18
NO_SEVEN_BIT = Outcome(554, "5.6.3", 65, "the other host takes no 8-bit mail")

_buffer = bytearray(1 << 16)        # one for all connections: what is read is worked on before the next read
_view = memoryview(_buffer)


def opportunistic() -> ssl.SSLContext:
    """TLS without a look at the certificate: better than clear text, and no promise (RFC 7435)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class HandshakeFailed(Exception):
    """The peer offered TLS and could not do it; the text says why."""


class Session(asyncio.BufferedProtocol):
    """One connection.  host: the peer's name; address: its IP address; where: both, for people."""

    def __init__(self, destination: Destination, host: str, address: str, *, tls: ssl.SSLContext | None) -> None:
        pool = destination.pool
        self.destination = destination
        self.host = host
        self.address = address
        self.where = f"{host}[{address}]"
        self.tls = tls
        self.client = SmtpClient(pool.name, lmtp=destination.route.protocol == "lmtp", tls=tls is not None)
        self.state = "opening"
        self.jobs = pool.jobs
        self.loop = pool.loop
        self.limits = pool.limits
        self.share: Share | None = None
        self.opened: Opened | None = None
        self._numbers: list[int] = []
        self._transport: asyncio.Transport | None = None
        self._phase: asyncio.Future[Event] | None = None
        self._ending: Closed | None = None
        self._source: Iterator[bytes] | None = None
        self._paused = False
        self._too_many: list[int] = []
        self._accepted_some = False
        self._begun = self._beginning = False
        self._replies = 0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # ---- opening ------------------------------------------------------------------------------------------------------
    async def open(self, port: int) -> Closed | None:
        """Connect and get as far as the first MAIL.  None, or why not.  Raises OSError, HandshakeFailed."""
        self._phase = self.loop.create_future()
        async with asyncio.timeout(self.limits.connect_s):
            await self.loop.create_connection(lambda: self, self.address, port)
        self._arm(self.limits.connect_s)
        while True:
            event = await self._phase
            if isinstance(event, Closed):
                self.hang_up()
                return event
            if self.state == "gone":                    # it was said, and then the line was cut
                return self._ending or Closed(outcome.CONNECTION_LOST, False)
            if isinstance(event, Ready):
                self._phase = None
                self.state = "idle"
                if self.client.tls_refused:
                    log.event("close", destination=self.destination.key, host=self.where, why="no TLS; going on in clear",
                              reply=self.client.tls_refused.text)
                return None
            self._phase = self.loop.create_future()
            await self._secure()

    async def _secure(self) -> None:
        assert self._transport is not None and self.tls is not None
        plain = self._transport
        try:
            secured = await self.loop.start_tls(plain, self, self.tls, server_hostname=_sni(self.host),
                                                ssl_handshake_timeout=self.limits.connect_s)
        except (ssl.SSLError, OSError, TimeoutError) as error:
            plain.abort()
            self.hang_up()
            raise HandshakeFailed(getattr(error, "reason", None) or str(error) or type(error).__name__) from None
        if secured is None or self.state == "gone":
            raise HandshakeFailed("connection lost")
        self._transport = secured
        self._transport.set_write_buffer_limits(HIGH_WATER_OCTETS)
        self.client.secured()
        self._flush()

    # ---- one message after the other ----------------------------------------------------------------------------------
    def work(self) -> None:
        """Take shares of the destination until there is none, or until this connection has served its time."""
        while self.state == "idle":
            if self.client.sent >= self.limits.reuse or self.destination.crowded(self.client.sent):
                self.leave()
                return
            share = self.destination.next_share(self)
            if share is None:
                if self.destination.pool.waiting:
                    self.leave()
                else:
                    self._arm(IDLE_S)
                return
            opened = self.jobs.open(share)
            if opened is not None:
                self.state = "busy"
                self.share, self.opened, self._begun = share, opened, False
                if opened.eight_bit is None:
                    self._arm(self.limits.reply_s)
                    self.loop.run_in_executor(None, opened.scan, os.dup(opened.fd)).add_done_callback(self._scanned)
                else:
                    self._convert()

    def _scanned(self, scan: asyncio.Future[None]) -> None:
        if scan.exception() is not None and self.opened:
            self._unreadable(str(scan.exception()))
        elif self.state == "busy":
            self._convert()

    def _convert(self) -> None:
        """Begin; a message that the host does not take as it is, is made 7-bit before (RFC 6152 §3)."""
        opened = self.opened
        assert opened is not None
        if opened.eight_bit and b"8BITMIME" not in self.client.extensions:
            self._arm(self.limits.reply_s)
            fd = -1 if opened.small else os.dup(opened.fd)
            self.loop.run_in_executor(None, opened.convert, fd).add_done_callback(self._converted)
        else:
            self._begin()

    def _converted(self, done: asyncio.Future[None]) -> None:
        error, share = done.exception(), self.share
        if self.state != "busy" or share is None:
            return
        if isinstance(error, downgrade.Impossible):
            self._refuse(NO_SEVEN_BIT.because(f"the other host takes no 8-bit mail, and this message has no other form: {error}"))
            return
        if isinstance(error, downgrade.Signed):         # better a host that may not read it than one that finds the signature broken
            log.event("trouble", what=f"{share.job.name} goes with 8-bit octets to {self.where}, which does not offer 8BITMIME", why=str(error))
        elif error is not None:
            if isinstance(error, Exception) and not isinstance(error, OSError):
                log.bug(f"7-bit form of {share.job.name}", error)
            self._unreadable(str(error))
            return
        self._begin()

    def _refuse(self, ending: Outcome) -> None:
        """The same fate for the whole share, before anything of it was said."""
        assert self.share is not None
        self._numbers = list(self.share.numbers)
        self._too_many = []
        self._all(ending)
        self.state = "idle"
        self._share_over(well=False)
        self.loop.call_soon(self.work)

    def _begin(self) -> None:
        assert self.share is not None and self.opened is not None
        self._begun = True
        self._numbers = list(self.share.numbers)
        self._too_many, self._accepted_some = [], False
        self._arm(self.limits.reply_s)
        try:
            events = self.client.begin(self.opened.transaction(self._numbers))
        except ValueError as error:                     # an address that no door of ours lets in
            self._refuse(outcome.BAD_RECIPIENT.because(str(error)))
            return
        self._beginning = True
        self._happened(events)
        self._beginning = False

    def _happened(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Result):
                self._result(event)
            elif isinstance(event, Ready):
                self._ready()
            elif isinstance(event, SendBody):
                assert self.opened is not None
                self._source = self.opened.chunks()
                self._pour()
            elif isinstance(event, Closed):
                self._closed(event)
            elif isinstance(event, StartTls):
                self._tell(event)
        self._flush()

    def _tell(self, event: Event) -> bool:
        if self._phase is not None and not self._phase.done():
            self._phase.set_result(event)
            return True
        return False

    def _ready(self) -> None:
        if self._tell(_READY):
            return
        if self.state == "busy":
            self.state = "idle"
            self._share_over(well=True)
            if self._beginning:                         # refused here, unsaid: a row of such messages is no recursion
                self.loop.call_soon(self.work)
            else:
                self.work()

    def _result(self, event: Result) -> None:
        ending = event.outcome
        if ending.delivered:
            self._accepted_some = True
        elif ending.reply == 452 and ending.status == "4.5.3" and event.said:
            self._too_many.append(event.recipient)      # if others got through: at once again (RFC 5321 §4.5.3.1.10)
            return
        self._record(event.recipient, ending, event.said)

    def _record(self, place: int, ending: Outcome, said: bool) -> None:
        assert self.share is not None and self.opened is not None
        number = self._numbers[place]
        address = self.opened.envelope.recipients[number].address.decode("utf-8", "backslashreplace")
        text = f"{self.where} said: {ending.text}" if said else f"{self.where}: {ending.text}"
        owing = ending.delivered and self.opened.owes_receipt(number, b"DSN" in self.client.extensions)
        self.jobs.result(self.share.job, number, ending, self.share.destination, text, address, receipt=owing)

    def _all(self, ending: Outcome) -> None:
        for place in range(len(self._numbers)):
            self._record(place, ending, False)

    def _share_over(self, *, well: bool) -> None:
        """Every recipient of the share has its result, or is given back."""
        share, opened = self.share, self.opened
        if share is None or opened is None:
            return
        if self._too_many and self._accepted_some and self.state != "gone":
            again = Share(share.job, share.destination, tuple(self._numbers[place] for place in self._too_many))
            share.job.pending += 1
            self.destination.give_back(again)
        else:
            for place in self._too_many:
                self._record(place, outcome.TOO_MANY_RECIPIENTS, False)
        self.share = self.opened = self._source = None
        self._too_many = []
        opened.close()
        self.destination.answered(share, well)
        self.jobs.ended(share)

    # ---- the body -----------------------------------------------------------------------------------------------------
    def _pour(self) -> None:
        """Send of the message what the peer takes."""
        while self._source is not None and not self._paused:
            try:
                chunk = next(self._source, None)
            except OSError as error:
                self._unreadable(error.strerror or str(error))
                return
            if chunk is None:
                self._source = None
                self.client.end_of_body()
                self._arm(self._patience())
            else:
                self.client.body(chunk)
                if self.opened is not None and self.opened.small:
                    continue                            # its end goes with it
            self._flush()

    def _unreadable(self, why: str) -> None:
        """The message cannot be read to its end: the line is cut, so that nobody takes the half for the whole."""
        if self.share is not None:
            log.event("trouble", what=f"cannot read {self.share.job.name}", why=why)
        self._source = None
        self._happened(self.client.end(outcome.LOCAL_ERROR))

    # ---- the end ------------------------------------------------------------------------------------------------------
    def _closed(self, event: Closed) -> None:
        was, self.state = self.state, "gone"
        self._ending = event
        if self.share is not None and self.opened is not None:
            if event.unsent or not self._begun:
                self.opened.close()
                self.destination.give_back(self.share)
                self.share = self.opened = self._source = None
            else:
                self._share_over(well=False)
        self.hang_up()
        if not self._tell(event) and was in ("idle", "busy"):
            self.destination.session_over(self, trouble=was == "busy" and self._begun and not event.unsent)

    def leave(self) -> None:
        """Say goodbye."""
        if self.state != "idle":
            return
        self.state = "leaving"
        self.client.quit()
        self._flush()
        self._arm(QUIT_S)
        self.destination.session_over(self, trouble=False)

    def give_up(self, why: Outcome) -> None:
        """End now, whatever is under way."""
        self._guarded(lambda: self._happened(self.client.end(why)))
        self.hang_up()

    def hang_up(self) -> None:
        """Close the socket, with no more words."""
        self.state = "gone"
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        self.destination.pool.open_sessions.discard(self)

    # ---- the socket ---------------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER_OCTETS)
        self.destination.pool.open_sessions.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _view

    def buffer_updated(self, octets: int) -> None:
        self._guarded(lambda: self._happened(self.client.feed(bytes(_view[:octets]))))
        if self.client.replies != self._replies:        # a whole one: a reply that only trickles in has no more time than another
            self._replies = self.client.replies
            if self.state in ("opening", "busy"):
                self._arm(self._patience())

    def eof_received(self) -> bool:
        return False                                    # close; connection_lost follows

    def connection_lost(self, error: Exception | None) -> None:
        if self.state != "gone":
            self._guarded(lambda: self._happened(self.client.lost()))
        if self.state != "gone":                        # goodbye was said, or the engine was done
            self.hang_up()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._source is not None:
            self._arm(self.limits.reply_s)
            self._guarded(self._pour)

    def _flush(self) -> None:
        data = self.client.take()
        if data and self._transport is not None and self.state != "gone":
            self._transport.write(data)

    def _guarded(self, work) -> None:
        """A bug ends this session only, and its message is tried again."""
        try:
            work()
        except Exception as error:
            log.bug(f"session {self.where}", error)
            try:
                self._happened(self.client.end(outcome.SURPRISE))
            except Exception as second:
                log.bug(f"session {self.where}", second)
                self.hang_up()

    # ---- time ---------------------------------------------------------------------------------------------------------
    def _patience(self) -> float:
        """How long to wait for the next reply.  RFC 5321 §4.5.3.2.6: after a message twice as long."""
        return self.limits.reply_s * (2 if self.client.stage == "the final reply" else 1)

    def _arm(self, seconds: float) -> None:
        """Call _timed_out when this time passes without another call.  Nearly always it only notes a number."""
        self._deadline = clock.tick() + seconds
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._look_at_deadline)
        elif self._timer.when() > self.loop.time() + seconds:
            self._timer.cancel()
            self._timer = self.loop.call_later(seconds, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._timer = None
        left = self._deadline - clock.tick()
        if left > 0.001:
            self._timer = self.loop.call_later(left, self._look_at_deadline)
        else:
            self._guarded(self._timed_out)

    def _timed_out(self) -> None:
        if self.state == "idle" and self._phase is None:
            self.leave()
        elif self.state == "leaving":
            self.hang_up()
        elif self.state != "gone":
            self._happened(self.client.end(outcome.CONNECTION_LOST.because(f"timed out waiting for {self.client.stage}")))


_READY = Ready()


def _sni(host: str) -> str:
    """What to ask for in the handshake: the host's name; "" for an IP address, which may not stand there (RFC 6066 §3)."""
    return "" if ":" in host or host.replace(".", "").isdigit() else host
