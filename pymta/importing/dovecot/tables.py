"""tables: settings of Dovecot that one line says everything about (doc.dovecot.org).  What stands nowhere is unsupported by name."""
from __future__ import annotations

from pymta.importing.report import DIFFERENT, SAME, UNSUPPORTED

NEEDLESS = ("log_", "info_log_path", "debug_log_path", "syslog_", "login_log_", "login_greeting", "auth_verbose", "auth_debug", "auth_cache_", "auth_worker",
            "auth_socket", "auth_username_chars", "auth_username_translation", "auth_winbind", "auth_stats", "auth_policy_", "auth_proxy_self",
            "mail_debug", "mail_privileged_group", "mail_access_groups", "mail_full_filesystem_access", "first_valid_", "last_valid_", "valid_chroot_dirs",
            "mail_chroot", "base_dir", "instance_name", "state_dir", "libexec_dir", "default_", "mmap_disable", "dotlock_use_excl", "mail_fsync",
            "mail_nfs_", "lock_method", "mail_temp_dir", "mail_cache_", "mail_never_cache", "mail_always_cache", "mail_prefetch", "mailbox_idle",
            "mail_save_crlf", "mail_max_lock_timeout", "mail_index_", "mailbox_list_index", "mail_attachment_detection", "maildir_", "mbox_", "mdbox_",
            "mail_vsize", "mail_sort", "ssl_dh", "ssl_prefer_server_ciphers", "ssl_options", "ssl_client_ca", "ssl_ca", "ssl_crypto", "ssl_parameters",
            "verbose_ssl", "verbose_proctitle", "shutdown_clients", "version_ignore", "protocol_version", "dovecot_config_version", "dovecot_storage_version",
            "imap_client_workarounds", "pop3_client_workarounds", "imap_idle_notify", "imap_logout_format", "pop3_logout_format", "imap_id_", "imap_max_line",
            "imap_hibernate", "imap_metadata", "imap_fetch_failure", "deliver_log_format", "mail_log_prefix", "doveadm_", "stats_", "metric_", "submission_host",
            "lda_mailbox_auto", "lmtp_", "pop3_reuse_xuidl", "pop3_no_flag", "pop3_fast_size", "pop3_enable_last", "pop3_lock_session", "hostname",
            "postmaster_address", "sendmail_path", "quota_full_tempfail", "import_environment", "config_cache", "dict_db_config", "mail_plugin_dir",
            "mail_shared_explicit_inbox", "mailbox_directory_name", "mail_utf8_extensions", "pop3c_", "imapc_", "rawlog_dir", "fs_", "login_access_sockets",
            "login_trusted", "login_source_ips", "login_plugin", "haproxy_", "auth_failure_delay", "event_exporter", "managesieve_", "quota_status",
            "recipient_delimiter", "lda_original", "mail_lua", "mail_attachment_min", "mail_attachment_hash", "mailbox_list_",
            "disable_plaintext_auth", "auth_allow_cleartext", "auth_mechanisms", "ssl", "listen", "protocols", "quota_warn", "mail_location", "mail_home",
            "mail_uid", "mail_gid", "mail_driver", "mail_path", "mail_inbox_path", "mail_control_path", "mail_index_path", "mail_plugins")
TOLD: dict[str, tuple[str, str]] = {
    "auth_master_user_separator": (UNSUPPORTED, "let a master user into others' mailboxes; nothing here does; share the mailboxes (imap.share_users)"),
    "auth_krb5_keytab": (UNSUPPORTED, "Kerberos; logins here are by password"), "auth_gssapi_hostname": (UNSUPPORTED, "Kerberos; logins here are by password"),
    "auth_ssl_require_client_cert": (UNSUPPORTED, "asked clients for a certificate; logins here are by password"),
    "auth_ssl_username_from_cert": (UNSUPPORTED, "took the name from a client's certificate; logins here are by password"),
    "ssl_verify_client_cert": (UNSUPPORTED, "asked clients for a certificate; logins here are by password"),
    "ssl_key_password": (UNSUPPORTED, "a key with a password; write the key without one (openssl pkey), mode 0600"),
    "ssl_cipher_list": (DIFFERENT, "the ciphers are of the library's choice"), "ssl_cipher_suites": (DIFFERENT, "the ciphers are of the library's choice"),
    "ssl_curve_list": (DIFFERENT, "the curves are of the library's choice"), "ssl_alt_cert": (DIFFERENT, "a further certificate: put it with its key into ETC/tls"),
    "ssl_alt_key": (DIFFERENT, "a further certificate: put it with its key into ETC/tls"),
    "pop3_delete_type": (UNSUPPORTED, "kept messages that POP3 deleted; here they can be brought back for a while (pymta-maildir undelete)"),
    "pop3_deleted_flag": (UNSUPPORTED, "kept messages that POP3 deleted; here they can be brought back for a while (pymta-maildir undelete)"),
    "pop3_save_uidl": (SAME, "UIDLs are kept in the uidlist"),
    "mail_attachment_dir": (UNSUPPORTED, "attachments lie apart from the messages; put them back: doveadm backup into a Maildir without that setting"),
    "mail_attribute_dict": (DIFFERENT, "METADATA lies in the Maildir; what Dovecot kept stays behind"),
    "mail_max_keyword_length": (DIFFERENT, "keywords have a limit of their own"), "imap_capability": (DIFFERENT, "imap.without names capabilities that are not offered"),
    "login_processes_count": (SAME, "nothing here has to be told"), "auth_realms": (DIFFERENT, "the domains are those of users and local.domains"),
    "imap_urlauth_host": (UNSUPPORTED, "URLAUTH; nothing here offers it"), "dict": (UNSUPPORTED, "a database; nothing here asks one"),
    "replication_max_conns": (UNSUPPORTED, "kept a copy on another host; nothing here does; copy the Maildirs (rsync, doveadm on the other side)"),
    "mail_replica": (UNSUPPORTED, "kept a copy on another host; nothing here does; copy the Maildirs (rsync)"),
    "mail_cache_min_mail_count": (SAME, "nothing here has to be told"), "auth_default_domain": (SAME, "used for names without a domain"),
}
PLUGINS: dict[str, tuple[str, str]] = {
    "quota": (SAME, "quotas are counted: local.quota, quota= in users"), "imap_quota": (SAME, "QUOTA is offered"), "quota_clone": (DIFFERENT, "quotas stand in maildirsize"),
    "acl": (SAME, "rights stand in dovecot-acl (imap.share_users, imap.shared)"), "imap_acl": (SAME, "ACL is offered"),
    "fts": (SAME, "SEARCH has an index of its own"), "fts_solr": (SAME, "SEARCH has an index of its own"), "fts_lucene": (SAME, "SEARCH has an index of its own"),
    "fts_flatcurve": (SAME, "SEARCH has an index of its own"), "fts_squat": (SAME, "SEARCH has an index of its own"), "fts_xapian": (SAME, "SEARCH has an index of its own"),
    "zlib": (UNSUPPORTED, "messages may lie compressed, which nothing here reads: doveadm backup -u USER into a Maildir without the plugin"),
    "mail_compress": (UNSUPPORTED, "messages may lie compressed, which nothing here reads: doveadm backup -u USER into a Maildir without the plugin"),
    "imap_zlib": (SAME, "COMPRESS=DEFLATE is offered"),
    "mail_crypt": (UNSUPPORTED, "messages lie encrypted, which nothing here reads: doveadm backup -u USER into a Maildir without the plugin"),
    "mail_crypt_acl": (UNSUPPORTED, "messages lie encrypted, which nothing here reads: doveadm backup -u USER into a Maildir without the plugin"),
    "sieve": (UNSUPPORTED, "sorted mail by users' scripts; nothing here does: what a script sorted comes into INBOX; mail clients can sort"),
    "imap_sieve": (UNSUPPORTED, "ran scripts when mail was moved (to teach a spam filter, say); nothing here does"),
    "imap_filter_sieve": (UNSUPPORTED, "sorted mail by users' scripts; nothing here does"), "antispam": (UNSUPPORTED, "taught a spam filter; nothing here does"),
    "notify": (SAME, "nothing here has to be told"), "mail_log": (DIFFERENT, "the log is that of pymta-log(5)"), "listescape": (DIFFERENT, "names with dots: see pymta-maildir adopt"),
    "virtual": (UNSUPPORTED, "mailboxes made of searches; ESEARCH looks through many mailboxes at once (MULTISEARCH)"),
    "lazy_expunge": (DIFFERENT, "what is expunged can be brought back for a while: local.undelete, pymta-maildir undelete"),
    "trash": (UNSUPPORTED, "removed old mail of some folders where the quota was full; here the mailbox is full"), "expire": (UNSUPPORTED, "removed old mail of some folders"),
    "autocreate": (DIFFERENT, "local.folders names folders that are made"), "replication": TOLD["mail_replica"], "push_notification": (UNSUPPORTED, "told another server of new mail"),
    "notify_replication": TOLD["mail_replica"], "last_login": (DIFFERENT, "the log says who logged in"), "mail_lua": (UNSUPPORTED, "ran a program of yours"),
    "pop3_migration": (UNSUPPORTED, "took UIDLs over from another server; finish that first"), "stats": (SAME, "nothing here has to be told"),
    "imap_stats": (SAME, "nothing here has to be told"), "old_stats": (SAME, "nothing here has to be told"), "mailbox_alias": (UNSUPPORTED, "a folder under two names"),
    "welcome": (UNSUPPORTED, "ran a program at the first login"), "snarf": (UNSUPPORTED, "fetched mail from an mbox file at login"), "charset_alias": (SAME, "nothing here has to be told"),
    "apparmor": (SAME, "nothing here has to be told"), "var_expand_crypt": (UNSUPPORTED, "variables that were encrypted"),
}
MECHANISMS = {"plain", "login"}
SPECIAL = {"drafts": "\\Drafts", "sent": "\\Sent", "junk": "\\Junk", "trash": "\\Trash", "archive": "\\Archive"}
PASSDB: dict[str, tuple[str, str]] = {
    "pam": (DIFFERENT, "passwords of the system, by PAM; here each login has a line in passwords, which may be a copy of that in /etc/shadow (name:hash): "
            "getent shadow NAME | cut -d: -f1,2"),
    "shadow": (DIFFERENT, "passwords of the system; here each login has a line in passwords, which may be a copy of that in /etc/shadow (name:hash): "
               "getent shadow NAME | cut -d: -f1,2"),
    "passwd": (DIFFERENT, "passwords of the system; here each login has a line in passwords, which may be a copy of that in /etc/shadow (name:hash): "
               "getent shadow NAME | cut -d: -f1,2"),
    "bsdauth": (DIFFERENT, "passwords of the system; here each login has a line in passwords: pymta-passwd NAME"),
    "sql": (UNSUPPORTED, "asked a database; here passwords is a file: let the database print lines name:{SCHEME}hash (and users name:uid:gid:home)"),
    "ldap": (UNSUPPORTED, "asked a directory; here passwords is a file: print lines name:{SCHEME}hash from userPassword, or set new ones with pymta-passwd"),
    "static": (UNSUPPORTED, "one password, or none, for everybody; set one for each with pymta-passwd"),
}
_OTHER = (UNSUPPORTED, "asked another server or program; here passwords is a file: pymta-passwd NAME sets one")


def passdb(driver: str) -> tuple[str, str]:
    return PASSDB.get(driver, _OTHER)
