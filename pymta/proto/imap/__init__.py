"""imap: the server's side of IMAP4rev1 (RFC 3501), without I/O.

    framing    bytes in, whole commands out (literals, limits)          login      before the user is known
    grammar    one command's bytes -> Command                           session    after; runs commands against a store
    utf7       mailbox names on the wire                                view       what one session was told of a mailbox
    response   replies as bytes                                         fetch, search, listing    the longer commands
"""
