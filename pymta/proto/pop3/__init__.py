"""pop3: the server's side of POP3 without I/O: bytes in, events out, bytes out.   RFC 1939, 2449, 2595, 3206, 5034, 6856

    server = Pop3Server(tls=False, stls=True, login=False)          # login: whether a password may be given as things stand
    server.feed(chunk)                                              # however the bytes are cut, the events are the same
    while (event := server.next_event()) is not None:
        match event:
            case Login(name, password): ...                         # later: server.logged_in(sizes, uids) or server.refused(...)
            case StartTls():            ...                         # send server.take(), do the handshake, then server.secured(...)
            case Retrieve(index, lines): server.message(octets)     # or begin_message, send wire form, end_message; or gone()
            case Commit(indices):        server.committed(removed=True)   # QUIT: remove these, then say whether all are gone
    wire.send(server.take())
    if server.ended: wire.close()

An event has to be answered before next_event gives another; what the client sent meanwhile waits.  Message numbers on the
wire are from 1, indices from 0.  A client can cause nothing but "-ERR" and, after too many, the end.

    events    what a session asks of the program         order     which command may come when, as the RFCs' own tables
    server    the session: lines in, answers out          commands  what each command does
    wireform  a message as it goes over the wire
"""
from pymta.proto.pop3.events import Commit, Event, Login, Retrieve, StartTls
from pymta.proto.pop3.order import AUTHORIZATION, COMMANDS, NAMED, ORDER, SASL, TRANSACTION, UPDATE
from pymta.proto.pop3.server import Pop3Server
from pymta.proto.pop3.wireform import WireForm, wire_octets

__all__ = ["AUTHORIZATION", "COMMANDS", "NAMED", "ORDER", "SASL", "TRANSACTION", "UPDATE", "Commit", "Event", "Login", "Pop3Server",
           "Retrieve", "StartTls", "WireForm", "wire_octets"]
