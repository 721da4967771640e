"""Settings as the rooms see them; expectations are what a running smtp(8) or lmtp(8) makes of the same main.cf."""

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.choices import AddressPreference, DnsSupport, TlsLevel, VerifyTarget
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.parameter import Load
from twisted_mta.config.settings import (
    ROWS,
    Settings,
    default_config_directory,
    find_problems,
    load_settings,
    salvage_settings,
)

HOST = "compatibility_level = 3.6\nmyhostname = a.example.com\n"


class MainCfCase(SynchronousTestCase):
    """A case that writes main.cf files."""

    def directory(self, text: str) -> Path:
        """A directory with a main.cf."""
        path = Path(self.mktemp())
        path.mkdir()
        (path / "main.cf").write_text(text, "utf-8")
        return path

    def load(self, text: str, protocol: str = "smtp", overrides: tuple[tuple[str, str], ...] = ()) -> Settings:
        """The settings of a main.cf that begins with HOST."""
        return load_settings(self.directory(HOST + text), protocol=protocol, overrides=overrides)

    def problem(self, text: str, protocol: str = "smtp") -> ConfigError:
        """What is wrong with a main.cf."""
        error: ConfigError = self.assertRaises(ConfigError, self.load, text, protocol)
        return error


class ValueTests(MainCfCase):
    """Values by attribute."""

    def test_types(self) -> None:
        """Each setting has the type that its readers want."""
        loaded = self.load(
            "smtp_mail_timeout = 5m\nsmtp_randomize_addresses = NO\nsmtp_mx_address_limit = 7\n"
            "smtp_fallback_relay = [a.example], b.example:26\nsmtp_generic_maps = inline:{a=b, c=d} hash:/x\n"
            "smtp_host_lookup = native, dns\nsmtp_address_preference = IPv6\nsmtp_tls_security_level = Dane-Only\n"
            "smtp_discard_ehlo_keywords = DSN, Silent-Discard\nsmtp_tls_secure_cert_match = nexthop:.example\n"
            "smtp_address_verify_target = data\ninet_protocols = ipv6\nsmtp_helo_name = x $mydomain\n"
        )
        self.assertEqual(loaded.smtp_mail_timeout, 300)
        self.assertIs(loaded.smtp_randomize_addresses, False)
        self.assertEqual(loaded.smtp_mx_address_limit, 7)
        self.assertEqual(loaded.smtp_fallback_relay, ("[a.example]", "b.example:26"))
        self.assertEqual(loaded.smtp_generic_maps, ("inline:{a=b, c=d}", "hash:/x"))
        self.assertEqual(loaded.smtp_host_lookup, {"dns", "native"})
        self.assertIs(loaded.smtp_address_preference, AddressPreference.IPV6)
        self.assertIs(loaded.smtp_tls_security_level, TlsLevel.DANE_ONLY)
        self.assertEqual(loaded.smtp_discard_ehlo_keywords, ("dsn", "silent-discard"))
        self.assertEqual(loaded.smtp_tls_secure_cert_match, ("nexthop", ".example"))
        self.assertIs(loaded.smtp_address_verify_target, VerifyTarget.DATA)
        self.assertEqual(loaded.inet_protocols, ("ipv6",))
        self.assertEqual(loaded.smtp_helo_name, "x example.com")

    def test_facts(self) -> None:
        """What the process knows by itself is there, whatever main.cf says of it."""
        directory = self.directory(HOST + "process_name = x\nprocess_id = y\nservice_name = z\nconfig_directory = /q\n")
        loaded = load_settings(directory, protocol="lmtp", service_name="relay")
        self.assertEqual((loaded.process_name, loaded.process_id, loaded.service_name), ("lmtp", os.getpid(), "relay"))
        self.assertEqual((loaded.protocol, loaded.config_directory), ("lmtp", directory))
        self.assertEqual(self.load("").service_name, "smtp")

    def test_references_by_order(self) -> None:
        """Of parameters of one kind, a reference sees the defaults of those that smtp(8) reads before."""
        for text, expected in (
            ("a$smtp_tcp_port$header_from_format$smtp_host_lookup.b", "a.b"),
            ("a$notify_classes.$smtp_address_verify_target", "aresource, software.rcpt"),
        ):
            self.assertEqual(self.load(f"smtp_helo_name = {text}\n").smtp_helo_name, expected)
        self.assertEqual(self.load("lmtp_lhlo_name = a$lmtp_tcp_port\n", "lmtp").smtp_helo_name, "a")
        self.assertEqual(self.load("smtp_reply_filter = $smtp_tcp_port\n").smtp_reply_filter, "smtp")
        self.assertEqual(self.load("smtp_quit_timeout = $smtp_rset_timeout\n").smtp_quit_timeout, 20)

    def test_facts_in_main_cf(self) -> None:
        """What is defined before main.cf is read counts as an earlier entry there."""
        loaded = self.load("process_name = x\nprocess_id = 1\nservice_name = y\nprocess_name = smtp\n")
        lines = [warning.partition("main.cf, ")[2] for warning in loaded.warnings]
        self.assertEqual(
            lines,
            ["line 3: overriding earlier entry: process_name=smtp", "line 6: overriding earlier entry: process_name=x"],
        )
        self.assertEqual(self.load("process_name = smtp\n").warnings, ())

    def test_located(self) -> None:
        """Where a parameter was set can be added to an error that is found later, by either name of the parameter."""
        loaded = self.load("lmtp_generic_maps = x\n", "lmtp", overrides=(("relayhost", "y"),))
        for name in ("smtp_generic_maps", "lmtp_generic_maps"):
            error = loaded.located(ConfigError("it is wrong", parameter=name, mended_in="/file"))
            self.assertEqual(
                error.describe().partition("main.cf, ")[2], "line 3: parameter lmtp_generic_maps: it is wrong"
            )
            self.assertEqual(error.mended_in, "/file")
        for name, text in (("relayhost", "parameter relayhost: it is wrong"), ("", "it is wrong")):
            self.assertEqual(loaded.located(ConfigError("it is wrong", parameter=name)).describe(), text)
        elsewhere = loaded.located(ConfigError("it is wrong", parameter="smtp_generic_maps", file="/file"))
        self.assertEqual(elsewhere.describe(), "/file: parameter lmtp_generic_maps: it is wrong")

    def test_references_to_facts(self) -> None:
        """References see them too; main.cf can replace only the name of the program and the directory there."""
        text = "syslog_name = x/$service_name\nsmtp_helo_name = $process_name.$process_id.$config_directory\n"
        loaded = load_settings(self.directory(HOST + text + "service_name = q\nprocess_id = q\n"), service_name="relay")
        self.assertEqual(loaded.syslog_name, "x/relay")
        self.assertEqual(loaded.smtp_helo_name, f"smtp.{os.getpid()}.{loaded.config_directory}")
        self.assertEqual(
            self.load(text + "process_name = q\nconfig_directory = /q").smtp_helo_name, f"q.{os.getpid()}./q"
        )

    def test_read_only(self) -> None:
        """Nobody can change a setting."""
        loaded = self.load("")
        self.assertRaises(AttributeError, setattr, loaded, "smtp_mail_timeout", 5)
        self.assertRaises(AttributeError, setattr, loaded, "anything", 5)

    def test_defaults_that_follow_the_level(self) -> None:
        """An unset compatibility_level is 0 and gives the oldest defaults; without main.cf they are those of today."""
        oldest = load_settings(self.directory("myhostname = a.example\n"))
        self.assertEqual(
            (
                oldest.compatibility_level,
                oldest.smtputf8_enable,
                oldest.smtp_tls_fingerprint_digest,
                oldest.respectful_logging,
            ),
            ((0, 0, 0), False, "md5", False),
        )
        alone = load_settings(None)
        self.assertEqual(
            (
                alone.compatibility_level,
                alone.smtputf8_enable,
                alone.smtp_tls_fingerprint_digest,
                alone.respectful_logging,
            ),
            ((3, 9, 0), True, "sha256", True),
        )
        self.assertIsNone(alone.config_directory)

    def test_host_names(self) -> None:
        """The domain is what follows the first dot of the name; a name without one has localdomain."""
        self.assertEqual(self.load("").mydomain, "example.com")
        self.assertEqual(self.load("myhostname = a").mydomain, "localdomain")
        self.assertEqual(self.load("mydomain = b.example").mydomain, "b.example")

    def test_host_name_of_the_system(self) -> None:
        """An unset name is that of the system, completed by a domain."""
        node = os.uname().nodename
        expected = node if "." in node else f"{node}.b.example"
        loaded = load_settings(self.directory("mydomain = $x.example\nx = b\n"))
        self.assertEqual((loaded.myhostname, loaded.smtp_helo_name), (expected, expected))

    def test_origin_file(self) -> None:
        """A file that myorigin names gives its first line; references still see the name."""
        path = Path(self.mktemp()).absolute()
        path.write_text("  mail.example \nsecond\n")
        loaded = self.load(f"myorigin = {path}\nsmtp_helo_name = $myorigin\n")
        self.assertEqual((loaded.myorigin, loaded.smtp_helo_name), ("mail.example", str(path)))
        path.write_text("")
        self.assertEqual(self.problem(f"myorigin = {path}").text, f"myorigin file {path} is empty")
        error = self.problem("myorigin = /nonexistent/file")
        self.assertEqual(error.text, "/nonexistent/file: cannot open file: No such file or directory")

    def test_dns(self) -> None:
        """What is left of DNS follows from two parameters, the newer one first."""
        for text, support, lookup in (
            ("", DnsSupport.ENABLED, {"dns"}),
            ("disable_dns_lookups = yes", DnsSupport.DISABLED, {"native"}),
            ("disable_dns_lookups = yes\nsmtp_dns_support_level = DNSSEC", DnsSupport.DNSSEC, {"dns"}),
            ("smtp_dns_support_level = disabled", DnsSupport.DISABLED, {"native"}),
            ("smtp_host_lookup = dns native", DnsSupport.ENABLED, {"dns", "native"}),
        ):
            loaded = self.load(text)
            self.assertEqual((loaded.effective_dns_support, loaded.effective_host_lookup), (support, lookup), text)


class PersonalityTests(MainCfCase):
    """SMTP and LMTP."""

    def test_lmtp_names(self) -> None:
        """In LMTP mode the SMTP names give what the LMTP parameters say."""
        text = (
            "smtp_mail_timeout = 1s\nlmtp_mail_timeout = 2s\nsmtp_helo_timeout = 3s\nlmtp_lhlo_timeout = 4s\n"
            "smtp_helo_name = a\nlmtp_lhlo_name = b\nlmtp_discard_lhlo_keywords = dsn\nsmtp_discard_ehlo_keywords = size\n"
        )
        for protocol, expected in (("smtp", (1, 3, "a", ("size",))), ("lmtp", (2, 4, "b", ("dsn",)))):
            loaded = self.load(text, protocol)
            seen = (
                loaded.smtp_mail_timeout,
                loaded.smtp_helo_timeout,
                loaded.smtp_helo_name,
                loaded.smtp_discard_ehlo_keywords,
            )
            self.assertEqual(seen, expected)

    def test_lmtp_defaults(self) -> None:
        """Some defaults differ."""
        smtp, lmtp = self.load("fallback_relay = x"), self.load("fallback_relay = x", "lmtp")
        for loaded, expected in ((smtp, (30, True, ("x",), "smtp")), (lmtp, (0, False, (), "24"))):
            seen = (
                loaded.smtp_connect_timeout,
                loaded.smtp_skip_quit_response,
                loaded.smtp_fallback_relay,
                loaded.smtp_tcp_port,
            )
            self.assertEqual(seen, expected)

    def test_lmtp_references(self) -> None:
        """Defaults refer to the parameters of the same family."""
        text = "smtp_tls_cert_file = s\nlmtp_tls_cert_file = l\nlmtp_per_record_deadline = yes\n"
        self.assertEqual(self.load(text).smtp_tls_key_file, "s")
        self.assertEqual(self.load(text, "lmtp").smtp_tls_key_file, "l")
        self.assertIs(self.load(text).smtp_per_request_deadline, False)
        self.assertIs(self.load(text, "lmtp").smtp_per_request_deadline, True)

    def test_not_read(self) -> None:
        """What a personality does not read cannot be wrong, and has no effect."""
        text = "smtp_always_send_ehlo = nonsense\nsmtp_mail_timeout = nonsense\nignore_mx_lookup_error = nonsense\n"
        loaded = self.load(text, "lmtp")
        self.assertIs(loaded.smtp_always_send_ehlo, True)
        self.assertEqual(self.load("lmtp_mail_timeout = nonsense").smtp_mail_timeout, 300)
        self.assertEqual(self.problem(text).text, "parameter smtp_mail_timeout: bad time value or unit: nonsense")

    def test_parameter_name(self) -> None:
        """Messages name the parameter that is really read."""
        lmtp = self.load("", "lmtp")
        self.assertEqual(lmtp.parameter_name("smtp_fallback_relay"), "lmtp_fallback_relay")
        self.assertEqual(lmtp.parameter_name("smtp_helo_name"), "lmtp_lhlo_name")
        self.assertEqual(lmtp.parameter_name("myhostname"), "myhostname")
        self.assertEqual(lmtp.parameter_name("smtp_never_send_ehlo"), "smtp_never_send_ehlo")
        self.assertEqual(lmtp.parameter_name("whatever"), "whatever")
        self.assertEqual(self.load("").parameter_name("smtp_helo_name"), "smtp_helo_name")

    def test_unknown_protocol(self) -> None:
        """There are only these two."""
        error = self.assertRaises(ConfigError, load_settings, None, protocol="local")
        self.assertEqual(error.text, 'unexpected process name "local" - specify "smtp" or "lmtp"')


class ReferenceTests(MainCfCase):
    """What references see."""

    def name(self, text: str) -> str:
        """What comes of smtp_helo_name."""
        return self.load(text).smtp_helo_name

    def test_loaded_before(self) -> None:
        """A row that was loaded before is seen with its default, as it is written."""
        self.assertEqual(self.name("smtp_helo_name = <$smtp_mail_timeout>"), "<300s>")
        self.assertEqual(
            self.name("smtp_helo_name = <$mydestination>"), "<a.example.com, localhost.example.com, localhost>"
        )
        self.assertEqual(self.name("smtp_helo_name = <$mail_version>"), "<3.9.14>")

    def test_loaded_later(self) -> None:
        """A row that is loaded later, or that only other programs read, is empty unless main.cf sets it."""
        for name, value in {
            "smtp_skip_5xx_greeting": "no",
            "tls_medium_cipherlist": "HIGH",
            "smtpd_banner": "hello",
            "smtp_tls_session_cache_timeout": "5s",
        }.items():
            self.assertEqual(self.name(f"smtp_helo_name = <${name}>"), "<>")
            self.assertEqual(self.name(f"smtp_helo_name = <${name}>\n{name} = {value}"), f"<{value}>")

    def test_empty_is_too_short(self) -> None:
        """So a reference to a later row may leave too little."""
        error = self.problem("smtp_tls_mandatory_ciphers = $smtp_tls_ciphers")
        self.assertEqual(error.text, "bad string length 0 < 1: smtp_tls_mandatory_ciphers = ")

    def test_overrides(self) -> None:
        """Options come before main.cf, the last of a name counts, and references see them."""
        loaded = self.load(
            "smtp_mail_timeout = 1s\nsmtp_helo_name = $x.$smtp_mail_timeout\n",
            overrides=(("x", "y"), ("smtp_mail_timeout", "2s"), ("smtp_mail_timeout", "3s")),
        )
        self.assertEqual((loaded.smtp_mail_timeout, loaded.smtp_helo_name), (3, "y.3s"))

    def test_broken_but_unused(self) -> None:
        """A malformed reference in a value that nobody evaluates does no harm."""
        self.assertEqual(self.name("unused = ${\nsmtpd_banner = $\nsmtp_helo_name = x"), "x")


class ErrorTests(MainCfCase):
    """What is wrong, and where."""

    def test_texts(self) -> None:
        """Each mistake has Postfix's text."""
        for text, expected in {
            "smtp_use_tls = true": "bad boolean configuration: smtp_use_tls = true",
            "smtputf8_enable = ": "bad boolean configuration: smtputf8_enable = ",
            "smtp_line_length_limit = 5$x 6": "bad numerical configuration: smtp_line_length_limit = 5 6",
            "line_length_limit = 511": "invalid line_length_limit parameter value 511 < 512",
            "smtp_mail_timeout = 0": "invalid smtp_mail_timeout: 0 (min 1)",
            "in_flow_delay = 11": "invalid in_flow_delay: 11 (max 10)",
            "smtp_helo_name = $x": "bad string length 0 < 1: smtp_helo_name = ",
            "mail_version = $x": "bad string length 0 < 1: mail_version = ",
            "mail_release_date =": "bad string length 0 < 1: mail_release_date = ",
            "smtp_sasl_password_result_delimiter = ::": (
                "bad string length 2 > 1: smtp_sasl_password_result_delimiter = ::"
            ),
            "smtp_host_lookup = dns,x native": 'unknown smtp_host_lookup value "x" in "dns,x native"',
            "smtp_dns_resolver_options = x y": 'unknown smtp_dns_resolver_options value "x" in "x y"',
            "inet_protocols = x": 'unknown inet_protocols value "x" in "x"',
            "notify_classes = x": 'unknown notify_classes value "x" in "x"',
            "propagate_unmatched_extensions = generic,Include": (
                'unknown propagate_unmatched_extensions value "Include" in "generic,Include"'
            ),
            "smtp_dns_support_level = foo": 'invalid smtp_dns_support_level: "foo"',
            "smtp_tls_security_level = may x": 'Invalid TLS level "may x"',
            "smtp_tls_dane_insecure_mx_policy = verify": 'invalid smtp_tls_dane_insecure_mx_policy: "verify"',
            "smtp_address_preference = foo": "bad smtp_address_preference value: foo",
            "smtp_address_preference = ": "bad string length 0 < 1: smtp_address_preference = ",
            "smtp_address_verify_target = foo": 'bad protocol stage: "smtp_address_verify_target = foo"',
            "header_from_format = x": 'invalid setting: "header_from_format = x"',
            "info_log_address_format = x": 'invalid parameter setting "info_log_address_format = x"',
            "mynetworks_style = HOST": 'unknown mynetworks mask style value "HOST" in "HOST"',
            "compatibility_level = 3.": 'malformed compatibility level syntax: "3."',
        }.items():
            self.assertEqual(self.problem(text).text, expected)

    def test_lmtp_texts(self) -> None:
        """In LMTP mode they name the LMTP parameter, but for one that Postfix always calls by its SMTP name."""
        for text, expected in {
            "lmtp_dns_support_level = foo": 'invalid lmtp_dns_support_level: "foo"',
            "lmtp_host_lookup = foo": 'unknown lmtp_host_lookup value "foo" in "foo"',
            "lmtp_address_verify_target = foo": 'bad protocol stage: "smtp_address_verify_target = foo"',
        }.items():
            self.assertEqual(self.problem(text, "lmtp").text, expected)

    def test_tls_library(self) -> None:
        """What only the TLS library reads matters if that is started: by a level, or by a table that may give one."""
        wrong = "tls_preempt_cipherlist = x\n"
        for text in (
            "smtp_tls_security_level = may",
            "smtp_use_tls = yes",
            "smtp_enforce_tls = yes",
            "smtp_tls_policy_maps = static:none",
            "smtp_tls_security_level = none\nsmtp_tls_per_site = static:none",
        ):
            self.assertEqual(self.problem(wrong + text).text, "bad boolean configuration: tls_preempt_cipherlist = x")
        for text in (
            "",
            "smtp_tls_wrappermode = yes",
            "smtp_tls_security_level = none\nsmtp_use_tls = yes",
            "lmtp_tls_security_level = may",
        ):
            loaded = self.load(wrong + text)
            self.assertIs(loaded.tls_preempt_cipherlist, False)
            self.assertEqual(loaded.warnings, ())
            self.assertIn(
                "bad boolean configuration: tls_preempt_cipherlist = x -- using the default", loaded.unread[0]
            )

    def test_place(self) -> None:
        """An error knows the parameter, and the line that set it."""
        error = self.problem("x = y\nsmtp_helo_name =\n  ${a\n")
        self.assertEqual((error.parameter, error.line, Path(error.file).name), ("smtp_helo_name", 4, "main.cf"))
        self.assertEqual(error.text, "dictionary mail_dict: macro processing error")
        self.assertEqual(error.cause, 'truncated macro reference: "${a"')
        error = self.assertRaises(ConfigError, self.load, "max_use = 5", overrides=(("max_use", "x"),))
        self.assertEqual((error.parameter, error.line, error.file), ("max_use", 0, ""))

    def test_missing_main_cf(self) -> None:
        """A directory without main.cf is an error."""
        error = self.assertRaises(ConfigError, load_settings, Path("/nonexistent"))
        self.assertEqual(error.text, "open /nonexistent/main.cf: No such file or directory")
        self.assertEqual(find_problems(Path("/nonexistent"))[0].text, error.text)

    def test_all_problems(self) -> None:
        """On demand all is told, in the order in which it is found."""
        directory = self.directory(HOST + "nonsense\nsmtp_use_tls = x\nmax_use = x\nrelayhost = a.example.com\n")
        self.assertEqual(
            [error.text for error in find_problems(directory)],
            [
                f"{directory}/main.cf, line 3: missing '=' after attribute name: \"nonsense\"",
                "bad numerical configuration: max_use = x",
                "bad boolean configuration: smtp_use_tls = x",
                "myhostname and relayhost parameter settings must not be identical: a.example.com",
            ],
        )
        self.assertEqual(find_problems(self.directory(HOST)), ())

    def test_salvage(self) -> None:
        """What is right of a broken configuration can still be had, with defaults for the rest."""
        directory = self.directory(HOST + "nonsense\nmax_use = x\nqueue_directory = /q\nsmtp_helo_name = $\n")
        loaded, problems = salvage_settings(directory)
        self.assertEqual(len(problems), 3)
        self.assertEqual((loaded.queue_directory, loaded.max_use, loaded.myhostname), ("/q", 100, "a.example.com"))
        self.assertTrue(loaded.smtp_helo_name)

    def test_other_programs(self) -> None:
        """What only other programs read is a warning here, and the default stands."""
        loaded = self.load("smtp_tls_session_cache_timeout = x\n")
        self.assertEqual(loaded.smtp_tls_session_cache_timeout, 3600)
        self.assertEqual(len(loaded.warnings), 1)
        self.assertIn("bad time value or unit: x -- using the default", loaded.warnings[0])

    def test_warnings(self) -> None:
        """Warnings of the reader and about ports are kept for the log."""
        loaded = self.load("a = 1\na = 2\nknown_tcp_ports = foo\n")
        self.assertEqual(len(loaded.warnings), 2)
        self.assertIn("line 4: overriding earlier entry: a=1", loaded.warnings[0])
        self.assertEqual(loaded.warnings[1], 'known_tcp_ports: in "foo" is not in "name = value" form')

    @settings(deadline=None, max_examples=60)
    @given(
        st.dictionaries(
            st.sampled_from([row.name for row in ROWS]),
            st.text(st.sampled_from("ab1,${}: ?=\udcff"), max_size=8),
            max_size=5,
        )
    )
    def test_any_values(self, written: dict[str, str]) -> None:
        """Any values give settings, or errors that say what is wrong."""
        overrides = tuple(written.items())
        problems = find_problems(None, overrides=overrides)
        self.assertTrue(all(problem.text and problem.describe() for problem in problems))
        if not problems:
            self.assertEqual(load_settings(None, overrides=overrides).protocol, "smtp")


class AskingTests(MainCfCase):
    """Where values come from."""

    def test_raw(self) -> None:
        """The text before expansion: as set, or else the default of the personality."""
        loaded = self.load("smtp_helo_name = a$x\nother = $y\n", overrides=(("max_use", "5"),))
        self.assertEqual(loaded.raw("smtp_helo_name"), "a$x")
        self.assertEqual(loaded.raw("other"), "$y")
        self.assertEqual(loaded.raw("max_use"), "5")
        self.assertEqual(loaded.raw("smtp_tls_key_file"), "$smtp_tls_cert_file")
        self.assertEqual(loaded.raw("process_name"), "smtp")
        self.assertIsNone(loaded.raw("unknown"))
        self.assertIsNone(loaded.raw("lmtp_tls_key_file"))

    def test_origin(self) -> None:
        """Option, line, or default."""
        loaded = self.load("a = b\nmax_idle = 5\n", overrides=(("max_use", "5"),))
        self.assertEqual(loaded.origin("max_use"), "-o")
        self.assertEqual(loaded.origin("max_idle"), f"{loaded.config_directory}/main.cf, line 4")
        self.assertEqual(loaded.origin("max_age"), "")
        self.assertEqual(loaded.origin("smtp_helo_name"), "default")
        self.assertEqual(load_settings(None).origin("compatibility_level"), "default")

    def test_expanded(self) -> None:
        """Any name that is defined can be had, as tables want it that keep their parameters in main.cf."""
        loaded = self.load("mytable_query = SELECT x FROM $table\ntable = t\nbroken = $\n")
        self.assertEqual(loaded.expanded("mytable_query"), "SELECT x FROM t")
        self.assertIsNone(loaded.expanded("mytable_dbpath"))
        self.assertRaises(ConfigError, loaded.expanded, "broken")

    def test_config_directory(self) -> None:
        """MAIL_CONFIG names the directory, if it is set."""
        self.assertEqual(default_config_directory({}), Path("/etc/postfix"))
        self.assertEqual(default_config_directory({"MAIL_CONFIG": ""}), Path("/etc/postfix"))
        self.assertEqual(default_config_directory({"MAIL_CONFIG": "/x"}), Path("/x"))


class LateRowsTests(SynchronousTestCase):
    """Rows of other programs."""

    def test_few(self) -> None:
        """Only what this service needs of what other programs read is there."""
        self.assertEqual(
            {row.name for row in ROWS if row.load is Load.OTHERS},
            {
                "smtp_tls_session_cache_database",
                "smtp_tls_session_cache_timeout",
                "tls_random_source",
                "master_service_disable",
                "debugger_command",
                "service_throttle_time",
            },
        )
