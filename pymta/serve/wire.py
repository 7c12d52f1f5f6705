"""wire: one connection of a daemon, in clear or under TLS, and the Session that talks over it.

Plain sockets and asyncio's add_reader, not transports: one recv into a buffer that all connections share, one send for all that
a turn has to say, 3 KiB for an idle connection.  TLS is an SSLObject between two memory buffers (about 17 KiB; asyncio's
own takes 280), so STARTTLS is a change of one field, and what a peer sent ahead of its handshake can never be taken for a command.
"""
from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Callable

from pymta import clock, log

if TYPE_CHECKING:
    from pymta.serve.worker import Gate, Worker

_BUFFER = bytearray(1 << 16)
_VIEW = memoryview(_BUFFER)
_HIGH_WATER_OCTETS = 1 << 18
_HANDSHAKE_S = 30.0
_LINGER_S = 2.0


class Session:
    """One connection's conversation; the program's half.  Methods are called in the worker's loop and must not block."""

    def __init__(self, wire: "Wire") -> None:
        self.wire = wire

    def received(self, data: bytes) -> None:
        """The peer said this."""

    def ended(self) -> bool:
        """The peer says no more, and may still listen (a script at the other end of a pipe).  True: the answer to what it said before
        is being made; wire.resume(), which must come then, asks again.  Not asked under TLS, which has an end of its own."""
        return False

    def secured(self) -> None:
        """TLS is up (after wire.start_tls)."""

    def timed_out(self) -> None:
        """The deadline has passed."""
        self.wire.close()

    def stopping(self) -> None:
        """The daemon ends: say so and close."""
        self.wire.close()

    def lost(self) -> None:
        """The connection is gone, whoever closed it.  Called exactly once."""


class Wire:
    """One connection.  See the module's docstring for the bytes; peer and local are (address, port)."""

    __slots__ = ("worker", "sock", "peer", "listener", "session", "_fd", "_out", "_out_octets", "_rest", "_in_turn",
                 "_paused", "_closing", "_gone", "_deadline", "_timer", "_tls", "_tls_in", "_tls_out", "_shaking", "_drained", "_again",
                 "_linger", "_timer_at", "gate", "_choked")

    def __init__(self, worker: "Worker", sock: socket.socket, peer: tuple[str, int], listener: str) -> None:
        self.worker = worker
        self.sock = sock
        self.peer = peer
        self.listener = listener
        self.session: Session = None                    # type: ignore[assignment]   # set right after the factory returns
        self._fd = sock.fileno()
        self._out: list[bytes] = []
        self._out_octets = 0
        self._rest = bytearray()
        self._in_turn = self._paused = self._closing = self._gone = self._shaking = self._again = False
        self._choked = False                            # the peer does not take what it is told: it is not heard either
        self._linger: bool | None = False
        self._deadline = self._timer_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLObject | None = None
        self._tls_in: ssl.MemoryBIO | None = None
        self._tls_out: ssl.MemoryBIO | None = None
        self._drained: asyncio.Future[None] | None = None
        self.gate: Gate | None = None                   # hears when we are gone

    # ---- what a session may do ----------------------------------------------------------------------------------------
    @property
    def local(self) -> tuple[str, int]:
        """Our end's address, asked of the system each time."""
        name = self.sock.getsockname()
        return (plain(name[0]), name[1]) if isinstance(name, tuple) else ("local", 0)

    @property
    def tls(self) -> bool:
        return self._tls is not None and not self._shaking

    @property
    def tls_version(self) -> str | None:
        return self._tls.version() if self._tls else None

    @property
    def cipher(self) -> str | None:
        cipher = self._tls.cipher() if self._tls else None
        return cipher[0] if cipher else None

    @property
    def backlog_octets(self) -> int:
        """What the peer has not taken yet."""
        return self._out_octets

    def send(self, data: bytes) -> None:
        """Say data: at the end of the turn while the peer's bytes are being worked on, else at once."""
        if self._closing or self._gone or not data:
            return
        self._out.append(data)
        self._out_octets += len(data)
        if not self._in_turn:
            self._flush()

    async def drain(self) -> None:
        """Wait until most of what was said has been taken.  Call it now and then during long answers."""
        while self._out_octets > _HIGH_WATER_OCTETS >> 2 and not self._gone:
            self._flush()
            if self._out_octets <= _HIGH_WATER_OCTETS >> 2 or self._gone:
                break
            if self._drained is None or self._drained.done():
                self._drained = self.worker.loop.create_future()
            await asyncio.shield(self._drained)

    def close(self, *, linger: bool = False) -> None:
        """Close after what was said has gone.  linger: the peer may be sending still, and should hear why nobody listens: what it
        sends is thrown away for _LINGER_S, since closing over unread octets makes the kernel send a reset that takes our words with it."""
        if self._closing or self._gone:
            return
        self._closing = True
        self._linger = linger
        if self._rest:
            self._hurry()
        if not self._in_turn:
            self._flush()

    def abort(self) -> None:
        """Close now."""
        self._lost()

    def pause(self) -> None:
        """Read nothing until resume: a command is being worked on."""
        if not self._paused and not self._gone:
            self._paused = True
            self.worker.loop.remove_reader(self._fd)

    def resume(self) -> None:
        if self._paused and not self._gone:
            self._paused = False
            self._listen()

    def acknowledge(self) -> None:
        """Let the peer's system know at once that octets came.  To be called where the rest of something is awaited: some
        clients write its end by itself, and their systems hold that back (Nagle) until ours says so, 40 ms later."""
        if self.sock.family != socket.AF_UNIX and not self._gone:
            try:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            except OSError:
                pass                                    # it is going: the next read says so

    def deadline(self, seconds: float) -> None:
        """Call session.timed_out() when this time passes without another call of deadline."""
        self._deadline = at = clock.tick() + seconds
        if self._timer is None or self._timer_at > at:  # a timer that comes too early looks and sets itself again
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self.worker.loop.call_later(seconds, self._look_at_deadline)

    def start_tls(self) -> None:
        """Speak TLS from here on (as the server).  What was said before goes out in clear first."""
        self._flush()
        context = self.worker.tls_context()
        if context is None or self._gone:
            self._lost()
            return
        self._tls_in, self._tls_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._tls_in, self._tls_out, server_side=True)
        self._shaking = True
        self.deadline(_HANDSHAKE_S)

    # ---- inside -------------------------------------------------------------------------------------------------------
    def _listen(self) -> None:
        """Hear the peer, unless there is a reason not to."""
        if not self._paused and not self._choked and not self._gone:
            self.worker.loop.add_reader(self._fd, self._readable)
            if self._again:                             # TLS holds bytes that the socket will not announce again
                self.worker.loop.call_soon(self._read_tls)

    def _turn(self, work: Callable[..., None], *arguments: object) -> None:
        """Run the session's code; its bug ends this session only, and what it said goes out in one piece."""
        self._in_turn = True
        try:
            work(*arguments)
        except Exception as error:
            log.bug(f"session {self.listener} {self.peer[0]}", error)
            self._in_turn = False
            self._lost()
            return
        self._in_turn = False
        if self._out or self._closing:
            self._flush()

    def _readable(self) -> None:
        try:
            octets = self.sock.recv_into(_BUFFER)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lost()
            return
        if octets == 0:
            self._ended()
        elif self._closing:
            pass                                        # the conversation is over; what still comes is not read
        elif self._tls is None:
            self._turn(self.session.received, bytes(_VIEW[:octets]))
        else:
            self._tls_in.write(_VIEW[:octets])          # type: ignore[union-attr]
            self._read_tls()

    def _ended(self) -> None:
        """The peer will say no more; it hears what is on its way."""
        if self._tls is None and not self._closing and self.session.ended():
            self.pause()
        elif self._tls is None and self._rest:
            self.pause()
            self.close()
        else:
            self._lost()

    def _heard_tls(self, data: bytes) -> None:
        """What came of the handshake before it was expected: behind a PROXY header."""
        if self._tls_in is not None and not self._gone:
            self._tls_in.write(data)
            self._read_tls()

    def _read_tls(self) -> None:
        tls = self._tls
        self._again = False
        if tls is None or self._gone:
            return
        try:
            if self._shaking:
                tls.do_handshake()
                self._shaking = False
                self._turn(self.session.secured)
            while not self._gone and not self._closing:
                if self._paused or self._choked:
                    self._again = True
                    break
                data = tls.read(1 << 16)
                if not data:
                    self._lost()
                    return
                self._turn(self.session.received, data)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, ValueError, OSError) as error:
            if self._shaking and not isinstance(error, ssl.SSLEOFError):
                log.event("close", service=self.listener, peer=self.peer[0], why=f"TLS handshake failed: {getattr(error, 'reason', None) or error}")
            self._flush()                               # the alert
            self._lost()
            return
        if not self._gone:
            self._flush()

    def _flush(self) -> None:
        """Say what has gathered, as far as the peer takes it; the rest goes when it takes more."""
        if self._gone:
            return
        data = self._take()
        if self._rest:
            self._rest += data
        elif data:
            self._transmit(data)
        else:
            self._sent()
        if len(self._rest) > _HIGH_WATER_OCTETS and not self._choked and not self._gone:
            self._choked = True                         # or who asks and never reads would fill the memory
            self.worker.loop.remove_reader(self._fd)

    def _take(self) -> bytes:
        """What was said since the last time, as it goes on the wire."""
        if self._tls is None:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        else:
            if self._out and not self._shaking:
                self._tls.write(b"".join(self._out))
            data = self._tls_out.read()                 # type: ignore[union-attr]
            if self._shaking:
                return data
        self._out.clear()
        return data

    def _transmit(self, data: bytes | bytearray) -> None:
        try:
            octets = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            octets = 0
        except OSError:
            self._lost()
            return
        if octets == len(data):
            self._sent()
        elif data is self._rest:
            del self._rest[:octets]
            self._out_octets = len(self._rest)
            if self._out_octets <= _HIGH_WATER_OCTETS >> 2:
                self._wake()
        else:
            self._rest = bytearray(memoryview(data)[octets:])
            self._out_octets = len(self._rest)
            self.worker.loop.add_writer(self._fd, self._writable)
            if self._closing:
                self._hurry()

    def _hurry(self) -> None:
        """A peer that is told goodbye has so long to take it."""
        self.deadline(min(30.0, max(1.0, self._deadline - clock.tick())) if self._deadline else 30.0)

    def _writable(self) -> None:
        """The peer takes bytes again."""
        if self._deadline and not self._closing:
            self._deadline = max(self._deadline, clock.tick() + 60.0)      # it moves: it is not dead
        self._transmit(self._rest)

    def _sent(self) -> None:
        """Nothing is left to say."""
        self._out_octets = 0
        if self._rest:
            self._rest = bytearray()
            self.worker.loop.remove_writer(self._fd)
        self._wake()
        if self._closing and self._linger is not None:
            self._goodbye()
            if not self._linger:
                self._lost()
                return
            self._linger = None                         # it has begun
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._lost()
                return
            self.resume()
            self.deadline(_LINGER_S)

    def _goodbye(self) -> None:
        """TLS's own end, so that the peer knows that nothing was cut off."""
        if self._tls is None or self._shaking:
            return
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass                                        # the peer has not answered yet, and need not
        try:
            self.sock.send(self._tls_out.read())        # type: ignore[union-attr]
        except OSError:
            pass

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._choked:
            self._choked = False
            self._listen()

    def _look_at_deadline(self) -> None:
        self._timer = None
        if self._gone:
            return
        left = self._deadline - clock.tick()
        if left > 0.001:
            self._timer_at = self._deadline
            self._timer = self.worker.loop.call_later(left, self._look_at_deadline)
        elif self._closing or self._shaking:
            self._lost()
        else:
            self._turn(self.session.timed_out)

    def _lost(self) -> None:
        if self._gone:
            return
        self._gone = True
        loop = self.worker.loop
        if not self._paused:
            loop.remove_reader(self._fd)
        if self._rest:
            loop.remove_writer(self._fd)
        if self._timer is not None:
            self._timer.cancel()
        self.worker.wires.discard(self)
        if self.gate is not None:
            self.gate.leave(self.peer[0], self.listener)
        self._wake()
        self.sock.close()
        self._out.clear()
        self._rest, self._out_octets = bytearray(), 0      # a session may be found by the collector only, much later
        if self.session is not None:
            try:
                self.session.lost()
            except Exception as error:
                log.bug(f"session {self.listener} {self.peer[0]}", error)
        self.worker.one_less()


def plain(address: str) -> str:
    """An address without the mapping of IPv4 into IPv6, and without a zone."""
    return address[7:] if address.startswith("::ffff:") else address.partition("%")[0]
