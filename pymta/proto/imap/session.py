"""session: an IMAP connection whose user is known: commands run against a store of mailboxes.      RFC 3501 §6.1-§6.4

    session = Session(store, limits, tag=b"a1", said=b"...", ...)
    session.feed(chunk)
    while (want := session.work()) is not None:         # until more input is needed
        match want:
            case Job():    session.done(job.run()) or session.failed(error)      # something slow: in a thread, perhaps
            case More():   send(session.take()), and come back when the client has taken most of it
            case Close():  send, then close
    send(session.take())

Every command is a generator that yields what it says as it goes, so that a FETCH of a whole mailbox needs the memory of a few
messages, and other sessions run in between.  Commands of one session run one after the other, in order.
"""
from __future__ import annotations

from collections import deque
from typing import Any

from pymta.proto.imap import fetch, grammar, on_notify
from pymta.proto.imap.commands import CHANGES_TREE, COMMANDS, KEEP_NUMBERS, LOOKS, QUIET, REMOVES, SELECTED, uses_numbers
from pymta.proto.imap.deflate import BadStream, Deflate
from pymta.proto.imap.framing import CONTINUE, STORES, Overlong, Reader, Refused
from pymta.proto.imap.grammar import BadCommand, Command
from pymta.proto.imap.listing import SEPARATOR
from pymta.proto.imap.notify import Notify
from pymta.proto.imap.on_session import capabilities
from pymta.proto.imap.view import View
from pymta.proto.imap.wants import CLOSE, MORE, OUT_HIGH_OCTETS, UID_REQUIRED, Close, Job, More, Running, Refusal, Setting, Wants

__all__ = ["Close", "Job", "More", "Session", "Setting"]

BAD_IN_A_ROW_MAX = 50
_COMMANDS_A_TURN = 100                                  # said at one go, before others get a turn


class Session:
    """store: a MailStore; tag: of the command that logged in; said: what the client said behind it; client_id: what it said in ID before."""

    def __init__(self, store: Any, setting: Setting, *, tag: bytes, said: bytes = b"", client_id: dict[bytes, bytes] | None = None) -> None:
        self.store = store
        self.setting = setting
        self.view: View | None = None
        self.identify(client_id or {})
        self.condstore = self.qresync = False           # RFC 7162
        self.uid_only = False                           # RFC 9586
        self.rev2 = False                               # RFC 9051
        self.utf8 = self.utf8_only = False              # RFC 9051 §5.1: names in UTF-8; RFC 6855: all that is said
        self.notify: Notify | None = None               # RFC 5465
        self._woken = False                             # there may be something to tell because of NOTIFY
        self.is_idle = False                            # between IDLE and DONE
        self.client_ended = False                       # it says no more; perhaps it is not there any more
        self._idle_tag = b""
        self._reader = Reader(setting.limits)
        self._tap = setting.tap
        self._out: deque[bytes] = deque()
        self._out_octets = 0
        self._deflate: Deflate | None = None
        self._clear = b""                               # said before compression began
        self._running: Running | None = None
        self._command: Command | None = None
        self._answer: Any = None
        self._error: BaseException | None = None
        self._job = self._over = False
        self._bad_in_a_row = 0
        self.source: fetch.Source | None = None        # the message last read: clients fetch big ones in pieces
        self._hear(said)
        self._say(b"%b OK [CAPABILITY %b] Logged in\r\n" % (tag, capabilities(self)))

    # ---- the program's side -------------------------------------------------------------------------------------------
    def feed(self, data: bytes) -> None:
        if self._deflate is None:
            self._hear(data)
        else:
            self._deflate.feed(data)

    def take(self) -> bytes:
        """What is to be sent."""
        data = b"".join(self._out)
        self._out.clear()
        self._out_octets = 0
        if self._tap is not None and data:
            self._tap.server(data)
        if self._deflate is not None:
            clear, self._clear = self._clear, b""
            data = clear + self._deflate.pack(data)
        return data

    @property
    def pending(self) -> int:
        """Octets the client has said ahead."""
        return self._reader.pending + (self._deflate.pending if self._deflate else 0)

    def done(self, result: Any) -> None:
        """What a Job returned."""
        self._answer, self._job = result, False

    def failed(self, error: BaseException) -> None:
        """What a Job raised."""
        self._error, self._job = error, False

    def enable_rev2(self) -> None:
        """From here on the client is spoken to as RFC 9051 has it."""
        self.rev2 = self.utf8 = True
        if self.view is not None:
            self.view.forget_recent()

    def enable_utf8(self) -> None:
        """From here on everything is UTF-8, both ways."""
        self.utf8 = self.utf8_only = True

    def identify(self, client_id: dict[bytes, bytes]) -> None:
        """Who the client says it is, and so what it is not offered."""
        self.client_id = client_id
        self.off = self.setting.without(client_id.get(b"name", b""))
        self.who = self.setting.who(client_id.get(b"name", b""))

    def idle(self, tag: bytes) -> None:
        """From here on everything is told as it happens, until DONE."""
        self.is_idle = self._woken = True
        self._idle_tag = tag

    def enable_condstore(self, *, qresync: bool = False) -> None:
        """From here on mod-sequences are told."""
        self.condstore = True
        self.qresync |= qresync
        if self.view is not None:
            self.view.condstore, self.view.qresync = True, self.qresync

    def enable_uid_only(self) -> None:
        """From here on no message is called by its number."""
        self.uid_only = True
        if self.view is not None:
            self.view.uid_only = True

    def set_notify(self, asked: Notify) -> None:
        """From here on the client is told what it asked for, and nothing else."""
        if self.notify is not None:
            self.notify.stop()
        self.notify = asked
        if self.view is not None:
            self.view.wanted = asked.selected

    def wake(self) -> None:
        """Something may be to be told.  In any thread."""
        self._woken = True
        self.setting.wake()

    @property
    def listens(self) -> bool:
        """Whether the client hears of things between commands: then poke() it."""
        return self.is_idle or self.notify is not None

    @property
    def is_compressed(self) -> bool:
        return self._deflate is not None

    @property
    def only_looks(self) -> bool:
        """Whether the command at work changes nothing, and can be cut off."""
        return self._running is not None and self._command is not None and self._command.verb in LOOKS

    def end(self) -> None:
        """The command at work is the last."""
        self._over = True

    def poke(self) -> None:
        """Tell an idling client what happened.  Where NOTIFY says what is told, work() does it."""
        self._check()
        if self.is_idle and self.view is not None and self.notify is None and not self._over:
            self._say(self.view.announce())
            self._check()

    def goodbye(self, text: bytes) -> None:
        """Say BYE, as the last thing."""
        self._say(b"* BYE %b\r\n" % text)
        self._over = True

    def close(self) -> None:
        """The connection is gone: give back what is held.  A Job that still runs must have ended."""
        if self._running is not None:
            self._running.close()
            self._running = None
        self.leave()
        if self.notify is not None:
            self.notify.stop()

    def work(self) -> Wants | None:
        """Go on until the program has something to do, or more input is needed (None)."""
        if self._job:
            return None
        left = _COMMANDS_A_TURN
        try:
            while not self._over:
                left -= 1
                if left < 0:
                    return MORE
                if self._running is not None:
                    want = self._run()
                    if want is not None:
                        return want
                elif not self._read() and not self._inflate():
                    if self.notify is None or not self._woken:
                        return None
                    self._woken = False
                    self._check()
                    self._running = None if self._over else on_notify.tell(self)
        except Overlong as error:
            self.goodbye(str(error).encode("ascii"))
        except BadStream:
            self.goodbye(b"What you send is not deflated")
        return CLOSE

    # ---- reading ------------------------------------------------------------------------------------------------------
    def _read(self) -> bool:
        """Take up the next command; False if it is not all here."""
        if self.is_idle:
            return self._read_done()
        unit = self._reader.next()
        if unit is None:
            return False
        if unit is CONTINUE:
            self._say(b"+ OK\r\n")
        elif isinstance(unit, Refused):
            self._say(b"%b %b\r\n" % (unit.tag, b"NO [TOOBIG] The message is too big" if unit.verb in STORES
                                      else b"BAD [TOOBIG] A literal is too big"))
        elif isinstance(unit, (bytes, bytearray)):
            try:
                self._begin(grammar.parse(unit, utf8=self.utf8, utf8_only=self.utf8_only))
            except BadCommand as error:
                self._bad(error.tag, str(error).encode("ascii", "replace"))
        return True

    def _hear(self, data: bytes) -> None:
        if self._tap is not None:
            self._tap.client(data)
        self._reader.feed(data)

    def _inflate(self) -> bool:
        """Hand the reader more of what came compressed; False if there is no more."""
        data = self._deflate.read() if self._deflate else b""
        self._hear(data)
        return bool(data)

    def _compress(self) -> None:
        """From here on both sides compress."""
        self._clear, self._deflate = self.take(), Deflate()
        self._deflate.feed(self._reader.rest())

    def _read_done(self) -> bool:
        line = self._reader.line()
        if line is None:
            return False
        self.is_idle = False
        self.poke()
        if self._over:
            return True
        if line.strip().upper() == b"DONE":
            self._finish(self._idle_tag, b"OK Done idling")
        else:
            self._bad(self._idle_tag, b"DONE expected")
        return True

    def _begin(self, command: Command) -> None:
        method = COMMANDS.get(command.verb)
        if method is None:
            self._bad(command.tag, b"You are logged in already")                # LOGIN, AUTHENTICATE, STARTTLS
            return
        if command.verb in SELECTED and self.view is None:
            self._bad(command.tag, b"Select a mailbox first")
            return
        if self.uid_only and uses_numbers(command):
            self._bad(command.tag, UID_REQUIRED[4:])
            return
        if command.verb not in QUIET and self._may_not_look:
            self._check()
            return
        if command.verb != b"FETCH":
            self.source = None
        self._command = command
        self._running = method(self, command)

    def _bad(self, tag: bytes, text: bytes) -> None:
        self._say(b"%b BAD %b\r\n" % (tag, text))
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= BAD_IN_A_ROW_MAX:
            self.goodbye(b"Too many errors")

    # ---- running ------------------------------------------------------------------------------------------------------
    def _run(self) -> Wants | None:
        """Let the command go on.  None when it has ended."""
        running, command = self._running, self._command
        assert running is not None
        try:
            while True:
                if self._error is not None:
                    error, self._error = self._error, None
                    want = running.throw(error)
                else:
                    answer, self._answer = self._answer, None
                    want = running.send(answer)
                if isinstance(want, bytes):
                    self._say(want)
                    if self._out_octets >= OUT_HIGH_OCTETS:
                        return MORE
                elif want is None:
                    return MORE
                else:
                    self._job = True
                    return want
        except StopIteration as stop:
            reply = stop.value
        except Refusal as refusal:
            reply = refusal.text
        except Exception as error:
            text = self.setting.explain(error)
            if text is None:
                raise
            reply = b"NO " + text
        self._running = self._command = None
        if command is None:                             # nobody waits for a reply
            self._check()
            return None
        if self.is_idle:
            return None
        self._finish(command.tag, reply, command)
        if command.verb == b"COMPRESS" and reply.startswith(b"OK"):
            self._compress()
        return None

    def _finish(self, tag: bytes, reply: bytes, command: Command | None = None) -> None:
        """Say what happened meanwhile, where that may be said, then the tagged reply."""
        if reply.startswith(b"BAD"):
            self._bad(tag, reply[4:])
            return
        self._bad_in_a_row = 0
        if self.view is not None and command is not None and command.verb not in QUIET and not self._may_not_look:
            may_vanish = command.uid or command.verb not in KEEP_NUMBERS
            self._say(self.view.announce(expunge=may_vanish, own=command.verb in REMOVES))
        if self.notify is not None and command is not None and command.verb in CHANGES_TREE and reply.startswith(b"OK"):
            self.notify.did(arg.removesuffix(SEPARATOR) for arg in command.args if isinstance(arg, str))
        if self.notify is not None and command is not None and command.verb == b"SETMETADATA" and reply.startswith(b"OK"):
            self.notify.noted_by_itself(*command.args)
        self._say(b"%b %b\r\n" % (tag, reply))
        self._check()

    @property
    def _may_not_look(self) -> bool:
        """Whether the right to read the mailbox that is selected has been taken away since."""
        return self.view is not None and "r" not in self.view.folder.rights

    def _check(self) -> None:
        """A mailbox that somebody deleted, renamed or made anew has no numbers any more: there is nothing left to say but BYE.  One that
        may not be read any more is as good as gone."""
        if self.view is not None and (self.view.folder.vanished or self._may_not_look) and not self._over:
            self.goodbye(b"The mailbox that was selected is gone")

    def _say(self, data: bytes) -> None:
        if data:
            self._out.append(data)
            self._out_octets += len(data)

    def leave(self) -> None:
        """Close the mailbox that is open, if one is."""
        view, self.view, self.source = self.view, None, None
        if view is not None:
            if self.notify is not None:
                self.notify.stir(view.name)
            view.close()
            self.store.close(view.folder)
