"""mailbox: a user's Maildir as mailboxes, messages, UIDs and flags.                          pymta-maildir(5)

    store = MailStore("/home/ann/Maildir")
    folder = store.open("INBOX")                        # one shared Folder per directory and process
    folder.add_listener(told)                           # told(Changes) whatever the source: us, Dovecot, mutt, a delivery
    folder.sync()                                       # look at the disk now; usually one read(2) and two stats
    for message in folder.messages: message.uid, message.flags, message.size
    folder.set_flags([4, 5], "add", ["\\\\Seen"])
    store.close(folder)

Nothing here is asynchronous, and every call may be made from any thread (one at a time per Folder goes on).  Whoever
runs an asyncio loop calls attach(loop) once: from then on what others do to an open Maildir reaches the listeners unasked,
from a thread.
Every change on disk goes through durable; what a call returned is on disk (flags alone may be undone by a power cut).
"""
from pymta.mailbox.annotating import NoSuchUse, TooBig, TooMany
from pymta.mailbox.counts import Status
from pymta.mailbox.folder import Folder
from pymta.mailbox.message import Changes, Doer, Gone, Message, NoSuchMailbox, crlf
from pymta.mailbox.opened import attach
from pymta.mailbox.rights import NoRight
from pymta.mailbox.room import OverQuota, Quota
from pymta.mailbox.store import MailboxExists, MailStore, NameRefused, make

__all__ = ["Changes", "Doer", "Folder", "Gone", "MailStore", "MailboxExists", "Message", "NameRefused", "NoRight", "NoSuchMailbox", "NoSuchUse", "OverQuota", "Quota", "Status", "TooBig", "TooMany",
           "attach", "crlf", "make"]
