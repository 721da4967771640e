"""The test of what each parameter does, or the reason why it does nothing: the table of all rows of the registry.

Flow: tests/config/test_effects.py compares it with the registry; tests/kit/forced_default.py runs its tests with deaf rows.
A row has the test of its name in the TestCase of its class below, or another one in ELSEWHERE, or stands in NO_EFFECT. The rows
of TLS and of logins are in tests/tls/test_rows.py and tests/sasl/test_rows.py.
"""

from collections.abc import Mapping

from tests.kit.effect_rows import names_of
from tests.sasl import test_rows as logins
from tests.tls import test_rows as tls
from twisted_mta.config.parameter import Rows
from twisted_mta.config.parameters_connection_cache import ConnectionCacheRows
from twisted_mta.config.parameters_content import ContentRows, GeneralContentRows
from twisted_mta.config.parameters_dialog import DialogRows
from twisted_mta.config.parameters_dns import DnsRows, FirstDnsRows, GeneralDnsRows
from twisted_mta.config.parameters_host import FirstHostRows, HostNameRows, HostRows
from twisted_mta.config.parameters_ipc import AgentServiceRows, ServiceRows
from twisted_mta.config.parameters_logging import FirstLoggingRows, LoggingRows, NoticeRows
from twisted_mta.config.parameters_mail import AgentMailRows, MailRows
from twisted_mta.config.parameters_process import (
    AgentFactRows,
    FactRows,
    FirstProcessRows,
    OtherProcessRows,
    ProcessRows,
)
from twisted_mta.config.parameters_routing import FirstRoutingRows, GeneralRoutingRows, RoutingRows
from twisted_mta.config.parameters_timeouts import TimeoutRows

_SCENARIOS = "tests.scenarios.test_parameters"
_CONTENT = f"{_SCENARIOS}_content.EffectTests"
_DIALOG = f"{_SCENARIOS}_dialog.EffectTests"
_ROUTES = f"{_SCENARIOS}_routing.RouteTests"
_MX = f"{_SCENARIOS}_routing.MxTests"
_DELIVERIES = f"{_SCENARIOS}_routing.DeliveryTests"
_POSTFIX = "tests.postfix.test_parameters.EffectTests"
_SERVICE = "tests.test_parameters.EffectTests"

CASES: Mapping[str, tuple[type[Rows], ...]] = {
    _CONTENT: (GeneralContentRows, ContentRows, HostNameRows, FactRows, AgentFactRows),
    _DIALOG: (DialogRows,),
    f"{_SCENARIOS}_timeouts.EffectTests": (TimeoutRows,),
    f"{_SCENARIOS}_reuse.EffectTests": (ConnectionCacheRows,),
    _ROUTES: (FirstHostRows, FirstRoutingRows, RoutingRows, FirstDnsRows, GeneralDnsRows, DnsRows),
    _DELIVERIES: (GeneralRoutingRows,),
    _POSTFIX: (ServiceRows, AgentServiceRows, FirstLoggingRows, LoggingRows, NoticeRows, HostRows),
    _SERVICE: (FirstProcessRows, ProcessRows, OtherProcessRows, MailRows, AgentMailRows),
}
"""Where the tests of the rows of a class mostly are."""

_OTHER_CASES = {
    _CONTENT: """
        daemon_table_open_error_is_fatal double_bounce_sender mydestination myorigin owner_request_special header_size_limit
        propagate_unmatched_extensions recipient_delimiter
    """,
    _DIALOG: "line_length_limit minimal_backoff_time",
    f"{_SCENARIOS}_dialog.SmtpOnlyTests": "smtp_always_send_ehlo smtp_never_send_ehlo",
    f"{_SCENARIOS}_dialog.LmtpOnlyTests": "lmtp_assume_final",
    _ROUTES: "helpful_warnings",
    _MX: "ignore_mx_lookup_error inet_interfaces proxy_interfaces smtp_defer_if_no_mx_address_found",
    _DELIVERIES: """
        smtp_bind_address smtp_bind_address6 smtp_bind_address_enforce smtp_fallback_relay smtp_mx_address_limit
        smtp_mx_session_limit
    """,
    f"{_SCENARIOS}_routing.SmtpDeliveryTests": "fallback_relay relayhost",
    _POSTFIX: """
        address_verify_negative_cache best_mx_transport default_delivery_status_filter fast_flush_domains import_environment
        multi_instance_name parent_domain_matches_subdomains queue_directory relay_domains smtp_delivery_status_filter
        smtputf8_autodetect_classes soft_bounce
    """,
    _SERVICE: "config_directory delay_logging_resolution_limit info_log_address_format mail_version",
}
"""The tests that are elsewhere, and bear the names of their parameters."""

ELSEWHERE = {name: f"{case}.test_{name}" for case, names in _OTHER_CASES.items() for name in names.split()} | {
    "data_directory": "tests.scenarios.test_oauth.OauthTests.test_consent",
    "debug_peer_list": "tests.test_assembly.WitnessTests.test_debug_peer_list",
    "master_service_disable": "tests.test_generations.GenerationTests.test_entry_that_master_serves",
}
"""The test of a parameter that is not where CASES says."""

_ON_INPUT = "for input alone: cleanup(8), smtpd(8)"
_SET_UP = "for master(8) and the commands that set Postfix up"
_OTHER_DAEMON = "for other daemons, which read it themselves"
_MAILBOXES = "for local(8), which writes mailboxes"
_PROCESSES = "for daemons that start, end, and fork; a resident service does not"

NO_EFFECT: Mapping[str, str] = {
    "alias_database": _SET_UP,
    "alternate_config_directories": _SET_UP,
    "application_event_drain_time": _PROCESSES,
    "backwards_bounce_logfile_compatibility": _OTHER_DAEMON,
    "berkeley_db_create_buffer_size": _SET_UP,
    "berkeley_db_read_buffer_size": "memory of a library; it makes no answer another one",
    "daemon_directory": _SET_UP,
    "debug_peer_level": "the dialog is all that can be logged in more detail",
    "debugger_command": _PROCESSES,
    "default_database_type": _SET_UP,
    "default_process_limit": _SET_UP,
    "deliver_lock_attempts": _MAILBOXES,
    "deliver_lock_delay": _MAILBOXES,
    "disable_mime_input_processing": _ON_INPUT,
    "dns_ncache_ttl_fix_enable": "for postscreen(8); how long absence lasts changes no delivery",
    "dont_remove": _OTHER_DAEMON,
    "enable_long_queue_ids": "for what makes queue files; names of both kinds are read",
    "enable_original_recipient": _ON_INPUT,
    "error_service_name": _OTHER_DAEMON,
    "export_environment": "for commands; none is run",
    "fault_injection_code": "for tests of Postfix",
    "fork_attempts": _PROCESSES,
    "fork_delay": _PROCESSES,
    "header_address_token_limit": "for cleanup(8); a running smtp(8) writes longer headers whole, and so do we",
    "in_flow_delay": _ON_INPUT,
    "lmdb_map_size": "memory of a library, which grows as needed",
    "lmtp_cache_connection": "of no effect in Postfix since 2.3",
    "mail_release_date": "for references of other parameters",
    "maillog_file_compressor": _SET_UP,
    "maillog_file_permissions": "for postlogd(8), which writes the file",
    "maillog_file_rotate_suffix": _SET_UP,
    "max_use": _PROCESSES,
    "message_drop_headers": _ON_INPUT,
    "message_size_limit": _ON_INPUT,
    "meta_directory": _SET_UP,
    "multi_instance_directories": _SET_UP,
    "multi_instance_enable": _SET_UP,
    "multi_instance_group": _SET_UP,
    "multi_instance_wrapper": _SET_UP,
    "mynetworks": _ON_INPUT,
    "mynetworks_style": _ON_INPUT,
    "pickup_service_name": _OTHER_DAEMON,
    "process_id_directory": _SET_UP,
    "queue_run_delay": "for qmgr(8)",
    "queue_service_name": _OTHER_DAEMON,
    "respectful_logging": "for postscreen(8)",
    "service_throttle_time": "for master(8)",
    "shlib_directory": _SET_UP,
    "showq_service_name": _OTHER_DAEMON,
    "smtp_skip_4xx_greeting": "of no effect in Postfix since 2.1",
    "stale_lock_time": _MAILBOXES,
    "strict_7bit_headers": _ON_INPUT,
    "strict_8bitmime": _ON_INPUT,
    "strict_8bitmime_body": _ON_INPUT,
    "strict_mime_encoding_domain": _ON_INPUT,
    "strict_smtputf8": _ON_INPUT,
    "tlsproxy_service_name": "TLS is done in this process",
    "trigger_timeout": _OTHER_DAEMON,
    **tls.NO_EFFECT,
    **logins.NO_EFFECT,
}
"""Parameters that are read and then do nothing, and why."""

TESTS: Mapping[str, str] = {
    **{
        name: ELSEWHERE.get(name, f"{case}.test_{name}")
        for case, groups in CASES.items()
        for name in names_of(*groups)
        if name not in NO_EFFECT
    },
    **tls.TESTS,
    **logins.TESTS,
}
"""The test of each of the others."""

_IN_BOTH = {
    case: f"{module}.Lmtp{name}"
    for case in (
        _CONTENT,
        _DIALOG,
        f"{_SCENARIOS}_timeouts.EffectTests",
        f"{_SCENARIOS}_reuse.EffectTests",
        _ROUTES,
        _DELIVERIES,
        tls.CASE,
        logins.CASE,
    )
    for module, _, name in [case.rpartition(".")]
}
"""The same tests once more, by LMTP."""

IN_SMTP_ALONE = {
    "smtp_sender_dependent_authentication": "lmtp(8) knows nothing of senders",
    "smtp_tls_dane_insecure_mx_policy": "lmtp(8) knows no mail exchangers",
}
"""What does nothing by LMTP, as the test by LMTP says; and why."""

TESTS_BY_LMTP: Mapping[str, str] = {
    name: f"{_IN_BOTH[case]}.{method}"
    for name, test in TESTS.items()
    for case, _, method in [test.rpartition(".")]
    if case in _IN_BOTH and name not in IN_SMTP_ALONE
}
"""The tests by LMTP."""
