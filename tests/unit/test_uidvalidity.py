"""The counter of UIDVALIDITY: never the same twice, as Dovecot keeps it."""
import os
import threading

from pymta import clock
from pymta.formats.uidvalidity import next_uidvalidity


def test_counts_up_from_the_clock(tmp_path):
    root = os.fsencode(tmp_path)
    first = next_uidvalidity(root)
    assert first >= int(clock.now()) - 5
    assert next_uidvalidity(root) == first + 1
    assert sorted(os.listdir(tmp_path)) == ["dovecot-uidvalidity", f"dovecot-uidvalidity.{first + 1:08x}"]
    assert (tmp_path / "dovecot-uidvalidity").read_text() == f"{first + 1:08x}"


def test_goes_on_where_dovecot_was(tmp_path):
    (tmp_path / "dovecot-uidvalidity").write_text("6b0468e0")
    (tmp_path / "dovecot-uidvalidity.6b0468e3").touch(0o444)
    assert next_uidvalidity(os.fsencode(tmp_path)) == 0x6b0468e4


def test_many_at_once_get_different_numbers(tmp_path):
    root, given = os.fsencode(tmp_path), []
    threads = [threading.Thread(target=lambda: given.extend(next_uidvalidity(root) for _ in range(10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == len(set(given)) == 40
