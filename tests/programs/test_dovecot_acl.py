"""One dovecot-acl, read and written by us and by Dovecot's imap_acl: the same rights, for the owner and for others."""
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pymta import mailbox, settings
from pymta.formats import acl
from pymta.mailbox import opened
from pymta.mailbox.sharing import Sharing
from pymta.mailbox.spaces import Spaces
from tests.dovecot import ROOT, Dovecot, directory, needs_dovecot
from tests.imapengine import Conversation

pytestmark = needs_dovecot

# what stands in the dovecot-acl of one of ann's mailboxes
FILES = [
    "",
    "anyone lr\n",
    "anonymous lr\n",
    "anyone l\nanyone r\n",
    "authenticated lrs\n",
    "authenticated lrs\nanyone lw\n",
    "anyone lw\nauthenticated lrs\n",
    "user=ben@example.test lr\n",
    "user=ben@example.test lr\nanyone lrwstipekxa\n",
    "user=ben@example.test lr\nuser=ben@example.test lw\n",
    "user=eve@example.test lr\n",
    "user=BEN@example.test lr\n",
    "anyone lr\n-anyone r\n",
    "anyone lr\n-user=ben@example.test r\n",
    "-user=ben@example.test r\nanyone lr\n",
    "user=ben@example.test lrw\n-anyone w\n",
    "-anyone w\nauthenticated lrw\n",
    "user=ben@example.test lrw\n-authenticated w\n",
    "anyone lrw\n-anyone w\n-user=ben@example.test r\n",
    "anyone lrw\n-authenticated w\n-anyone r\n",
    "user=ben@example.test lrw\n-user=ben@example.test w\nanyone lrt\n-anyone r\n",
    "user=ben@example.test\nanyone lr\n",
    "-user=ben@example.test\nanyone lr\n",
    "-user=ben@example.test\nanyone lr\n-anyone r\n",
    "group=staff lr\n",
    "-group=staff lr\nanyone lr\n",
    "group=staff lr\nanyone l\n-group=staff l\n",
    "group-override=staff lr\nuser=ben@example.test l\n",
    "anyone :lookup read write-seen\n",
    "anyone lr:write-deleted\n",
    "# a comment\n\nanyone lr\n",
    '"user=ben@example.test" lr\n',
    '"-user=ben@example.test" l\nanyone lr\n',
    "user=ben@example.test lrwstipekxa\n",
    "anyone lrk\nuser=ben@example.test lx\nauthenticated lte\n",
]
# the same, where Dovecot takes rights from ann herself, and we do not
OWNERS = ["owner lr\n", "owner lr\nanyone l\n", "-owner w\nanyone l\n", "user=ann@example.test l\nuser=ben@example.test l\n",
          "-user=ann@example.test a\nanyone l\n"]
MANY = [f"B{number:02}" for number in range(len(FILES) + len(OWNERS))]


@dataclass
class Both:
    """Two users at two servers."""

    theirs: dict[str, Dovecot]
    ours: dict[str, Conversation]
    top: str

    def file(self, name: str) -> str:
        return f"{self.top}/ann@example.test/.{name}/dovecot-acl"

    def ask(self, user: str, text: str) -> tuple[list[str], list[str]]:
        """(Dovecot's lines, ours) without tags."""
        theirs = [line.decode() for line in self.theirs[user].command(text, ok=False)]
        ours = self.ours[user].say("a " + text)
        for lines in (theirs, ours):
            lines[-1] = lines[-1].partition(" ")[2]
        return theirs, ours


def place(user: str, name: str) -> str:
    return name if user == "ann" else f'"Other Users.ann.{name}"'


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with directory() as top:
        inner = top[len(ROOT):]
        for user in ("ann", "ben", "eve"):
            mailbox.make(f"{top}/{user}@example.test", [*MANY, "Ours", "Theirs", "Together"] if user == "ann" else [])
        for name, text in zip(MANY, FILES + OWNERS):
            with open(f"{top}/ann@example.test/.{name}/dovecot-acl", "w") as file:
                file.write(text)
        os.makedirs(f"{top}/etc")
        with open(f"{top}/etc/users", "w") as file:
            file.writelines(f"{user}@example.test:{os.geteuid()}:{os.getegid()}:{top}/home/{user}\n" for user in ("ann", "ben", "eve"))
        with open(f"{top}/etc/pymta.conf", "w") as file:
            file.write(f"host.name = mail.example.test\nlocal.domains = example.test\nlocal.virtual_home = {top}/home\nlocal.virtual_uid = {os.geteuid()}\n"
                       "imap.share_users = yes\n")
        for user in ("ann", "ben", "eve"):
            os.makedirs(f"{top}/home/{user}")
            os.symlink(f"{top}/{user}@example.test", f"{top}/home/{user}/Maildir")
        sharing = Sharing(settings.read(f"{top}/etc"))
        assert sharing.users
        namespaces = ["mail_plugins=acl imap_acl", "plugin/acl=vfile:cache_secs=0", "plugin/acl_anyone=allow", "namespace=own others", "namespace/own/inbox=yes",
                      "namespace/own/separator=.", "namespace/others/type=shared", "namespace/others/separator=.",
                      "namespace/others/prefix=Other Users.%n.", f"namespace/others/location=maildir:{inner}/%n@example.test",
                      "namespace/others/subscriptions=no", "namespace/others/list=children"]
        found = Both({}, {}, top)
        try:
            for user in ("ann", "ben"):
                address = f"{user}@example.test"
                found.theirs[user] = Dovecot(f"{top}/{address}", *namespaces, user=address)
                found.ours[user] = Conversation(Spaces(f"{top}/{address}", 0, address, sharing), logged_in=True)       # type: ignore[arg-type]
            yield found
        finally:
            for one in found.theirs.values():
                one.close()
            for ours in found.ours.values():
                assert ours.session is not None
                ours.session.close()
            opened.forget_all()


def mine(lines: list[str]) -> frozenset[str] | None:
    """The rights of MYRIGHTS without the letters of RFC 2086; None where the mailbox is not there."""
    found = re.match(r'\* MYRIGHTS (?:"[^"]*"|\S+) "?([a-z]*)"?$', lines[0])
    assert found or lines[-1].startswith("NO [NONEXISTENT]"), lines
    return frozenset(found[1]) - set("cd") if found else None


def listed(lines: list[str]) -> set[tuple[str, frozenset[str]]]:
    """The entries of GETACL; a negative one that takes nothing away is one that Dovecot may have made up."""
    assert lines[0].startswith("* ACL "), lines
    words = [quoted.replace("\\\\", "\\") or bare for quoted, bare in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', lines[0])][3:]
    return {(who, frozenset(rights) - set("cd")) for who, rights in zip(words[::2], words[1::2]) if rights or not who.startswith("-")}


ROWS = pytest.mark.parametrize("name", MANY[:len(FILES)], ids=[" ".join(text.split()) or "nothing" for text in FILES])
OWNERS_ROWS = pytest.mark.parametrize("name", MANY[len(FILES):], ids=[" ".join(text.split()) for text in OWNERS])


@ROWS
@pytest.mark.parametrize("user", ["ann", "ben"])
def test_the_same_rights(both: Both, user: str, name: str) -> None:
    theirs, ours = both.ask(user, f"MYRIGHTS {place(user, name)}")
    assert mine(ours) == mine(theirs)


@ROWS
def test_the_same_entries(both: Both, name: str) -> None:
    theirs, ours = both.ask("ann", f"GETACL {name}")
    assert listed(ours) == listed(theirs)


@OWNERS_ROWS
def test_the_owner_keeps_all_rights(both: Both, name: str) -> None:
    """Nobody can lock themselves out here."""
    theirs, ours = both.ask("ann", f"MYRIGHTS {name}")
    assert mine(ours) == frozenset(acl.RIGHTS) > (mine(theirs) or frozenset())
    theirs, ours = both.ask("ben", f"MYRIGHTS {place('ben', name)}")
    assert mine(ours) == mine(theirs)


STEPS = ["SETACL Together ben@example.test lr", "SETACL Together anyone l", "SETACL Together ben@example.test +swite", "SETACL Together -ben@example.test w",
         "SETACL Together ben@example.test -r", "SETACL Together authenticated lrp", "SETACL Together -anyone p", "SETACL Together anyone +k",
         "DELETEACL Together -ben@example.test", "SETACL Together ben@example.test \"\"", "DELETEACL Together ben@example.test", "SETACL Together anyone cd",
         "DELETEACL Together authenticated", "DELETEACL Together -anyone", "DELETEACL Together anyone"]


@pytest.mark.parametrize("first", [0, 1])
def test_what_one_writes_the_other_reads(both: Both, first: int) -> None:
    """They take turns at one file."""
    with open(both.file("Together"), "w") as file:
        file.write("group=staff lr\n-group=staff a\ngroup-override=chiefs lrwstipekxa\n")
    for number, step in enumerate(STEPS):
        if (number + first) % 2:
            both.theirs["ann"].command(step)
        else:
            assert both.ours["ann"].say("a " + step)[-1].startswith("a OK"), step
        theirs, ours = both.ask("ann", "GETACL Together")
        assert listed(ours) == listed(theirs), step
        theirs, ours = both.ask("ben", f"MYRIGHTS {place('ben', 'Together')}")
        assert mine(ours) == mine(theirs), step
    assert listed(ours_of(both, "GETACL Together")) == {("$staff", frozenset("lr")), ("-$staff", frozenset("a")),
                                                        ("!$chiefs", frozenset(acl.RIGHTS)), ("ann@example.test", frozenset(acl.RIGHTS))}


def ours_of(both: Both, text: str) -> list[str]:
    return both.ours["ann"].say("a " + text)
