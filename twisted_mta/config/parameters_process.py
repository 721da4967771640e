"""Rows about the process: who it is, where its files are, how long it lives.

Flow: settings.py composes them into Settings. Sources: postconf(5), smtp(8).
"""

from twisted_mta.config.parameter import (
    Load,
    Rows,
    boolean,
    directory_fact,
    fact,
    integer,
    integer_fact,
    items,
    seconds,
    text,
    words,
)


class FactRows(Rows, load=Load.FIRST):
    """What the process knows by itself from the start; main.cf may refer to it, but not change it."""

    process_name = fact(doc="Name of the program, smtp or lmtp, which selects the family of parameters.")
    config_directory = directory_fact(doc="Directory of main.cf and master.cf; none where there is no Postfix.")
    service_name = fact(doc="Name of the service in master.cf, or else that of the program.")


class AgentFactRows(Rows, load=Load.AGENT):
    """What is known by the time that a delivery agent reads its own parameters."""

    process_id = integer_fact(doc="Number of this process.")


class FirstProcessRows(Rows, load=Load.FIRST):
    """What every daemon reads first."""

    multi_instance_directories = words("", doc="Configuration directories of the other instances; no effect here.")
    multi_instance_group = text("", doc="Group of instances that this one belongs to; no effect here.")
    multi_instance_name = text("", doc="Name of this instance; the default of syslog_name.")
    daemon_table_open_error_is_fatal = boolean(
        "no", doc="Whether a table that cannot be opened stops the service, instead of deferring what needs it."
    )


class ProcessRows(Rows, load=Load.GENERAL):
    """Owner, directories and life of the process."""

    mail_owner = text("postfix", 1, doc="User that owns the queue, and that the service becomes when started as root.")
    setgid_group = text(
        "postdrop", 1, doc="Group of the programs that submit mail; must differ from that of mail_owner."
    )
    daemon_directory = text("/usr/libexec/postfix", 1, doc="Directory of Postfix's daemons; no effect here.")
    data_directory = text("/var/lib/postfix", 1, doc="Directory of files that Postfix's daemons write.")
    command_directory = text("/usr/sbin", 1, doc="Directory of Postfix's commands.")
    meta_directory = text("/etc/postfix", 1, doc="Directory of dynamicmaps.cf; no effect here.")
    queue_directory = text(
        "/var/spool/postfix", 1, doc="Top of the queue; private sockets and relative file names start there."
    )
    shlib_directory = text("no", 1, doc="Directory of Postfix's plug-ins; no effect here.")
    process_id_directory = text("pid", 1, doc="Directory of lock files, below queue_directory; no effect here.")
    default_privs = text("nobody", 1, doc="User for commands that mail runs; must be neither root nor mail_owner.")
    alias_database = items("hash:/etc/aliases", doc="Tables that newaliases(1) builds; no effect here.")
    mail_release_date = text("20260809", 1, doc="Date of the release, for expansions only.")
    default_database_type = text(
        "hash", 1, doc="Table type that commands assume; no effect here, where every table names its type."
    )
    export_environment = words("TZ MAIL_CONFIG LANG", doc="Environment that commands inherit; no effect here.")
    import_environment = words(
        "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME",
        doc="Environment that master(8) leaves to its daemons; what it sets counts for environ: tables.",
    )
    multi_instance_wrapper = text("", doc="Command that manages all instances; no effect here.")
    default_process_limit = integer(
        "100", 1, doc="Processes that master(8) runs for a service that sets no limit; no effect here."
    )
    max_use = integer("100", 1, doc="Requests after which a process of Postfix's ends; no effect here.")
    fork_attempts = integer("5", 1, doc="How often starting a process is tried; no effect here.")
    fault_injection_code = integer("0", doc="Testing aid of Postfix; no effect here.")
    multi_instance_enable = boolean("no", doc="Whether commands for all instances reach this one; no effect here.")
    helpful_warnings = boolean("yes", doc="Whether advice is logged where a setting looks like a mistake.")
    application_event_drain_time = seconds("100s", 1, doc="How long pending events may take at exit; no effect here.")
    max_idle = seconds("100s", 1, doc="Time without a request after which the next one has all loaded afresh.")
    fork_delay = seconds("1s", 1, doc="Pause between attempts to start a process; no effect here.")
    stale_lock_time = seconds("500s", 1, doc="Age at which a mailbox lock is stale; no effect here.")
    daemon_timeout = seconds("18000s", 1, doc="Longest time for one request; shortly before, a delivery is given up.")


class OtherProcessRows(Rows, load=Load.OTHERS):
    """What master(8) reads, and we with it."""

    master_service_disable = words("", doc="Services of master.cf that master(8) leaves alone, as TYPE or NAME/TYPE.")
    debugger_command = text("", doc="Command that daemons start with option -D; no effect here.")
    service_throttle_time = seconds(
        "60s", 1, doc="How long master(8) waits before it restarts a service that failed; no effect here."
    )
