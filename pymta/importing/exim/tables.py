"""tables: options of Exim's main part that one line says everything about.  What stands nowhere is unsupported by name."""
from __future__ import annotations

from pymta.importing.report import DIFFERENT, SAME, UNSUPPORTED

# name -> (ours, Exim's default)
COPIED = {"delay_warning": ("queue.warn_after", "24h"), "received_headers_max": ("queue.hops_max", "30"), "recipients_max": ("smtp.recipients_max", "50000"),
          "smtp_accept_max_per_host": ("smtp.client_sessions", ""), "smtp_receive_timeout": ("smtp.timeout", "5m")}
NEEDLESS = frozenset("""
    exim_path exim_user exim_group exim_version never_users trusted_users trusted_groups admin_groups log_selector log_file_path syslog_facility syslog_timestamp spool_directory
    split_spool_directory gecos_pattern gecos_name local_from_check local_from_prefix local_sender_retain untrusted_set_sender keep_environment add_environment
    host_lookup host_lookup_order rfc1413_hosts rfc1413_query_timeout dns_dnssec_ok dns_ipv4_lookup dns_again_means_nonexist prdr_enable smtputf8_advertise_hosts chunking_advertise_hosts
    pipelining_advertise_hosts tls_advertise_hosts accept_8bitmime print_topbitchars strip_excess_angle_brackets strip_trailing_dot pid_file_path timezone
    smtp_return_error_details message_logs preserve_message_logs queue_only_load deliver_queue_load_max queue_run_in_order queue_run_max queue_only smtp_accept_queue
    smtp_accept_queue_per_connection smtp_accept_reserve smtp_accept_max_nonmail smtp_accept_max_nonmail_hosts smtp_connect_backlog check_spool_space check_spool_inodes
    check_log_space bi_command commandline_checks_require_admin prod_requires_admin drop_cr extract_addresses_remove_arguments allow_utf8_domains dsn_advertise_hosts
    daemon_startup_retries daemon_startup_sleep no_message_logs qualify_domain qualify_recipient primary_hostname local_interfaces daemon_smtp_ports daemon_smtp_port
    tls_on_connect_ports tls_certificate tls_privatekey message_size_limit smtp_enforce_sync smtp_accept_max smtp_check_spool_space tls_dhparam tls_verify_certificates
    tls_try_verify_hosts headers_charset hosts_treat_as_local uucp_from_pattern uucp_from_sender lookup_open_max tcp_nodelay remote_max_parallel smtp_max_unknown_commands
    smtp_max_synprot_errors openssl_options gnutls_compat_mode tls_eccurve return_size_limit message_id_header_domain spool_wireformat envelope_to_remove return_path_remove
    delivery_date_remove callout_domain_negative_expire smtp_load_reserve dkim_verify_signers dkim_verify_hashes allow_domain_literals helo_accept_junk_hosts
    helo_allow_chars helo_lookup_domains disable_ipv6 local_scan_timeout process_log_path daemon_notifier_socket
""".split())
_FILTER = "handed mail to a scanner; nothing here does; put one before this host as its MX"
TOLD: dict[str, tuple[str, str]] = {
    "system_filter": (UNSUPPORTED, "a filter over all mail; nothing here does"), "av_scanner": (UNSUPPORTED, _FILTER), "spamd_address": (UNSUPPORTED, _FILTER),
    "host_reject_connection": (UNSUPPORTED, "shut hosts out; the firewall does that"), "tls_verify_hosts": (UNSUPPORTED, "asked clients for a certificate; logins here are by password"),
    "smtp_ratelimit_hosts": (DIFFERENT, "rates are those of smtp.client_messages and its like"), "smtp_ratelimit_mail": (DIFFERENT, "rates are those of smtp.client_messages and its like"),
    "smtp_ratelimit_rcpt": (DIFFERENT, "rates are those of smtp.client_messages and its like"), "smtp_banner": (DIFFERENT, "our greeting names host.name and no program"),
    "ignore_bounce_errors_after": (DIFFERENT, "a return that cannot be delivered is tried for queue.bounce_lifetime"), "timeout_frozen_after": (DIFFERENT, "nothing is frozen: what cannot go waits, and returns in the end"),
    "freeze_tell": (DIFFERENT, "nothing is frozen; problems stand in the log"), "auto_thaw": (DIFFERENT, "nothing is frozen: what cannot go is retried"),
    "tls_require_ciphers": (DIFFERENT, "TLS 1.2 and later with the ciphers of the library's choice"), "bounce_message_file": (DIFFERENT, "our returns have a text of their own"),
    "warn_message_file": (DIFFERENT, "our warnings have a text of their own"), "errors_reply_to": (DIFFERENT, "returns come from MAILER-DAEMON at host.name"),
    "errors_copy": (UNSUPPORTED, "sent copies of returns; nothing here does"), "unknown_login": (DIFFERENT, "who hands in mail must be a user of the system"),
    "percent_hack_domains": (UNSUPPORTED, "user%host@domain was sent on to host; there is no percent hack here"), "dns_check_names_pattern": (SAME, "nothing here has to be told"),
    "smtp_etrn_command": (UNSUPPORTED, "ran a program on ETRN; there is no ETRN"), "acl_not_smtp": (UNSUPPORTED, "checked mail of local programs; nothing here does"),
    "helo_try_verify_hosts": (DIFFERENT, "smtp.helo_check looks at the form of the name"), "helo_verify_hosts": (UNSUPPORTED, "looked the name of HELO up; smtp.helo_check = strict asks for its form"),
    "bounce_return_size_limit": (DIFFERENT, "returns hold the header alone or the mail, as the sender asked (RET)"), "smtp_active_hostname": (UNSUPPORTED, "a name for each address; ours is host.name"),
    "perl_startup": (UNSUPPORTED, "ran a program of yours"), "dkim_sign_headers": (UNSUPPORTED, "signed mail; nothing here does"), "queue_domains": (UNSUPPORTED, "kept mail for some domains until a queue run"),
    "hold_domains": (UNSUPPORTED, "held mail for some domains; use pymta-mailq hold"), "ldap_default_servers": (UNSUPPORTED, "asked a directory"), "mysql_servers": (UNSUPPORTED, "asked a database"),
    "pgsql_servers": (UNSUPPORTED, "asked a database"), "sqlite_dbfile": (UNSUPPORTED, "asked a database"), "bounce_sender_authentication": (UNSUPPORTED, "said AUTH for returns"),
}
# words in an ACL's statement, the first that is found
ACL = (("dnslists", "asked a block list; none are asked here"), ("malware", _FILTER), ("spam", _FILTER), ("mime", "looked at parts of mail; nothing here does"),
       ("regex", "looked at the text of mail; nothing here does"), ("ratelimit", "counted mail; rates are those of smtp.client_messages and its like"), ("spf", "checked SPF; nothing here does"),
       ("dkim", "looked at DKIM; nothing here does"), ("dmarc", "looked at DMARC; nothing here does"), ("delay", "let clients wait; smtp.greet_delay and smtp.tarpit do"),
       ("verify", "looked the address up, perhaps at other hosts; nothing here does"), ("add_header", "added header fields; nothing here does"),
       ("remove_header", "removed header fields; nothing here does"), ("control", "changed how the mail was treated; nothing here does"))
