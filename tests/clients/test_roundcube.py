"""Roundcube in headless Chromium against the whole system: log in, list, read, flag, move, search, send.

Needs Debian's roundcube-core, roundcube-sqlite3, php-cli, php-sqlite3, chromium and chromium-driver, and selenium; skipped with the name of
what is missing.  PYMTA_SHOTS=DIR keeps a screenshot of each step.
"""
from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import free_ports
from tests.running import Sandbox, new_directory, wait_until

pytestmark = pytest.mark.clients

ROUNDCUBE = Path("/usr/share/roundcube")
NOBODY = 65534
LETTERS = [
    ("Grüße aus Köln", "From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <joerg@a.example>\nTo: alice@example.test\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=\n"
     "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nDer Dom steht noch.\n"),
    ("with attachment", "From: bea@b.example\nTo: alice@example.test\nSubject: with attachment\nMIME-Version: 1.0\n"
     "Content-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: text/html; charset=utf-8\n\n<p>see <b>below</b></p>\n--q\n"
     "Content-Type: text/csv; name=figures.csv\nContent-Disposition: attachment; filename=figures.csv\nContent-Transfer-Encoding: base64\n\n"
     "YSxiCjEsMgo=\n--q--\n"),
    ("to be moved", "From: carl@c.example\nTo: alice@example.test\nSubject: to be moved\n\nto the archive with me\n"),
]
CONFIG = """<?php
$config['db_dsnw'] = 'sqlite:///{home}/db?mode=0600';
$config['imap_host'] = 'tls://localhost:{imap}';
$config['smtp_host'] = 'tls://localhost:{submission}';
$config['imap_conn_options'] = $config['smtp_conn_options'] = ['ssl' => ['cafile' => '{ca}', 'verify_peer' => true, 'verify_peer_name' => true]];
$config['smtp_user'] = '%u';
$config['smtp_pass'] = '%p';
$config['des_key'] = 'abcdefghijklmnopqrstuvwx';
$config['log_dir'] = $config['temp_dir'] = '{home}/';
$config['log_driver'] = 'file';
$config['imap_debug'] = true;
$config['smtp_debug'] = true;
$config['skin'] = 'elastic';
$config['language'] = 'en_US';
$config['mail_domain'] = 'example.test';
$config['enable_installer'] = false;
$config['plugins'] = [];
$config['draft_autosave'] = 0;
$config['htmleditor'] = 0;
"""


def missing() -> str | None:
    if not (ROUNDCUBE / "index.php").exists():
        return "no Roundcube here; apt-get install roundcube-core roundcube-sqlite3"
    for program, package in (("php", "php-cli"), ("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        if not shutil.which(program):
            return f"no {program} here; apt-get install {package}"
    if b"pdo_sqlite" not in subprocess.run(["php", "-m"], capture_output=True).stdout:
        return "no pdo_sqlite in php here; apt-get install php-sqlite3"
    return None if importlib.util.find_spec("selenium") else "no selenium here; pip install selenium"


@pytest.fixture(scope="module")
def box(module_sandbox_factory) -> Sandbox:
    if reason := missing():
        pytest.skip(reason)
    return module_sandbox_factory()


@pytest.fixture(scope="module")
def home(box: Sandbox) -> Iterator[Path]:
    path = Path(new_directory())
    with sqlite3.connect(path / "db") as database:
        database.executescript((ROUNDCUBE / "SQL/sqlite.initial.sql").read_text())
    for name in ("defaults.inc.php", "mimetypes.php"):
        shutil.copy(f"/etc/roundcube/{name}", path / name)
    (path / "config.inc.php").write_text(CONFIG.format(home=path, imap=box.ends["imap"], submission=box.ends["submission"], ca=box.ends["ca_file"]))
    if os.getuid() == 0:
        for each in (path, *path.iterdir()):
            os.chown(each, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[str]:
    """Roundcube on PHP's own server."""
    port = free_ports(1)[0]
    # Debian's package serves /var/lib/roundcube/public_html, and takes its database from our configuration
    document_root = Path("/var/lib/roundcube/public_html")
    who: dict = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    with open(home / "php.log", "wb") as log:
        php = subprocess.Popen(["php", "-S", f"127.0.0.1:{port}", "-t", str(document_root), "-d", f"session.save_path={home}", "-d", f"sys_temp_dir={home}"],
                               env={"PATH": os.environ["PATH"], "HOME": str(home), "PHP_CLI_SERVER_WORKERS": "4", "ROUNDCUBE_CONFIG_DIR": str(home)},
                               stdout=log, stderr=log, cwd=home, start_new_session=True, **who)
    try:
        wait_until(lambda: php.poll() is not None or _answers(port), 20)
        yield f"http://127.0.0.1:{port}/"
    finally:
        os.killpg(php.pid, 15)
        php.wait(10)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Page:
    """Chromium on Roundcube, with the few gestures that the test makes."""

    def __init__(self, url: str, home: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1300,900", f"--user-data-dir={home}/chrome",
                     "--no-first-run", "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"):
            options.add_argument(word)
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_page_load_timeout(60)
        self.driver.get(url)
        self.shots = 0
        self.home = home

    def shot(self, name: str) -> None:
        if folder := os.environ.get("PYMTA_SHOTS"):
            self.shots += 1
            self.driver.save_screenshot(f"{folder}/{self.shots:02}-{name}.png")

    def js(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, true: Callable[[], object], what: str) -> None:
        """Until true() holds; stale and missing elements count as not yet."""
        from selenium.common.exceptions import WebDriverException

        def holds() -> bool:
            try:
                return bool(true())
            except WebDriverException:
                return False
        try:
            wait_until(holds, 40, lambda: f"waited in vain for {what}\n{self.subjects()}\n{(self.home / 'imap.log').read_text()[-4000:]}")
        except AssertionError:
            self.shot("failed")
            raise

    def idle(self) -> None:
        """Until Roundcube has no request under way."""
        self.wait(lambda: self.js("return window.rcmail && !rcmail.busy && (!window.jQuery || jQuery.active === 0)"), "Roundcube to be idle")
        time.sleep(0.1)

    def subjects(self) -> list[str]:
        """Of the rows that can be seen."""
        return self.js("""return [...document.querySelectorAll('#messagelist tbody tr')].filter(row => row.offsetParent)
                                   .map(row => row.querySelector('.subject a span').textContent.trim())""")

    def select(self, subject: str) -> None:
        """The row of a message, chosen as a click does."""
        assert self.js("""for (const [uid, row] of Object.entries(rcmail.message_list.rows))
                              if (row.obj.querySelector('.subject').textContent.includes(arguments[0])) { rcmail.message_list.select(uid); return true; }""", subject)
        self.wait(lambda: self.js("return document.getElementById('messagecontframe').contentDocument.body.textContent.includes(arguments[0])", subject),
                  f"the preview of {subject}")          # it comes after a moment, and only then commands are for this message
        self.idle()

    def command(self, name: str, *arguments: object) -> None:
        self.js("rcmail.command(arguments[0], ...arguments[1])", name, list(arguments))
        self.idle()


@pytest.fixture(scope="module")
def page(site: str, home: Path) -> Iterator[Page]:
    page = Page(site, home)
    yield page
    page.driver.quit()


def test_a_day_in_roundcube(box: Sandbox, home: Path, page: Page) -> None:
    from selenium.webdriver.common.by import By
    alice = box.user("alice")
    with box.smtp() as client:
        for _, letter in LETTERS:
            client.sendmail("someone@a.example", ["alice@example.test"], letter.replace("\n", "\r\n").encode(), ["BODY=8BITMIME"])
    box.wait_mail(3)
    find = page.driver.find_element

    page.wait(lambda: find(By.ID, "rcmloginuser"), "the form to log in")
    find(By.ID, "rcmloginuser").send_keys(alice["address"])
    find(By.ID, "rcmloginpwd").send_keys(alice["password"])
    page.shot("login")
    find(By.ID, "rcmloginsubmit").click()

    page.wait(lambda: len(page.subjects()) == 3, "the list")
    page.shot("list")
    assert sorted(page.subjects()) == sorted(subject for subject, _ in LETTERS)
    folders = page.js("return [...document.querySelectorAll('#mailboxlist li.mailbox > a')].map(e => e.getAttribute('rel'))")
    assert folders[0] == "INBOX" and set(folders) == {"INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"}

    page.select("Grüße")
    page.wait(lambda: page.js("const d = document.getElementById('messagecontframe').contentDocument; return d.body.textContent.includes('Der Dom steht noch')"),
              "the message")
    page.shot("read")
    page.select("with attachment")
    page.wait(lambda: page.js("return document.getElementById('messagecontframe').contentDocument.body.textContent.includes('figures.csv')"), "the attachment")
    page.shot("attachment")

    page.select("Grüße")
    page.js("rcmail.mark_message('flagged')")
    page.idle()
    page.select("to be moved")
    page.js("rcmail.command('move', 'Archive')")
    page.idle()
    page.wait(lambda: sorted(page.subjects()) == ["Grüße aus Köln", "with attachment"], "the message to be gone")
    page.shot("moved")
    client = box.imap()
    client.select("INBOX")
    assert client.search(None, "FLAGGED", "SEEN", "TEXT", "Dom")[1][0].split()
    assert client.select("Archive") == ("OK", [b"1"])
    client.logout()

    page.js("rcmail.set_list_options([], 'subject', 'ASC', 1)")
    page.wait(lambda: page.js("return rcmail.env.threading == 1") and len(page.subjects()) == 2, "the threads")
    page.idle()
    page.shot("threads")
    page.js("rcmail.gui_objects.qsearchbox.value = 'figures.csv'; rcmail.env.search_mods = {'*': {text: 1}}; rcmail.command('search')")
    page.wait(lambda: page.subjects() == ["with attachment"], "what was searched for")
    page.shot("search")
    page.command("reset-search")
    page.wait(lambda: len(page.subjects()) == 2, "all of them again")

    page.driver.get(page.driver.current_url.partition("?")[0] + "?_task=mail&_action=compose")
    page.wait(lambda: find(By.ID, "composebody"), "the form to write")
    page.idle()
    find(By.CSS_SELECTOR, ".recipient-input input").send_keys("bob@example.test,")
    page.js("""document.querySelector('[name=_subject]').value = 'Antwort: schöne Grüße';
               document.getElementById('composebody').value = 'Lieber Bob,\\n.\\nbis morgen 🙂\\n'""")
    page.shot("compose")
    find(By.CSS_SELECTOR, "button.send").click()
    box.wait_mail(1, "bob")
    page.shot("sent")
    received = Path(box.inbox("bob")[0]).read_bytes()
    assert b"From: alice@example.test\n" in received and "\n.\nbis morgen 🙂".encode() in received
    wait_until(lambda: box.inbox("alice", ".Sent"), 20)
    assert " bug " not in box.log() and "trouble" not in box.log()
    errors = home / "errors.log"
    assert not errors.exists(), errors.read_text()
