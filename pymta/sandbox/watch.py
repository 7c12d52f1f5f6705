"""watch: say how to use a running sandbox, then show what happens in it, a line for each event of its log.

argv: DIR.  Started by pymta-sandbox --watch when everything answers; a program of its own that imports next to nothing.
"""
from __future__ import annotations

import json
import os
import sys
import time

_LOOK_S = 0.2
_TOLD = ("accept", "route", "deliver", "defer", "bounce", "delayed", "done", "hold", "park", "unpark", "refuse", "login", "auth-failed",
         "corrupt", "config", "trouble", "bug", "start", "stop", "reload", "expunge", "tidy")
_COLOURS = {"accept": 36, "deliver": 32, "done": 32, "login": 36, "defer": 33, "hold": 33, "park": 33, "refuse": 33, "auth-failed": 33,
            "config": 33, "bounce": 31, "corrupt": 31, "trouble": 31, "bug": 31}


def how_to(ends: dict) -> str:
    """What to type: each command works as it stands."""
    me = ends["users"][0]
    you = ends["users"][-1]
    host, ca, directory = ends["host"], ends["ca_file"], os.path.dirname(ends["log"])
    smtp, submission, imap, pop3 = (f"{host}:{ends[name]}" for name in ("smtp", "submission", "imap", "pop3"))
    mine, yours = (_word(f"{user['address']}:{user['password']}") for user in (me, you))
    text = f"""
pymta is running below {directory}; Ctrl-C stops it, and the next run finds the mail where it is.
{_people(ends)}

Send a mail, as a stranger would:
  printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n' | curl -sS smtp://{smtp} --mail-from stranger@client.test --mail-rcpt {me['address']} -T -
as a user, over TLS and with a login:
  printf 'From: {me['address']}\\r\\nSubject: hello\\r\\n\\r\\nIt works.\\r\\n' | curl -sS smtp://{submission} --ssl-reqd --cacert {ca} \\
    -u {mine} --mail-from {me['address']} --mail-rcpt {you['address']} -T -
as a program of this host:
  printf 'Subject: hello\\n\\nIt works.\\n' | {ends['sendmail']} {me['address']}

Read it:
  curl -sS imap://{imap}/ -u {mine} -X 'STATUS INBOX (MESSAGES UNSEEN)'
  curl -sS 'imap://{imap}/INBOX;MAILINDEX=1' -u {mine}
  curl -sS pop3://{pop3}/1 -u {yours}
  ls {me['maildir']}/new

A mail client (Thunderbird, Apple Mail, mutt, a phone on this host): server {host}, user {me['address']}, password {me['password']},
  IMAP port {ends['imap']} (STARTTLS or none) or {ends['imaps']} (TLS); POP3 port {ends['pop3']} or {ends['pop3s']} (TLS);
  outgoing SMTP port {ends['submission']} (STARTTLS) or {ends['submissions']} (TLS), with the same login; let it trust {ca}.
  mutt -n -F /dev/null -e 'set ssl_starttls=no ssl_force_tls=no' -f imap://{me['address'].replace('@', '%40')}@{imap}/INBOX

Edit {directory}/etc/aliases, and it is in force.  See {directory}/spool for the queue.  What happens:
"""
    return text


def _people(ends: dict) -> str:
    return "\n".join(f"  {user['address']}, password {user['password']}" for user in ends["users"][:6])


def _word(text: str) -> str:
    """text as one word of a shell."""
    plain = text.isascii() and all(c.isalnum() or c in "@%+=:,./-_" for c in text)
    return text if plain else "'" + text.replace("'", "'\\''") + "'"


def tell(line: str, *, colour: bool) -> str:
    """One line of the log as a person reads it, or an empty text for what is no event."""
    program, colon, rest = line.rstrip("\n").partition(": ")
    word, _, values = rest.partition(" ")
    if not colon or word not in _TOLD:
        return line.rstrip("\n")
    start = f"{program.removeprefix('pymta-'):<8} {word:<8}"
    if colour and word in _COLOURS:
        start = f"\033[{_COLOURS[word]}m{start}\033[0m"
    return f"{time.strftime('%H:%M:%S')} {start} {values}"


def follow(path: str) -> None:
    """Print what is added to the log, until killed."""
    colour = sys.stdout.isatty()
    file = open(path, encoding="utf-8", errors="replace")
    file.seek(0, os.SEEK_END)
    part = ""
    while True:
        text = file.read()
        if not text:
            time.sleep(_LOOK_S)
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)                            # it was cut
            continue
        *lines, part = (part + text).split("\n")
        for line in lines:
            print(tell(line, colour=colour), flush=True)


def main(argv: list[str] | None = None) -> int:
    directory = (argv if argv is not None else sys.argv[1:])[0]
    with open(os.path.join(directory, "endpoints.json"), encoding="utf-8") as file:
        ends = json.load(file)
    try:
        print(how_to(ends), flush=True)
        follow(ends["log"])
    except BrokenPipeError:
        return 0                                        # nobody looks any more
    return 0


if __name__ == "__main__":
    sys.exit(main())
