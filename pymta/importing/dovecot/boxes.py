"""dovecot.boxes: where and how mail lies: mail_location, namespaces, quotas."""
from __future__ import annotations

import re

from pymta.importing.dovecot import passwdfile, tables
from pymta.importing.dovecot.grammar import Section
from pymta.importing.dovecot.reading import Box, Reading, box_of

_FORMATS = {"mbox", "dbox", "sdbox", "mdbox", "mailstore", "imapc", "pop3c", "cydir", "obox"}


def location(it: Reading) -> None:
    out, top = it.out, it.top
    for key in ("mail_location", "mail_driver", "mail_path", "mail_inbox_path", "mail_control_path", "mail_home", "mail_uid", "mail_gid"):
        it.done.add(key)
    inbox = next((one for one in top.of("namespace") if one.get("inbox") == "yes"), None)
    location = top.get("mail_location") or (inbox.get("location") if inbox else "")
    if location:
        it.where, it.what = it.at("mail_location")
        it.box = box_of(location)
    else:
        it.where, it.what = it.at("mail_path" if top.get("mail_path") else "mail_driver")
        options = {"INBOX": top.get("mail_inbox_path"), "CONTROL": top.get("mail_control_path"),
                   "LAYOUT": "fs" if top.get("mailbox_list_layout") == "fs" else ""}
        it.box = Box(top.get("mail_driver"), top.get("mail_path"), {key: value for key, value in options.items() if value})
    box = it.box
    if not box.format:
        out.different(it.where, it.what, "Dovecot looked where mail lies; here it is Maildir in the home")
    elif box.format != "maildir":
        convert(it, it.where, it.what, box)
    else:
        if box.options.get("LAYOUT") == "fs":
            convert(it, it.where, it.what, box)
        elif box.path in ("~/Maildir", "%h/Maildir", "%{home}/Maildir"):
            out.same(it.where, it.what, "Maildir in the home, where it lies")
        if "CONTROL" in box.options:
            out.different(it.where, f"{it.what} (CONTROL)", "uidlist and subscriptions lie apart: move them into the Maildir before pymta-maildir adopt")
        if box.options.get("INBOX", box.path) not in (box.path, f"{box.path}/"):
            out.unsupported(it.where, f"{it.what} (INBOX)", "INBOX lies apart from the other folders; move its new/ and cur/ into the Maildir")
        if "UTF-8" in box.options:
            out.different(it.where, f"{it.what} (UTF-8)", "folders' names lie in UTF-8, ours in modified UTF-7; rename what is not ASCII")


def convert(it: Reading, where: str, what: str, box: Box) -> None:
    it.converted = True
    known = box.format if box.format in _FORMATS else "another format"
    kind = "Maildir with folders in folders" if box.format == "maildir" else known
    it.out.unsupported(where, what, f"mail lies as {kind}, which nothing here reads; with Dovecot still there, for each user: "
                         "doveadm backup -u USER maildir:HOME/Maildir  (writes a Maildir with the same UIDs and flags)")


def namespaces(it: Reading) -> None:
    out = it.out
    folders: list[str] = []
    for section in it.top.of("namespace"):
        what = f"namespace {section.name}".strip()
        kind = section.get("type", "private")
        location = section.get("location") or section.get("mail_path")
        if kind == "shared":
            out.different(section.where, f"{what}: {section.get('prefix')}", "mailboxes of others stand below 'Other Users' (imap.share_users)")
            continue
        if kind == "public":
            out.different(section.where, f"{what}: {location}", "mailboxes that belong to all stand below 'Shared'; imap.shared names their directory")
            continue
        if location and (location.startswith("virtual:") or section.get("mail_driver") == "virtual"):
            out.unsupported(section.where, f"{what}: {location}", tables.PLUGINS["virtual"][1])
            continue
        if section.get("inbox") != "yes" and section.name != "inbox" and location:
            out.unsupported(section.where, f"{what}: {location}", "a second tree of mailboxes; move its folders into the Maildir")
        separator, prefix = section.get("separator"), section.get("prefix")
        if prefix:
            out.different(*it.at("prefix", section), f"clients saw {prefix}Sent, here Sent: take the prefix out of their settings")
        if separator and separator != ".":
            out.different(*it.at("separator", section), f"clients saw a{separator}b, here a.b: they must fetch the list of folders anew, and filters that name folders be changed")
        if section.get("hidden") == "yes" or section.get("list") == "no":
            out.different(section.where, f"{what} (hidden)", "there is one tree only, without a prefix")
        for mailbox in section.of("mailbox"):
            folders += _mailbox(it, mailbox)
    for section in it.top.of("mailbox"):
        folders += _mailbox(it, section)
    if folders:
        out.settings["local.folders"] = " ".join(dict.fromkeys(folders))


def _mailbox(it: Reading, section: Section) -> list[str]:
    out, name = it.out, section.name or section.get("name")
    auto, use = section.get("auto", "no"), section.get("special_use")
    what = f"mailbox {name} {{ {' '.join(str(one) for one in section.settings.values())} }}"
    if use and tables.SPECIAL.get(name.lower()) not in use.split():
        out.different(section.where, what, f"not marked {use} by itself; a client may do it: SETMETADATA {name} (/private/specialuse \"{use}\")")
    if section.get("autoexpunge") or section.get("mailbox_autoexpunge"):
        out.unsupported(section.where, what, "removed old messages; nothing here does; let a mail client or a job do it")
    if auto in ("create", "subscribe"):
        if re.fullmatch(r"[^\s,#\"]+", name):
            out.same(section.where, what, f"local.folders: {name}")
            return [name]
        out.different(section.where, what, "folders with a blank in their name are not made by themselves; clients make them")
    return []


def quotas(it: Reading) -> None:
    out = it.out
    found: list[tuple[str, str, str, int]] = []         # where, what, rule, octets of a bare number
    plugin = next(it.top.of("plugin"), Section("plugin", "", ""))
    for key, one in plugin.settings.items():
        if re.fullmatch(r"quota\d*_rule\d*", key):
            found.append((one.where, f"plugin: {one}", one.value, 1024))
    for section in it.top.of("quota"):
        if size := section.settings.get("storage_size") or section.settings.get("quota_storage_size"):
            found.append((size.where, f"quota {section.name}: {size}", f"*:bytes={size.value}", 1))
    if top := it.top.settings.get("quota_storage_size"):
        found.append((*it.at("quota_storage_size"), f"*:bytes={top.value}", 1))
    for where, what, rule, unit in found:
        size_ = passwdfile.quota(rule, plain_unit=unit)
        if size_ is None or it.quota:
            out.unsupported(where, what, "a rule for one folder, or for the number of messages; here the whole mailbox has one size")
        elif out.set(where, what, "local.quota", size_):
            it.quota = size_
