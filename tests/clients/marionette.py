"""marionette: Thunderbird without a screen, told what to do by its own JavaScript over its remote control.

    with Thunderbird(home) as thunderbird:
        thunderbird.run("return await Promise.resolve(args[0] + 1)", 1)     # -> 2; privileged, in the main window

The protocol: each packet is its length in digits, ":", and JSON: [0, number, command, parameters] and [1, number, error, result].
"""
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.daemons import free_ports

NOBODY = 65534
START_S = 60.0
PREFERENCES = {
    "app.update.enabled": False, "app.donation.eoy.version.viewed": 999, "datareporting.policy.dataSubmissionEnabled": False,
    "mail.provider.suppress_dialog_on_startup": True, "mail.shell.checkDefaultClient": False, "mail.rights.version": 1,
    "mailnews.start_page.enabled": False, "extensions.update.enabled": False, "services.settings.server": "http://127.0.0.1:9/",
    "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False, "mail.biff.alert.show_preview": False,
    "mail.instrumentation.postUrl": "", "browser.safebrowsing.malware.enabled": False, "browser.safebrowsing.phishing.enabled": False,
}


class Thunderbird:
    """home: a directory for its profile and logs, which goes to nobody where we are root."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._number = 0
        port = free_ports(1)[0]
        profile = home / "profile"
        profile.mkdir()
        rows = {**PREFERENCES, "marionette.port": port}
        (profile / "user.js").write_text("".join(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in rows.items()))
        who: dict = {}
        if os.getuid() == 0:
            who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            for path in (home, profile, profile / "user.js"):
                os.chown(path, NOBODY, NOBODY)
        with open(home / "said", "wb") as said:
            self._process = subprocess.Popen(
                ["thunderbird", "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", str(profile)],
                env={"HOME": str(home), "PATH": os.environ["PATH"], "MOZ_HEADLESS": "1", "LANG": "C.UTF-8", "MOZ_LOG": "IMAP:4,sync",
                     "MOZ_LOG_FILE": str(home / "imap")}, stdout=said, stderr=said, cwd=home, start_new_session=True, **who)
        try:
            self._socket = self._connect(port)
            self._hear()
            self._command("WebDriver:NewSession", {"capabilities": {}})
            self._command("Marionette:SetContext", {"value": "chrome"})
            self._command("WebDriver:SetTimeouts", {"script": 90_000})
        except BaseException:
            self.stop()
            raise

    def _connect(self, port: int) -> socket.socket:
        end = time.monotonic() + START_S
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), 120)
            except OSError:
                assert time.monotonic() < end and self._process.poll() is None, (self.home / "said").read_text()[-3000:]
                time.sleep(0.1)

    def _hear(self) -> Any:
        digits = b""
        while not digits.endswith(b":"):
            digits += self._octets(1)
        return json.loads(self._octets(int(digits[:-1])))

    def _octets(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            assert more, "Thunderbird has gone"
            data += more
        return data

    def _command(self, name: str, parameters: dict) -> Any:
        self._number += 1
        packet = json.dumps([0, self._number, name, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(packet), packet))
        _, number, error, result = self._hear()
        assert number == self._number and not error, f"{name}: {error}"
        return result

    def run(self, script: str, *args: object) -> Any:
        """The value of an asynchronous function with this body, which sees args."""
        body = "const [args, done] = arguments; (async () => {" + script + "})().then(value => done({value}), error => done({error: `${error}\\n${error.stack}`}));"
        result = self._command("WebDriver:ExecuteAsyncScript", {"script": body, "args": [list(args)], "newSandbox": False, "sandbox": "system"})["value"]
        assert "error" not in result, result["error"]
        return result.get("value")

    def log(self) -> str:
        """What its IMAP has logged: every line of every conversation."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.home.glob("imap*")))

    def stop(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def __enter__(self) -> Thunderbird:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
