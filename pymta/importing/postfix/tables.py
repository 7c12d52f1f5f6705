"""tables: what each setting of Postfix becomes here, where one line says it (postconf(5)).

DEFAULTS: of what is asked about.  COPIED: a setting of ours has the same meaning.  NEEDLESS: nothing here has to be told.  TOLD: verdict and
text.  RESTRICTIONS: the words of smtpd_*_restrictions.  What stands nowhere is unsupported by name.
"""
from __future__ import annotations

from pymta.importing.report import DIFFERENT, SAME, UNSUPPORTED

DEFAULTS = {
    "compatibility_level": "0", "config_directory": "/etc/postfix", "mail_name": "Postfix", "myorigin": "$myhostname",
    "mydestination": "$myhostname, localhost.$mydomain, localhost", "alias_maps": "hash:/etc/aliases", "alias_database": "hash:/etc/aliases",
    "virtual_alias_maps": "$virtual_maps", "virtual_alias_domains": "$virtual_alias_maps", "virtual_mailbox_domains": "$virtual_mailbox_maps",
    "virtual_transport": "virtual", "local_transport": "local:$myhostname", "default_transport": "smtp", "relay_transport": "relay",
    "mynetworks_style": "host", "inet_interfaces": "all", "inet_protocols": "all", "append_at_myorigin": "yes", "append_dot_mydomain": "yes",
    "message_size_limit": "10240000", "mailbox_size_limit": "51200000", "virtual_mailbox_limit": "51200000", "mail_spool_directory": "/var/mail",
    "maximal_queue_lifetime": "5d", "bounce_queue_lifetime": "5d", "delay_warning_time": "0h", "maximal_backoff_time": "4000s",
    "hopcount_limit": "50", "smtpd_recipient_limit": "1000", "smtpd_hard_error_limit": "20", "smtpd_timeout": "300s",
    "smtpd_client_connection_count_limit": "50", "smtpd_client_connection_rate_limit": "0", "smtpd_client_message_rate_limit": "0",
    "default_destination_concurrency_limit": "20", "smtp_destination_concurrency_limit": "$default_destination_concurrency_limit",
    "default_destination_recipient_limit": "50", "smtp_connect_timeout": "30s", "smtp_tls_security_level": "", "smtpd_tls_security_level": "",
    "smtpd_banner": "$myhostname ESMTP $mail_name", "biff": "yes", "smtpd_sasl_auth_enable": "no", "smtp_sasl_auth_enable": "no",
    "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
    "local_recipient_maps": "proxy:unix:passwd.byname $alias_maps", "smtputf8_enable": "yes", "disable_vrfy_command": "no",
    "smtpd_helo_required": "no", "strict_rfc821_envelopes": "no", "soft_bounce": "no", "smtp_tls_wrappermode": "no",
    "smtpd_tls_wrappermode": "no", "smtpd_tls_auth_only": "no", "allow_percent_hack": "yes", "swap_bangpath": "yes", "parent_domain_matches_subdomains":
    "debug_peer_list,fast_flush_domains,mynetworks,permit_mx_backup_networks,qmqpd_authorized_clients,relay_domains,smtpd_access_maps",
}

# name -> (ours, the unit in which Postfix writes it: "s" a time with s, "d" a time with d, "n" a number)
COPIED = {
    "maximal_queue_lifetime": ("queue.lifetime", "d"), "bounce_queue_lifetime": ("queue.bounce_lifetime", "d"),
    "delay_warning_time": ("queue.warn_after", "h"), "maximal_backoff_time": ("queue.retry_max", "s"), "hopcount_limit": ("queue.hops_max", "n"),
    "smtpd_recipient_limit": ("smtp.recipients_max", "n"), "smtpd_hard_error_limit": ("smtp.errors_max", "n"),
    "smtpd_timeout": ("smtp.timeout", "s"), "smtpd_client_connection_count_limit": ("smtp.client_sessions", "n"),
    "smtpd_client_connection_rate_limit": ("smtp.client_connects", "n"), "smtpd_client_message_rate_limit": ("smtp.client_messages", "n"),
    "default_destination_concurrency_limit": ("remote.concurrency", "n"), "smtp_destination_concurrency_limit": ("remote.concurrency", "n"),
    "default_destination_recipient_limit": ("remote.recipients_max", "n"), "smtp_connect_timeout": ("remote.connect_timeout", "s"),
}

NEEDLESS = frozenset("""
    compatibility_level biff append_dot_mydomain append_at_myorigin readme_directory html_directory manpage_directory sample_directory
    command_directory daemon_directory data_directory queue_directory mail_owner setgid_group default_privs sendmail_path newaliases_path
    mailq_path meta_directory shlib_directory alias_database mail_name config_directory default_database_type debug_peer_level
    debugger_command unknown_local_recipient_reject_code smtputf8_enable strict_rfc821_envelopes smtpd_helo_required smtpd_delay_reject
    allow_percent_hack swap_bangpath smtpd_tls_session_cache_database smtp_tls_session_cache_database smtpd_tls_session_cache_timeout
    smtpd_tls_loglevel smtp_tls_loglevel smtpd_tls_received_header smtp_tls_note_starttls_offer smtpd_use_tls smtp_use_tls
    smtpd_tls_auth_only smtpd_tls_dh1024_param_file smtpd_tls_dh512_param_file smtpd_tls_eecdh_grade tls_random_source smtpd_sasl_path
    smtpd_sasl_security_options smtpd_sasl_tls_security_options smtpd_sasl_local_domain broken_sasl_auth_clients smtpd_sasl_authenticated_header
    smtp_tls_CAfile smtp_tls_CApath smtpd_tls_CApath smtpd_tls_CAfile syslog_facility syslog_name maillog_file
    virtual_minimum_uid tls_preempt_cipherlist tls_ssl_options address_verify_map smtpd_discard_ehlo_keywords authorized_flush_users
    authorized_mailq_users in_flow_delay lmtp_tls_security_level local_header_rewrite_clients parent_domain_matches_subdomains
    smtp_tls_mandatory_protocols smtpd_tls_ask_ccert import_environment export_environment multi_instance_enable
    smtpd_client_restrictions_default myhostname_default stress virtual_maps process_id process_name service_name
""".split())

_TUNING = "a matter of Postfix's own processes; ours are tuned in pymta.conf(5) where need be"
_HEADERS = "looked at or changed header fields and text; nothing here does; put a filter before this host and let it pass mail on by SMTP"
_REWRITE = "rewrote addresses in envelopes and header fields; here they stay as they are; let programs and mail clients write the right ones"
_FILTER = "handed every mail to another program; nothing here does; put that program before this host as its MX, or after it as smarthost"
_SENDER = "chose the way or the account by the sender; here the recipient's domain alone decides (transports)"
_CLIENTCERT = "let clients in by their certificate; here they log in with a password"

TOLD: dict[str, tuple[str, str]] = {
    "content_filter": (UNSUPPORTED, _FILTER), "smtpd_proxy_filter": (UNSUPPORTED, _FILTER),
    "smtpd_milters": (UNSUPPORTED, _FILTER), "non_smtpd_milters": (UNSUPPORTED, _FILTER),
    "sender_dependent_relayhost_maps": (UNSUPPORTED, _SENDER), "sender_dependent_default_transport_maps": (UNSUPPORTED, _SENDER),
    "smtp_sender_dependent_authentication": (UNSUPPORTED, _SENDER),
    "always_bcc": (UNSUPPORTED, "sent a copy of all mail; an alias 'user: user, archive' copies for one recipient"),
    "sender_bcc_maps": (UNSUPPORTED, "sent copies by sender; nothing here does"),
    "recipient_bcc_maps": (UNSUPPORTED, "sent copies by recipient; write aliases 'user: user, archive'"),
    "relocated_maps": (UNSUPPORTED, "told senders of new addresses; make aliases that forward, or let the mail be refused"),
    "soft_bounce": (UNSUPPORTED, "made every refusal temporary; nothing here does; use a sandbox for tries"),
    "fallback_relay": (UNSUPPORTED, "a second way for mail that could not be sent; here it waits and is retried"),
    "smtp_fallback_relay": (UNSUPPORTED, "a second way for mail that could not be sent; here it waits and is retried"),
    "fallback_transport": (UNSUPPORTED, "took mail for names that are unknown here; write a catch-all alias"),
    "fallback_transport_maps": (UNSUPPORTED, "took mail for names that are unknown here; write a catch-all alias"),
    "mailbox_command_maps": (UNSUPPORTED, "ran a program for each mail of some users; here mail goes into the Maildir"),
    "mailbox_transport_maps": (UNSUPPORTED, "delivered by other programs for some users; here mail goes into the Maildir"),
    "smtp_bind_address": (UNSUPPORTED, "chose the address mail is sent from; let the host's routes choose it"),
    "smtp_bind_address6": (UNSUPPORTED, "chose the address mail is sent from; let the host's routes choose it"),
    "smtp_helo_name": (UNSUPPORTED, "another name in EHLO; ours is host.name, which should lead to the address mail is sent from"),
    "smtp_tls_policy_maps": (UNSUPPORTED, "asked some destinations for TLS or for a name; here TLS is used wherever it is offered, no more"),
    "smtp_tls_per_site": (UNSUPPORTED, "asked some destinations for TLS; here it is used wherever it is offered, no more"),
    "smtpd_tls_req_ccert": (UNSUPPORTED, _CLIENTCERT), "relay_clientcerts": (UNSUPPORTED, _CLIENTCERT),
    "smtp_tls_cert_file": (UNSUPPORTED, "showed a certificate to other hosts; nothing here does, and hardly any host asks for one"),
    "smtp_tls_key_file": (UNSUPPORTED, "showed a certificate to other hosts; nothing here does, and hardly any host asks for one"),
    "defer_transports": (UNSUPPORTED, "kept mail until it was asked for; use pymta-mailq hold"),
    "authorized_submit_users": (UNSUPPORTED, "said who may use sendmail; here every user of the system may"),
    "permit_mx_backup_networks": (UNSUPPORTED, "took mail for domains whose MX pointed here; list them in local.relay_domains"),
    "smtp_dns_support_level": (UNSUPPORTED, "checked destinations by DNSSEC; nothing here does"),
    "address_verify_sender": (UNSUPPORTED, "asked other hosts whether an address is there; nothing here does"),
    "postscreen_dnsbl_sites": (UNSUPPORTED, "asked block lists; none are asked here; put a filter before this host"),
    "postscreen_access_list": (UNSUPPORTED, "shut hosts out, or let them pass; smtp.trusted names hosts that no check holds for, the firewall shuts out"),
    "smtpd_banner": (DIFFERENT, "our greeting names host.name and no program"),
    "mynetworks_style": (DIFFERENT, "only loopback may relay without a login; name networks in smtp.relay_from"),
    "notify_classes": (DIFFERENT, "problems are told in the log (pymta-log(5)), not by mail"),
    "bounce_template_file": (DIFFERENT, "our returns have a text of their own"),
    "forward_path": (DIFFERENT, "users have no .forward here; write aliases"),
    "allow_mail_to_commands": (DIFFERENT, "no program is run for a mail here"),
    "allow_mail_to_files": (DIFFERENT, "mail goes into Maildirs only"),
    "mail_spool_directory": (DIFFERENT, "mail goes to ~/Maildir; what lies in the old mailboxes stays there: convert it (mb2md, or a mail client)"),
    "masquerade_domains": (UNSUPPORTED, _REWRITE), "owner_request_special": (DIFFERENT, "owner-NAME is an alias like any other here"),
    "smtpd_sasl_type": (DIFFERENT, "logins are checked against passwords: pymta-import dovecot brings a passwd-file, pymta-passwd sets one"),
    "smtpd_tls_mandatory_ciphers": (DIFFERENT, "TLS 1.2 and later with the ciphers of the library's choice"),
    "smtpd_tls_ciphers": (DIFFERENT, "TLS 1.2 and later with the ciphers of the library's choice"),
    "smtp_tls_mandatory_ciphers": (DIFFERENT, "the ciphers are of the library's choice"),
    "smtp_tls_ciphers": (DIFFERENT, "the ciphers are of the library's choice"),
    "smtp_tls_protocols": (DIFFERENT, "TLS 1.2 and later"), "tls_high_cipherlist": (DIFFERENT, "the ciphers are of the library's choice"),
    "tls_medium_cipherlist": (DIFFERENT, "the ciphers are of the library's choice"),
    "smtpd_tls_exclude_ciphers": (DIFFERENT, "the ciphers are of the library's choice"),
    "smtpd_tls_mandatory_exclude_ciphers": (DIFFERENT, "the ciphers are of the library's choice"),
    "smtpd_forbid_bare_newline": (SAME, "a bare newline never ends a mail here"),
    "smtpd_forbid_unauth_pipelining": (SAME, "smtp.early_talk"), "disable_vrfy_command": (SAME, "VRFY tells nothing here"),
    "minimal_backoff_time": (DIFFERENT, "the first waits are those of queue.retry"), "queue_run_delay": (DIFFERENT, "each mail has its time: queue.retry"),
    "rbl_reply_maps": (UNSUPPORTED, "a text for clients on block lists; none are asked here"),
    "smtpd_restriction_classes": (UNSUPPORTED, "named restrictions for access tables; there are none here"),
    "inet_protocols": (DIFFERENT, "the sockets say what is listened on: systemctl edit pymta-smtp.socket, or smtp.listen; mail is sent by both protocols"),
}
for _name in ("header_checks", "body_checks", "mime_header_checks", "nested_header_checks", "smtp_header_checks", "smtp_body_checks",
              "smtp_mime_header_checks", "smtp_reply_filter", "smtpd_command_filter", "milter_header_checks"):
    TOLD[_name] = (UNSUPPORTED, _HEADERS)
for _name in ("canonical_maps", "sender_canonical_maps", "recipient_canonical_maps", "smtp_generic_maps", "lmtp_generic_maps"):
    TOLD[_name] = (UNSUPPORTED, _REWRITE)
TUNING = (("qmgr_", "lmtp_", "trigger_", "ipc_", "bounce_", "fast_flush", "anvil_", "postscreen_", "postlog", "tlsproxy_", "address_verify_", "debug_",
           "milter_", "dns", "line_", "max_", "header_", "berkeley_", "lmdb_", "default_process", "process_", "queue_", "transport_", "verp", "stale_",
           "daemon_", "fork_", "canonical_classes", "masquerade_", "tls_", "smtp_tls_fingerprint", "smtpd_tls_fingerprint", "local_destination_",
           "virtual_destination_", "relay_destination_", "default_destination_", "default_recipient", "initial_destination", "minimal_", "smtp_connection_",
           "smtp_mx_", "smtp_data_", "smtp_rcpt", "smtp_mail_", "smtp_helo_timeout", "smtp_quit_", "smtp_xforward", "smtp_pix", "smtp_line", "smtp_rset",
           "smtp_starttls", "smtp_skip", "smtp_host_lookup", "smtp_address_", "smtpd_client_port", "smtpd_error_sleep", "smtpd_soft_error",
           "smtpd_junk", "smtpd_starttls", "smtpd_peername", "smtpd_per_record", "smtpd_log", "smtpd_recipient_overshoot", "smtpd_client_event",
           "smtpd_policy_service_", "smtpd_reject_footer", "smtpd_history", "smtpd_noop", "smtpd_min", "unknown_", "unverified_", "hash_queue", "enable_long_queue",
           "smtpd_proxy_"), _TUNING)

_BLOCKLIST = "asked a block list; none are asked here; put a filter before this host"
_ACCESS = "decided by a table; nothing here does; what is refused for everybody belongs into the firewall or a filter before this host"
_VERIFY = "asked other hosts whether the address is there; nothing here does"
RESTRICTIONS: dict[str, tuple[str, str]] = {
    "permit_mynetworks": (SAME, "smtp.relay_from"), "permit_sasl_authenticated": (SAME, "who logs in on 587 or 465 may send to anybody"),
    "permit_inet_interfaces": (DIFFERENT, "add this host's own addresses to smtp.relay_from if they are to relay"),
    "reject_unauth_destination": (SAME, "nobody relays but by login or smtp.relay_from"),
    "defer_unauth_destination": (SAME, "nobody relays but by login or smtp.relay_from"),
    "permit_auth_destination": (SAME, "nobody relays but by login or smtp.relay_from"), "permit": (SAME, "what nothing refuses is taken"),
    "reject_unlisted_recipient": (SAME, "who is not there is refused at RCPT"),
    "reject_unlisted_sender": (DIFFERENT, "senders in our own domains are not looked up, but for those who log in (smtp.sender_check)"),
    "reject_non_fqdn_recipient": (SAME, "a recipient without a domain is refused or ours"),
    "reject_non_fqdn_sender": (DIFFERENT, "a sender's domain without a dot is taken"),
    "reject_unauth_pipelining": (SAME, "smtp.early_talk"), "sleep": (DIFFERENT, "smtp.greet_delay and smtp.tarpit let clients wait"),
    "reject_invalid_helo_hostname": (SAME, "smtp.helo_check = syntax"), "reject_invalid_hostname": (SAME, "smtp.helo_check = syntax"),
    "reject_unknown_helo_hostname": (UNSUPPORTED, "looked the name of EHLO up; smtp.helo_check = strict asks for its form, smtp.require_ptr = yes for a name"),
    "reject_unknown_sender_domain": (UNSUPPORTED, "looked the sender's domain up; nothing here does"),
    "reject_unknown_recipient_domain": (DIFFERENT, "mail of users for a domain that is not there is taken and returned"),
    "reject_authenticated_sender_login_mismatch": (SAME, "smtp.sender_check"), "reject_sender_login_mismatch": (SAME, "smtp.sender_check"),
    "reject_known_sender_login_mismatch": (SAME, "smtp.sender_check"),
    "reject_unauthenticated_sender_login_mismatch": (UNSUPPORTED, "refused strangers who gave an address of ours as sender; nothing here does"),
    "reject_rbl_client": (UNSUPPORTED, _BLOCKLIST), "reject_rhsbl_client": (UNSUPPORTED, _BLOCKLIST), "reject_rhsbl_helo": (UNSUPPORTED, _BLOCKLIST),
    "reject_rhsbl_sender": (UNSUPPORTED, _BLOCKLIST), "reject_rhsbl_recipient": (UNSUPPORTED, _BLOCKLIST), "permit_dnswl_client": (UNSUPPORTED, _BLOCKLIST),
    "reject_rhsbl_reverse_client": (UNSUPPORTED, _BLOCKLIST),
    "check_policy_service": (UNSUPPORTED, "asked a policy server (greylisting, quotas); none is asked here; quotas stand in users, rates in smtp.login_rate"),
    "reject_unverified_sender": (UNSUPPORTED, _VERIFY), "reject_unverified_recipient": (UNSUPPORTED, _VERIFY),
    "permit_mx_backup": (UNSUPPORTED, "took mail for domains whose MX pointed here; list them in local.relay_domains"),
    "permit_tls_clientcerts": (UNSUPPORTED, _CLIENTCERT), "permit_tls_all_clientcerts": (UNSUPPORTED, _CLIENTCERT),
    "reject_multi_recipient_bounce": (DIFFERENT, "mail with an empty sender may have several recipients"),
    "reject_plaintext_session": (UNSUPPORTED, "refused sessions without TLS; here only submission and logins want it"),
    "reject_etrn": (SAME, "there is no ETRN"),
    "reject": (UNSUPPORTED, "refused everybody else; the sockets say who may connect at all"), "defer": (UNSUPPORTED, "put everybody else off"),
    "warn_if_reject": (UNSUPPORTED, "only logged what follows it"), "defer_if_permit": (UNSUPPORTED, "put off what was to be taken"),
    "defer_if_reject": (DIFFERENT, "what is refused is refused"),
}
for _name in ("client", "helo", "sender", "recipient", "reverse_client_hostname", "ccert", "sasl", "sender_ns", "sender_mx", "sender_a", "helo_ns",
              "helo_mx", "recipient_ns", "recipient_mx", "client_ns", "client_mx", "client_a", "helo_a", "recipient_a", "etrn"):
    RESTRICTIONS[f"check_{_name}_access"] = (UNSUPPORTED, _ACCESS)
WITH_ARGUMENT = tuple(name for name in RESTRICTIONS if name.startswith(("check_", "reject_rbl", "reject_rhsbl", "permit_dnswl"))) + ("sleep",)
