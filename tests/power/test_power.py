"""A real power cut under load: nothing that was promised is lost, nothing comes twice.

The whole system runs on ext4 under load by SMTP and sendmail while its users move mail about; at random moments the disk is cloned
at one point in time (volume.py says why that is a power cut), each clone is mounted, the system started on it, and everything counted.

    together    spool and Maildirs on a volume of their own         rename, syncfs
    apart       the spool on a volume of its own                    copy, syncfs
    one         spool and Maildirs as on a root file system         rename, fdatasync

`make test-power` makes 10 cuts of each, PYMTA_CUTS=3 is the short form; one more cut hits each system while it recovers from the last.
"""
from __future__ import annotations

import os
import random
import threading
import time

import pytest

from tests.load import ALIASES, KINDS, Load, copies, debris, mark_of, queued, wait_empty
from tests.peer import Peer
from tests.power import volume
from tests.power.volume import MIB, Part, Volumes
from tests.running import Sandbox, Sandboxes, new_directory

pytestmark = [pytest.mark.power, pytest.mark.timeout(3600)]

CUTS = int(os.environ.get("PYMTA_CUTS", "10"))
SEED = int(os.environ.get("PYMTA_SEED", "0")) or random.randrange(1, 1 << 30)
LAYOUTS = {"together": ((Part("", 1536 * MIB),), "auto"), "apart": ((Part("", 1024 * MIB), Part("spool", 512 * MIB)), "auto"),
           "one": ((Part("", 1536 * MIB),), "no")}
_EVERY_S = (0.6, 2.5)                                   # between two cuts


@pytest.fixture(scope="module")
def volumes():
    why = volume.why_not()
    if why:
        print(f"no power is cut here: {why}")
        pytest.skip(why)
    with Volumes() as made:
        yield made


def options(far: Peer, own_filesystem: str) -> dict[str, list[str]]:
    return {"set": ["queue.retry=0s,1s,1s,2s", "queue.retry_max=3s", "queue.free_min=0", f"queue.own_filesystem={own_filesystem}"],
            "transport": [f"remote.test=127.0.0.1:{far.port}"]}


def marks(far: Peer) -> set[str]:
    return {mark_of(mail.data.replace(b"\r\n", b"\n")) for mail in list(far.mails)}


class Mutt(threading.Thread):
    """Users who read what has come: from new/ to cur/, or to another folder."""

    def __init__(self, sandbox: Sandbox, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self.homes = [f"{sandbox.directory}/home/{user}/Maildir" for user in ("alice", "bob")]
        self.dice = dice
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.wait(0.2):
            for box in self.homes:
                for name in os.listdir(f"{box}/new"):
                    if self.dice.random() < 0.5:
                        os.rename(f"{box}/new/{name}", self.dice.choice((f"{box}/cur/{name}:2,S", f"{box}/.Archive/cur/{name}:2,S")))

    def end(self) -> None:
        self.ending.set()
        self.join(60)


class Cut:
    """A clone, and what was promised when it was made.  far: what the other host had had by then, and perhaps a little more."""

    def __init__(self, volumes: Volumes, image: str, name: str, promised: set[str], far: set[str], seen_by: Peer) -> None:
        self.promised = set(promised)                   # before the clone
        self.image = volumes.clone(image, name)
        time.sleep(0.3)                                 # the peer notes a message after it has said 250
        self.far = far | marks(seen_by)


NO_SYNCS = """
import os
os.fsync = os.fdatasync = lambda fd: None
from pymta import durable
durable.sync_fs = lambda path: None
"""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_power_cut_loses_nothing_and_doubles_nothing(volumes, layout):
    parts, own_filesystem = LAYOUTS[layout]
    dice = random.Random(SEED)
    print(f"\n{layout}: seed {SEED}")
    image = volumes.disk(layout, parts)
    cuts: list[Cut] = []
    with Peer() as far, volumes.mounted(image, parts) as directory, Sandboxes() as sandboxes:
        sandbox = sandboxes.start(directory, **options(far, own_filesystem))
        with open(sandbox.ends["etc"] + "/aliases", "w", encoding="utf-8") as file:
            file.write(ALIASES)
        os.sync()
        time.sleep(1.1)                                 # the aliases are in force
        load, mutt = Load(sandbox, sessions=12, injectors=2, seed=SEED), Mutt(sandbox, dice)
        load.start()
        mutt.start()
        for number in range(CUTS):
            time.sleep(dice.uniform(*_EVERY_S))
            cuts.append(Cut(volumes, image, f"{layout}-{number}", load.ledger.promised, set(), far))
        load.stop()
        mutt.end()
        wait_empty(sandbox)
        lost, twice = load.ledger.faults(copies(f"{directory}/home"), remote=marks(far).__contains__)
        assert not lost and not twice, ("without any cut", lost[:5], twice[:5])

    sums = [0, 0, 0]
    faults = []
    for number, cut in enumerate(cuts):
        again = dice.uniform(0.5, 2.5) if number == len(cuts) - 1 else None
        for what, lost, twice in examine(volumes, load, cut, parts, own_filesystem, again):
            print(f"{layout} cut {number + 1}{what}: {len(cut.promised)} acknowledged, {len(lost)} lost, {len(twice)} twice")
            sums = [sums[0] + len(cut.promised), sums[1] + len(lost), sums[2] + len(twice)]
            faults += [*lost, *twice]
    print(f"{layout}: {CUTS} cuts and one more, {len(load.ledger.promised)} messages acknowledged in all; "
          f"summed over the cuts {sums[0]} acknowledged, {sums[1]} lost, {sums[2]} twice")
    volumes.remove(image)
    assert not faults, faults[:20]
    assert all(cut.promised for cut in cuts[1:]), "no load worth the name"


def test_without_syncs_the_same_cut_loses_what_was_promised(volumes):
    """So the cuts above would have shown a missing sync."""
    parts, _ = LAYOUTS["one"]
    home = new_directory()
    with open(f"{home}/sitecustomize.py", "w", encoding="utf-8") as file:
        file.write(NO_SYNCS)
    image = volumes.disk("careless", parts)
    with Peer() as far:
        with volumes.mounted(image, parts) as directory, Sandboxes() as sandboxes:
            sandboxes.directories.append(home)
            sandbox = sandboxes.start(directory, environment={**os.environ, "PYTHONPATH": home}, **options(far, "no"))
            os.sync()
            load = Load(sandbox, sessions=6, injectors=0, seed=SEED, kinds=KINDS[:2])
            load.start()
            time.sleep(3)
            cut = Cut(volumes, image, "careless-cut", load.ledger.promised, set(), far)
            load.stop()
        (_, lost, _), = examine(volumes, load, cut, parts, "no", None)
    volumes.remove(image)
    print(f"\nwithout syncs: {len(cut.promised)} acknowledged, {len(lost)} lost")
    assert lost


def examine(volumes: Volumes, load: Load, cut: Cut, parts: tuple[Part, ...], own_filesystem: str,
            again_after_s: float | None) -> list[tuple[str, list[str], list[str]]]:
    """(what, lost, twice) of a clone when the system has been started on it; again_after_s: of a second cut, too, so soon after that start."""
    second = None
    with Peer() as far, volumes.mounted(cut.image, parts) as directory, Sandboxes() as sandboxes:
        waiting = len(queued(f"{directory}/spool"))
        sandbox = sandboxes.start(directory, wait=again_after_s is None, **options(far, own_filesystem))
        if again_after_s is not None:
            time.sleep(again_after_s)
            second = Cut(volumes, cut.image, os.path.basename(cut.image)[:-4] + "-again", cut.promised, cut.far, far)
            sandbox.wait_ready()
        wait_empty(sandbox)
        lost, twice = load.ledger.faults(copies(f"{directory}/home"), cut.promised, (cut.far | marks(far)).__contains__)
        twice += [f"debris: {path}" for path in debris(directory)]
        assert sandbox.stop() == 0
    volumes.remove(cut.image)
    out = [(f" ({waiting} files waited)", lost, twice)]
    if second:
        out += [(f" and again while it recovered{what}", lost, twice)
                for what, lost, twice in examine(volumes, load, second, parts, own_filesystem, None)]
    return out
