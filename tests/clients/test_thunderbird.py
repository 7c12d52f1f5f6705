"""Thunderbird ESR, headless, against the whole system: log in, hear of mail by IDLE, read, flag, move, make a folder, send.

Needs Debian's thunderbird; skipped without it.
"""
from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.marionette import Thunderbird
from tests.running import Sandbox, new_directory, wait_until

pytestmark = pytest.mark.clients

# alice's account: the sandbox's authority is trusted, her password is known; no connection is made yet
ACCOUNT = """
const [user, password, authority, imap, submission] = args;
globalThis.MailServices = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs").MailServices;
Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(authority, "CTu,,");
for (const origin of ["imap://localhost", "smtp://localhost"]) {
    const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    login.init(origin, null, origin, user, password, "", "");
    await Services.logins.addLoginAsync(login);
}
const server = globalThis.server = MailServices.accounts.createIncomingServer(user, "localhost", "imap");
server.port = imap;
server.socketType = Ci.nsMsgSocketType.SSL;
server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
const smtp = MailServices.outgoingServer.createServer("smtp").QueryInterface(Ci.nsISmtpServer);
smtp.hostname = "localhost";
smtp.port = submission;
smtp.username = user;
smtp.socketType = Ci.nsMsgSocketType.alwaysSTARTTLS;
smtp.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
const identity = globalThis.identity = MailServices.accounts.createIdentity();
identity.email = user;
identity.fullName = "Alice";
identity.smtpServerKey = smtp.key;
const account = globalThis.account = MailServices.accounts.createAccount();
account.addIdentity(identity);
account.incomingServer = server;
globalThis.until = async (holds, what) => {
    for (let n = 0; n < 400; n++) {
        const value = await holds();
        if (value) return value;
        await new Promise(resolve => window.setTimeout(resolve, 100));
    }
    throw new Error("waited in vain for " + what);
};
globalThis.flag = name => server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags[name]);
globalThis.find = (folder, subject) => [...folder.messages].find(message => message.mime2DecodedSubject == subject);
"""
CONNECT = """
server.getNewMessages(server.rootFolder, top.msgWindow ?? null, null);
await until(() => flag("Inbox"), "the folders");
flag("Inbox").updateFolder(top.msgWindow ?? null);
await until(() => flag("Inbox").getTotalMessages(false) == args[0], "the messages");
return [...flag("Inbox").messages].map(message => [message.mime2DecodedSubject, message.isRead]);
"""
FOLDERS = """
await until(() => server.rootFolder.descendants.length >= 6, "all folders");
return Object.fromEntries(["Inbox", "Drafts", "SentMail", "Junk", "Trash", "Archive"].map(name => [name, flag(name)?.name ?? null]));
"""
READ = """
const { MsgHdrToMimeMessage } = ChromeUtils.importESModule("resource:///modules/gloda/MimeMessage.sys.mjs");
const header = find(flag("Inbox"), args[0]);
return await new Promise(resolve => MsgHdrToMimeMessage(header, null, (_, mime) =>
    resolve([mime.coerceBodyToPlaintext(flag("Inbox")), mime.allUserAttachments.map(one => one.name), mime.headers.from[0]]), true));
"""
ACT = """
const inbox = flag("Inbox"), header = find(inbox, args[0]);
inbox.markMessagesFlagged([header], true);
inbox.markMessagesRead([header], true);
inbox.addKeywordsToMessages([header], "$label1");
inbox.createSubfolder("Grün & x", null);
const target = await until(() => inbox.subFolders.find(folder => folder.name == "Grün & x") ?? server.rootFolder.descendants.find(folder => folder.name == "Grün & x"), "the new folder");
const moved = find(inbox, args[1]);
await new Promise((resolve, reject) => MailServices.copy.copyMessages(inbox, [moved], target, true,
    {onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return ""; }, onStopCopy(status) { status ? reject(new Error(status)) : resolve(); }}, null, false));
return target.URI;
"""
POP3 = """
const [user, password, authority, port] = args;
globalThis.MailServices = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs").MailServices;
Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(authority, "CTu,,");
const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
login.init("mailbox://localhost", null, "mailbox://localhost", user, password, "", "");
await Services.logins.addLoginAsync(login);
// its passwords are kept under mailbox:, as its folders are
const server = globalThis.server = MailServices.accounts.createIncomingServer(user, "localhost", "pop3").QueryInterface(Ci.nsIPop3IncomingServer);
server.port = port;
server.socketType = Ci.nsMsgSocketType.alwaysSTARTTLS;
server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
server.leaveMessagesOnServer = true;
const account = MailServices.accounts.createAccount();
account.addIdentity(MailServices.accounts.createIdentity());
account.incomingServer = server;
"""
GET = """
const inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
await new Promise((resolve, reject) => MailServices.pop3.GetNewMail(top.msgWindow ?? null, {
    OnStartRunningUrl() {}, OnStopRunningUrl(url, status) { status ? reject(new Error(status)) : resolve(); }}, inbox, server));
return [...inbox.messages].map(message => message.mime2DecodedSubject);
"""
SEND = """
const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
fields.from = "Alice <" + identity.email + ">";
fields.to = args[0];
fields.subject = "schöne Grüße";
const { MessageSend } = ChromeUtils.importESModule("resource:///modules/MessageSend.sys.mjs");
await new Promise((resolve, reject) => {
    const send = new MessageSend();
    send.createAndSendMessage(null, identity, account.key, fields, false, false, Ci.nsIMsgSend.nsMsgDeliverNow, null, "text/plain", "bis morgen\\n.\\nAlice\\n",
        null, null, {onStartSending() {}, onProgress() {}, onStatus() {}, onSendNotPerformed() {}, onGetDraftFolderURI() {}, onTransportSecurityError() {},
        onStopSending(id, status, message) { status ? reject(new Error(status + " " + message)) : resolve(); }}, "", "", Ci.nsIMsgCompType.New);
});
"""


@pytest.fixture(scope="module")
def box(module_sandbox_factory) -> Sandbox:
    if not shutil.which("thunderbird"):
        pytest.skip("no thunderbird here; apt-get install thunderbird")
    return module_sandbox_factory()


@pytest.fixture
def home() -> Iterator[Path]:
    path = new_directory()
    yield Path(path)
    shutil.rmtree(path, ignore_errors=True)


def letter(subject: str, text: str = "hello") -> str:
    return f"From: Bea <bea@b.example>\nTo: alice@example.test\nSubject: {subject}\nMessage-ID: <{subject.replace(' ', '.')}@b.example>\n\n{text}\n"


ATTACHED = ("From: Carl <carl@c.example>\nTo: alice@example.test\nSubject: with attachment\nMessage-ID: <a@c.example>\nMIME-Version: 1.0\n"
            "Content-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: text/plain\n\nsee below\n--q\nContent-Type: text/csv; name=figures.csv\n"
            "Content-Disposition: attachment; filename=figures.csv\nContent-Transfer-Encoding: base64\n\nYSxiCjEsMgo=\n--q--\n")


def test_a_day_in_thunderbird(box: Sandbox, home: Path) -> None:
    alice, ends = box.user("alice"), box.ends
    authority = "".join(line for line in Path(ends["ca_file"]).read_text().split("\n") if line and not line.startswith("-"))
    box.send("alice@example.test", letter("first"))
    box.send("alice@example.test", ATTACHED)
    box.wait_mail(2)
    with Thunderbird(home) as thunderbird:
        thunderbird.run(ACCOUNT, alice["address"], alice["password"], authority, ends["imaps"], ends["submission"])
        assert sorted(thunderbird.run(CONNECT, 2)) == [["first", False], ["with attachment", False]]
        roles = thunderbird.run(FOLDERS)
        assert [roles[name] for name in ("Drafts", "SentMail", "Junk", "Trash")] == ["Drafts", "Sent", "Junk", "Trash"], roles

        wait_until(lambda: re.search(r"SendData: \d+ IDLE", thunderbird.log()), 40, thunderbird.log)
        box.send("alice@example.test", letter("pushed"))                        # nobody asks: only IDLE can tell it
        thunderbird.run("await until(() => flag('Inbox').getTotalMessages(false) == 3 && find(flag('Inbox'), 'pushed'), 'the push')")

        text, attachments, sender = thunderbird.run(READ, "with attachment")
        assert "see below" in text and attachments == ["figures.csv"] and sender == "Carl <carl@c.example>"

        thunderbird.run(ACT, "first", "pushed")
        wait_until(lambda: len(box.inbox()) == 2, 40, lambda: box.log()[-2000:])
        client = box.imap()
        client.select("INBOX")
        wait_until(lambda: client.noop() and client.search(None, "FLAGGED SEEN KEYWORD $label1 SUBJECT first")[1] == [b"1"], 40, thunderbird.log)
        assert any(b"Gr&APw-n &- x" in line for line in client.list()[1])
        client.logout()

        thunderbird.run(SEND, "bob@example.test")
        received = Path(box.wait_mail(1, "bob")[0]).read_bytes()
        assert b"\nbis morgen\n.\nAlice\n" in received and b"From: Alice <alice@example.test>\n" in received
        wait_until(lambda: box.inbox("alice", ".Sent"), 40, thunderbird.log)
    assert " bug " not in box.log() and "trouble" not in box.log(), box.log()


def test_pop3_left_on_the_server(box: Sandbox, home: Path) -> None:
    """Over STLS; what stays on the server is fetched once, for its id is the same."""
    bob, ends = box.user("bob"), box.ends
    authority = "".join(line for line in Path(ends["ca_file"]).read_text().split("\n") if line and not line.startswith("-"))
    before = len(box.inbox("bob"))
    box.send("bob@example.test", letter("one").replace("hello", ".\n..\nhello"))
    box.wait_mail(before + 1, "bob")
    with Thunderbird(home) as thunderbird:
        thunderbird.run(POP3, bob["address"], bob["password"], authority, ends["pop3"])
        first = thunderbird.run(GET)
        assert len(first) == before + 1 and "one" in first
        assert thunderbird.run(GET) == first
        box.send("bob@example.test", letter("two"))
        box.wait_mail(before + 2, "bob")
        assert sorted(thunderbird.run(GET)) == sorted([*first, "two"])
    assert len(box.inbox("bob")) == before + 2 and " bug " not in box.log()
