"""The order in which a delivery agent reads parameters of one kind, as far as that can be seen.

A reference to a parameter that main.cf does not set gives its default if that was read before, and nothing otherwise. So the
order decides what ``$name`` stands for, and is that of a running smtp(8): of two parameters each was made to refer to the other.
What cannot be seen, as neither default says anything, is in the order of the names.

Flow: parameter.py sorts rows by it.
Sources: a running smtp(8).
"""

_FIRST_TEXT = """
    compatibility_level mail_version syslog_facility inet_protocols maillog_file multi_instance_directories
    multi_instance_group maillog_file_prefixes maillog_file_compressor maillog_file_rotate_suffix maillog_file_permissions
    postlog_service_name dnssec_probe known_tcp_ports multi_instance_name
"""
"""The texts of all daemons, read first."""

_GENERAL_TEXT = """
    mail_name syslog_name mail_owner setgid_group mydestination myorigin relayhost daemon_directory data_directory
    command_directory meta_directory queue_directory shlib_directory process_id_directory inet_interfaces proxy_interfaces
    double_bounce_sender default_privs alias_database mail_release_date default_database_type hash_queue_names
    recipient_delimiter relay_domains fast_flush_domains export_environment import_environment mynetworks_style
    debug_peer_list default_verp_delimiters verp_delimiter_filter parent_domain_matches_subdomains
    alternate_config_directories bounce_service_name cleanup_service_name defer_service_name pickup_service_name
    queue_service_name rewrite_service_name showq_service_name error_service_name flush_service_name
    address_verify_service_name trace_service_name proxymap_service_name proxywrite_service_name internal_mail_filter_classes
    multi_instance_wrapper smtputf8_autodetect_classes message_drop_headers info_log_address_format
    default_delivery_status_filter mynetworks
"""
"""The texts of all daemons."""

_GENERAL_INTEGER = """
    default_process_limit max_use dont_remove line_length_limit hash_queue_depth fork_attempts deliver_lock_attempts
    debug_peer_level fault_injection_code berkeley_db_create_buffer_size berkeley_db_read_buffer_size header_size_limit
    header_address_token_limit mime_nesting_limit mime_boundary_length_limit delay_logging_resolution_limit tcp_windowsize
"""
"""The numbers of all daemons."""

_GENERAL_BOOLEAN = """
    disable_dns_lookups soft_bounce owner_request_special strict_8bitmime strict_7bit_headers strict_8bitmime_body
    strict_mime_encoding_domain disable_mime_input_processing disable_mime_output_conversion address_verify_negative_cache
    backwards_bounce_logfile_compatibility helpful_warnings send_cyrus_sasl_authzid multi_instance_enable
    enable_long_queue_ids strict_smtputf8 enable_original_recipient
"""
"""The switches of all daemons."""

_GENERAL_TIME = """
    application_event_drain_time max_idle ipc_timeout ipc_idle ipc_ttl trigger_timeout fork_delay deliver_lock_delay
    stale_lock_time daemon_timeout in_flow_delay
"""
"""The times of all daemons."""

_AGENT_TIME = """
    smtp_connect_timeout smtp_helo_timeout smtp_xforward_timeout smtp_mail_timeout smtp_rcpt_timeout smtp_data_init_timeout
    smtp_data_xfer_timeout smtp_data_done_timeout smtp_rset_timeout smtp_quit_timeout smtp_pix_workaround_threshold_time
    smtp_pix_workaround_delay_time queue_run_delay minimal_backoff_time smtp_connection_cache_time_limit
    smtp_connection_reuse_time_limit smtp_starttls_timeout connection_cache_protocol_timeout smtp_sasl_auth_cache_time
"""
"""The times of smtp(8)."""

_AGENT_INTEGER = """
    smtp_line_length_limit smtp_mx_address_limit smtp_mx_session_limit smtp_connection_reuse_count_limit
    smtp_tls_scert_verifydepth smtp_min_data_rate
"""
"""The numbers of smtp(8)."""

_AGENT_TEXT = """
    notify_classes best_mx_transport smtp_fallback_relay error_notice_recipient smtp_sasl_password_maps
    smtp_sasl_security_options smtp_sasl_path smtp_sasl_tls_security_options smtp_sasl_tls_verified_security_options
    smtp_tls_CAfile smtp_tls_CApath smtp_tls_cert_file smtp_tls_chain_files smtp_tls_dcert_file smtp_tls_dkey_file
    smtp_tls_key_file smtp_tls_mandatory_ciphers smtp_tls_exclude_ciphers smtp_tls_mandatory_exclude_ciphers
    smtp_tls_mandatory_protocols smtp_tls_verify_cert_match smtp_tls_secure_cert_match smtp_tls_fingerprint_cert_match
    smtp_tls_fingerprint_digest smtp_tls_trust_anchor_file smtp_tls_protocols smtp_tls_ciphers smtp_tls_eccert_file
    smtp_tls_eckey_file smtp_tls_loglevel smtp_sasl_mechanism_filter smtp_tls_dane_insecure_mx_policy smtp_tls_servername
    smtp_sasl_type smtp_bind_address smtp_bind_address6 smtp_address_verify_target smtp_helo_name smtp_host_lookup
    smtp_connection_cache_destinations smtp_dns_support_level connection_cache_service_name
    smtp_discard_ehlo_keyword_address_maps smtp_discard_ehlo_keywords smtp_tls_per_site smtp_tls_policy_maps
    smtp_tls_security_level propagate_unmatched_extensions smtp_generic_maps smtp_tcp_port smtp_pix_workarounds
    cyrus_sasl_config_path smtp_body_checks smtp_header_checks smtp_mime_header_checks smtp_nested_header_checks
    smtp_pix_workaround_maps smtp_reply_filter smtp_sasl_auth_cache_name smtp_address_preference smtp_delivery_status_filter
    smtp_dns_reply_filter smtp_dns_resolver_options tlsproxy_service_name header_from_format
"""
"""The texts of smtp(8)."""

_AGENT_BOOLEAN = """
    smtp_skip_5xx_greeting ignore_mx_lookup_error smtp_skip_quit_response smtp_always_send_ehlo smtp_never_send_ehlo
    smtp_sasl_auth_enable smtp_randomize_addresses smtp_quote_rfc821_envelope smtp_defer_if_no_mx_address_found
    smtp_send_xforward_command smtp_connection_cache_on_demand smtp_use_tls smtp_enforce_tls smtp_tls_connection_reuse
    smtp_tls_enforce_peername smtp_tls_note_starttls_offer smtp_tls_block_early_mail_reply
    smtp_tls_force_insecure_host_tlsa_lookup smtp_tls_wrappermode smtp_sender_dependent_authentication
    smtp_cname_overrides_servername smtp_sasl_auth_soft_bounce lmtp_assume_final smtp_send_dummy_mail_auth
    smtp_balance_inet_protocols smtp_bind_address_enforce smtp_tls_enable_rpk ignore_srv_lookup_error
    allow_srv_lookup_fallback
"""
"""The switches of smtp(8)."""

_LISTS = (
    _FIRST_TEXT,
    _GENERAL_TEXT,
    _GENERAL_INTEGER,
    _GENERAL_BOOLEAN,
    _GENERAL_TIME,
    _AGENT_TIME,
    _AGENT_INTEGER,
    _AGENT_TEXT,
    _AGENT_BOOLEAN,
)

PLACES = {name: place for place, name in enumerate(name for names in _LISTS for name in names.split())}
"""The place of each name; compared only among parameters of one kind that are read at the same stage.

Those without a place come behind these, as they are declared.
"""
