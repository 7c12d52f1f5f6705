"""Many clients of one user at once, and a stranger in the Maildir: at checkpoints all of them and the disk must agree.

    crowd(port, "ann", "pw", maildir, seed=1, clients=6, rounds=3, round_s=1.0)         # raises Lie, with what that client heard last

The seed decides what each client does, not what comes first: a failure may want several runs of its seed to come again.
"""
from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from tests.strictclient import Client, Gone, Lie, Truth

STABLE = ("INBOX", "A", "B")
FLEETING = ("X0", "X1", "X2", "X0.k")
MESSAGE = b"From: Ann <ann@a.example>\r\nSubject: %d\r\nMessage-ID: <%d.%d@a.example>\r\n\r\n%b\r\n"
LETTERS = {b"S": b"\\Seen", b"F": b"\\Flagged", b"T": b"\\Deleted", b"R": b"\\Answered", b"D": b"\\Draft"}
FEW = 60                                                # messages in a mailbox, about
WAIT_S = 120.0

# The stranger: toggles flags by rename, takes mail out of new/, delivers and removes, as fast as it can.  Lines on its stdin pause it.
STRANGER = """
import os, random, select, sys, time
root, rng, uid = sys.argv[1].encode(), random.Random(sys.argv[2]), os.stat(sys.argv[1]).st_uid
if os.getuid() == 0: os.setegid(os.stat(root).st_gid); os.seteuid(uid)
count = 0
def act(box):
    global count
    count += 1
    kind = rng.random()
    if kind < 0.03:
        name = b"%d.M%dP%dQ%d.stranger" % (time.time(), time.time_ns() // 1000 % 10**6, os.getpid(), count)
        with open(box + b"/tmp/" + name, "wb") as file: file.write(b"Subject: strange\\n\\n%d\\n" % count)
        os.rename(box + b"/tmp/" + name, box + b"/new/" + name)
        return
    part = b"/new/" if kind < 0.1 else b"/cur/"
    names = os.listdir(box + part)
    if not names: return
    name = rng.choice(names)
    if kind > 0.99: return os.unlink(box + part + name)
    base, _, info = name.partition(b":2,")
    letters = set(info) ^ {rng.choice(b"SFR")}
    os.rename(box + part + name, box + b"/cur/" + base + b":2," + bytes(sorted(letters)))
while True:
    if select.select([sys.stdin], [], [], 0.0005)[0]:
        if not sys.stdin.readline(): break
        print("quiet", flush=True)
        if not sys.stdin.readline(): break
    boxes = [root] + [root + b"/" + name for name in os.listdir(root) if name[:1] == b"." and name[:2] != b".."]
    try: act(rng.choice(boxes))
    except OSError: pass
"""


class Actor:
    """One client and what it does next."""

    def __init__(self, client: Client, number: int, seed: str) -> None:
        self.client, self.number, self.rng = client, number, random.Random(seed)
        self.count = 0
        self.done: Counter[str] = Counter()
        self.work = [(6, self.look), (6, self.fetch), (12, self.store), (5, self.store_all), (4, self.copy), (3, self.move), (3, self.expunge),
                     (4, self.append), (3, self.search), (3, self.idle), (3, self.choose), (1, self.status), (1, self.mailboxes), (1, self.again)]

    def step(self) -> None:
        client = self.client
        try:
            if not client.mailbox:
                self.choose()
            act = self.rng.choices([work for _, work in self.work], [weight for weight, _ in self.work])[0]
            act()
            self.done[act.__name__] += 1
        except Gone:
            client.leave()
            client.sock.close()
            client.connect()

    def name(self) -> str:
        return self.rng.choice(STABLE * 3 + FLEETING)

    def some(self, most: int = 8) -> list[int]:
        """Numbers whose UIDs are known."""
        known = [number for number, slot in enumerate(self.client.slots) if slot.uid]
        return sorted(self.rng.sample(known, min(len(known), self.rng.randint(1, most))))

    def must(self, reply, *codes: bytes) -> None:
        """OK, or NO with one of these codes.  What says that our own mailbox has gone is followed by BYE."""
        if reply.text.startswith(b"[NONEXISTENT") and b"NONEXISTENT" not in codes:
            self.client.command(b"NOOP")
        if reply.kind != b"OK" and not any(reply.text.startswith(b"[" + code) for code in codes):
            self.client.lie(f"{reply.kind!r} {reply.text!r}")

    def choose(self) -> None:
        for name in (self.name(), "INBOX"):
            reply = self.client.select(name, examine=self.rng.random() < 0.1)
            self.must(reply, b"NONEXISTENT")
            if reply.kind == b"OK":
                return

    def look(self) -> None:
        self.client.command(self.rng.choice((b"NOOP", b"CHECK")))
        if self.rng.random() < 0.7:
            self.client._resolve()

    def fetch(self) -> None:
        client, uid = self.client, self.rng.random() < 0.5
        chosen = self.some(3)
        if not chosen:
            return
        if client.read_only and self.rng.random() < 0.5:
            return client._resolve()
        items = self.rng.choice((b"FLAGS", b"BODY.PEEK[]", b"BODY[]", b"(FLAGS BODY.PEEK[])", b"(INTERNALDATE FLAGS RFC822.SIZE)"))
        numbers = [client.slots[number].uid if uid else number + 1 for number in chosen]
        if not uid and b"BODY" in items:
            items = items.replace(b"(", b"").replace(b")", b"")
            items = b"(UID %b)" % items
        self.must(client.command(b"%bFETCH %b %b" % (b"UID " if uid else b"", b",".join(b"%d" % number for number in numbers), items)))

    def store(self) -> None:
        client, rng = self.client, self.rng
        chosen = self.some()
        if not chosen or client.read_only:
            return
        flags = rng.sample([client.own_keyword, client.own_keyword, b"\\Seen", b"\\Flagged", b"\\Answered", b"\\Draft", b"$common"], rng.randint(1, 3))
        self.must(client.store(chosen, rng.choice((b"+", b"-")), list(dict.fromkeys(flags)), uid=rng.random() < 0.5, silent=rng.random() < 0.4))

    def store_all(self) -> None:
        """Replace all flags, on condition that they are what we know: nobody's is lost."""
        client, rng = self.client, self.rng
        chosen = [number for number in self.some(1) if client.slots[number].modseq and client.slots[number].flags is not None]
        if not chosen or client.read_only:
            return
        slot = client.slots[chosen[0]]
        flags = set(slot.flags or ()) ^ {rng.choice((client.own_keyword, b"\\Seen", b"\\Draft"))}
        self.must(client.store(chosen, b"", sorted(flags), uid=rng.random() < 0.5, silent=rng.random() < 0.4, since=slot.modseq))

    def copy(self) -> None:
        chosen = self.some(4)
        if chosen and len(self.client.slots) < FEW:
            self.must(self.client.copy(chosen, self.name(), uid=self.rng.random() < 0.5), b"TRYCREATE", b"EXPUNGEISSUED")

    def move(self) -> None:
        chosen = self.some(4)
        if chosen and not self.client.read_only:
            self.must(self.client.copy(chosen, self.name(), uid=self.rng.random() < 0.5, move=True), b"TRYCREATE", b"EXPUNGEISSUED")

    def expunge(self) -> None:
        client = self.client
        if client.read_only:
            return
        chosen = self.some(2 if len(client.slots) < FEW else FEW // 2)
        if chosen:
            uids = [client.slots[number].uid for number in chosen]
            self.must(client.store(chosen, b"+", [b"\\Deleted"], uid=self.rng.random() < 0.5))
            kind = self.rng.random()
            if kind < 0.4:
                self.must(client.command(b"UID EXPUNGE %b" % b",".join(b"%d" % uid for uid in uids)))
            elif kind < 0.8:
                self.must(client.command(b"EXPUNGE"))
            else:
                client.leave()
                self.must(client.command(self.rng.choice((b"CLOSE", b"UNSELECT"))))

    def append(self) -> None:
        if len(self.client.slots) > FEW:
            return
        messages = []
        for _ in range(self.rng.choice((1, 1, 1, 3))):
            self.count += 1
            flags = self.rng.sample([self.client.own_keyword, b"\\Seen", b"$common"], self.rng.randint(0, 2))
            messages.append((flags, MESSAGE % (self.count, self.number, self.count, b"x" * self.rng.randint(1, 3000))))
        self.must(self.client.append(self.name(), messages), b"TRYCREATE")

    def search(self) -> None:
        if self.rng.random() < 0.5:
            return self.client.search_own()
        before = len(self.client.slots)
        reply = self.client.command(b"SEARCH ALL")
        found = [int(word) for line, _ in reply.lines if line.startswith(b"* SEARCH") for word in line.split()[2:]]
        if not set(found) <= set(range(1, len(self.client.slots) + 1)) or len(found) > len(self.client.slots):
            self.client.lie(f"SEARCH ALL finds {found} of {before}")

    def idle(self) -> None:
        self.client.idle(self.rng.random() * 0.2)

    def status(self) -> None:
        self.must(self.client.command(b"STATUS %b (MESSAGES UIDNEXT UNSEEN UIDVALIDITY HIGHESTMODSEQ)" % self.name().encode()), b"NONEXISTENT")

    def mailboxes(self) -> None:
        client, rng = self.client, self.rng
        one, other = (name.encode() for name in rng.sample(FLEETING, 2))
        kind = rng.random()
        if kind < 0.5:
            self.must(client.command(b"CREATE " + one), b"ALREADYEXISTS")
        elif client.mailbox.encode() in (one, one + b".k"):
            return                                      # what a client does to its own mailbox is a matter of its own
        elif kind < 0.75:
            self.must(client.command(b"RENAME %b %b" % (one, other)), b"ALREADYEXISTS", b"NONEXISTENT", b"CANNOT")
        else:
            self.must(client.command(b"DELETE " + one), b"NONEXISTENT")

    def again(self) -> None:
        self.client.leave()
        self.client.command(b"LOGOUT")
        self.client.sock.close()
        self.client.connect()

    def check(self) -> tuple[int, list[tuple[int, frozenset[bytes]]]]:
        """Nothing changes now: what we believe must be what a fetch of everything says."""
        client = self.client
        for _ in range(3):
            try:
                if not client.mailbox:
                    self.choose()
                client.catch_up()
                break
            except Gone:
                client.leave()
                client.sock.close()
                client.connect()
        believed = [(slot.uid, slot.flags, slot.modseq) for slot in client.slots]
        client.command(b"UID FETCH 1:* (FLAGS MODSEQ)")
        said = [(slot.uid, slot.flags, slot.modseq) for slot in client.slots]
        if len(said) != len(believed) or any(a[:2] != b[:2] or (client.qresync and a[2] != b[2]) for a, b in zip(believed, said)):
            client.lie(f"{client.mailbox}: believed and said differ: {[(a, b) for a, b in zip(believed, said) if a != b]}")
        return client.uidvalidity, [(slot.uid, slot.flags or frozenset()) for slot in client.slots]


def on_disk(directory: Path) -> tuple[int, list[tuple[int, frozenset[bytes]]]]:
    """(UIDVALIDITY, UIDs with flags) of a Maildir as its files say.  Files without UIDs stand at the end, as what no view can have."""
    keywords = {}
    if (directory / "dovecot-keywords").exists():
        for line in (directory / "dovecot-keywords").read_bytes().splitlines():
            number, _, name = line.partition(b" ")
            keywords[97 + int(number)] = name
    files = {name.partition(b":2,")[0]: name.partition(b":2,")[2] for part in (b"new", b"cur") for name in os.listdir(os.fsencode(directory / os.fsdecode(part)))}
    head, *lines = (directory / "dovecot-uidlist").read_bytes().splitlines()
    uidvalidity = next(int(word[1:]) for word in head.split()[1:] if word[:1] == b"V")
    out: dict[int, frozenset[bytes]] = {}
    for line in lines:
        words, _, base = line.partition(b" :")
        base = base.partition(b":2,")[0]
        if base in files:
            info = files.pop(base)
            out[int(words.split()[0])] = frozenset(LETTERS.get(bytes([letter])) or keywords[letter] for letter in info)
    for number, base in enumerate(files):               # that is wrong where somebody looks
        out[(1 << 32) + number] = frozenset((base,))
    return uidvalidity, sorted(out.items())


def crowd(port: int, user: str, password: str, maildir: Path, *, seed: int, clients: int, rounds: int, round_s: float) -> Counter[str]:
    """How often each thing was done.  The Maildir need not exist."""
    truth, views, errors = Truth(), {}, []
    actors = [Actor(Client(port, user, password, truth, b"$own%d" % number, qresync=number % 2 == 1), number, f"{seed}:{number}")
              for number in range(clients)]
    for name in (*STABLE[1:], *FLEETING[:2]):
        actors[0].must(actors[0].client.command(b"CREATE " + name.encode()), b"ALREADYEXISTS")
    stranger = subprocess.Popen([sys.executable, "-c", STRANGER, str(maildir), str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert stranger.stdin and stranger.stdout

    def tell_stranger(answer: bool) -> None:
        assert stranger.stdin and stranger.stdout
        stranger.stdin.write("\n")
        stranger.stdin.flush()
        assert not answer or stranger.stdout.readline() == "quiet\n"

    def compare() -> None:
        disk = dict(on_disk(maildir / ("" if entry == "INBOX" else "." + entry)) for entry in
                    ["INBOX", *(path.name[1:] for path in maildir.iterdir() if path.name[0] == "." and (path / "dovecot-uidlist").exists())])
        for uidvalidity, view in views.values():
            if disk.get(uidvalidity) != view:
                differ = sorted(set(view) ^ set(disk.get(uidvalidity, [])), key=lambda pair: pair[0])
                raise Lie(f"a view of {uidvalidity} and the disk differ in {differ[:6]}")
        tell_stranger(False)

    def passing(action) -> threading.Barrier:
        def act() -> None:
            try:
                action()
            except BaseException as error:
                errors.append((-1, error))
                raise
        return threading.Barrier(clients, act, WAIT_S)
    quiet, compared = passing(lambda: tell_stranger(True)), passing(compare)

    def life(actor: Actor) -> None:
        try:
            for _ in range(rounds):
                end = time.monotonic() + round_s
                while time.monotonic() < end:
                    actor.step()
                quiet.wait()
                views[actor.number] = actor.check()
                compared.wait()
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:
            errors.append((actor.number, error))
            quiet.abort()
            compared.abort()

    threads = [threading.Thread(target=life, args=(actor,)) for actor in actors]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        stranger.stdin.close()
        stranger.wait()
        for actor in actors:
            actor.client.sock.close()
    if errors:
        number, error = errors[0]
        story = actors[number].client.story() if number >= 0 and not isinstance(error, Lie) else ""
        raise Lie(f"seed {seed}, client {number}: {type(error).__name__} {error}\n{story}") from error
    return sum((actor.done for actor in actors), Counter())
