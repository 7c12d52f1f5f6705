"""imap: the server's side of IMAP4rev1 (RFC 3501), without I/O.

    framing    bytes in, whole commands out: literals, limits
    grammar    one command's bytes -> Command; args, fetchitem and searchkey read its arguments; utf7 its mailbox names
    login      an engine until the user is known
    session    an engine from there on: reads, runs commands one after the other, and says what it wants of its program (wants)
    capability what is announced, and what it stands on
    commands   which function of on_session, on_mailboxes and on_messages runs which verb
    view       what one session was told of its mailbox, and what it must still be told
    fetch, search, listing, response    what is said of messages and mailboxes, as bytes
"""
