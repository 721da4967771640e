"""``smtpdeliver config``: its forms of output, what it complains of, and how it ends."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.captured import Captured, run_command
from twisted_mta.config.parameter import Kind
from twisted_mta.config.settings import ROWS, ROWS_BY_NAME


class ConfigCase(SynchronousTestCase):
    """A configuration directory."""

    def setUp(self) -> None:
        """Make it."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.main_cf = self.directory / "main.cf"

    def config(self, *words: str, main_cf: str | bytes = "myhostname = client.example\n") -> Captured[int]:
        """Run the sub-command with some main.cf."""
        self.main_cf.write_bytes(main_cf if isinstance(main_cf, bytes) else main_cf.encode())
        return run_command("--config-directory", self.directory, "config", *words)

    def check(self, shown: Captured[int], lines: list[str], complaints: tuple[str, ...] = (), status: int = 0) -> None:
        """Compare all that a command gave; ``FILE`` in complaints is main.cf."""
        told = [text.replace(str(self.main_cf), "FILE") for text in shown.complaints]
        self.assertEqual((shown.lines, told, shown.result), (lines, list(complaints), status))


class DefaultsTests(ConfigCase):
    """Option -d."""

    def test_all_literal_defaults(self) -> None:
        """Each literal default of each row is there, under the names of both personalities, whatever main.cf says."""
        shown = self.config("-d", main_cf="relayhost = [mx.example]\nbroken")
        lines = shown.lines
        self.assertEqual((shown.result, shown.complaints), (0, []))
        expected = {
            f"{name} = {row.default_in(protocol)}".rstrip(" ")
            for row in ROWS
            for protocol in ("smtp", "lmtp")
            if (name := row.name_in(protocol)) and row.kind not in (Kind.FACT, Kind.LEGACY)
        } - {"myhostname =", "mydomain ="}
        self.assertEqual(expected - set(lines), set())
        self.assertIn("lmtp_lhlo_timeout = 300s", lines)
        self.assertIn("lmtp_connect_timeout = 0s", lines)

    def test_order(self) -> None:
        """Each name is there once, in the order of their characters."""
        names = [line.split(" =")[0] for line in self.config("-d").lines]
        self.assertEqual(names, sorted(set(names)))

    def test_no_obsolete_names(self) -> None:
        """What nobody reads any more is not in the list."""
        names = {line.split(" =")[0] for line in self.config("-d").lines}
        legacy = {row.name for row in ROWS if row.kind is Kind.LEGACY}
        self.assertTrue(legacy)
        self.assertEqual(names & legacy, set())

    def test_run_time(self) -> None:
        """A default that is found out at run time is what was found out."""
        lines = self.config("-d", "myhostname", "process_name", "process_id").lines
        self.assertTrue(lines[0].startswith(f"myhostname = {os.uname().nodename}"), lines[0])
        self.assertEqual(lines[1:], ["process_name = smtp", f"process_id = {os.getpid()}"])

    def test_expanded(self) -> None:
        """With -x, defaults refer to defaults, that of compatibility_level included (postconf(1))."""
        names = ("smtp_tls_fingerprint_digest", "lmtp_sasl_tls_verified_security_options", "fast_flush_domains")
        shown = self.config("-d", "-x", *names)
        self.assertEqual(shown.lines[:2], [f"{names[0]} = md5", f"{names[1]} = noplaintext, noanonymous"])
        self.assertRegex(shown.lines[2], rf"{names[2]} = {os.uname().nodename}[^$]*, localhost")


class ValueTests(ConfigCase):
    """What main.cf says."""

    def test_all(self) -> None:
        """All parameters are shown as they are set, those of both personalities."""
        shown = self.config(main_cf="myhostname = a.example\nlmtp_lhlo_name = $myhostname\nsmtp_helo_name=b\n")
        self.assertEqual((shown.result, shown.complaints), (0, []))
        self.assertLess(
            {
                "lmtp_lhlo_name = $myhostname",
                "smtp_helo_name = b",
                "myhostname = a.example",
                "mydomain = example",
                "relayhost =",
                "lmtp_lhlo_timeout = 300s",
                "smtp_helo_timeout = 300s",
            },
            set(shown.lines),
        )

    def test_non_defaults(self) -> None:
        """With -n, what is set is shown, even if to its default; and variables that are used (postconf(1))."""
        main_cf = (
            "b = $c\nc = 1\nd = 2\nsmtp_helo_name = ${b}x\nrelayhost =\nsmtp_rset_timeout = 20s\nsmtpd_banner = $d\n"
        )
        self.check(
            self.config("-n", main_cf=main_cf),
            ["b = $c", "c = 1", "relayhost =", "smtp_helo_name = ${b}x", "smtp_rset_timeout = 20s"],
        )

    def test_expanded(self) -> None:
        """With -x, references are expanded, over more than one step."""
        main_cf = "myhostname = a.example\nb = ${myhostname}.b\nsmtp_helo_name = $b\nlmtp_lhlo_name = $smtp_helo_name\n"
        self.check(
            self.config("-nx", main_cf=main_cf),
            [
                "b = a.example.b",
                "lmtp_lhlo_name = a.example.b",
                "myhostname = a.example",
                "smtp_helo_name = a.example.b",
            ],
        )

    def test_names(self) -> None:
        """Names are shown in the order given, as often as given; any name that main.cf defines is one."""
        self.check(
            self.config("relayhost", "own", "relayhost", "smtpd_banner", main_cf="own = 1 2\nsmtpd_banner = $own\n"),
            ["relayhost =", "own = 1 2", "relayhost =", "smtpd_banner = $own"],
        )

    def test_names_that_are_not_set(self) -> None:
        """With -n, names that are not set are left out."""
        self.check(self.config("-n", "relayhost", "myhostname"), ["myhostname = client.example"])

    def test_obsolete_names(self) -> None:
        """What only older releases read is shown where it is set."""
        self.check(self.config("-n", main_cf="fallback_relay = x\n"), ["fallback_relay = x"])

    def test_overrides(self) -> None:
        """Option -o comes before main.cf, and what is expanded sees it; the last one counts."""
        self.check(
            self.config(
                "-n", "-x", "-o", "relayhost=a", "-o", "relayhost = $own", "-o", "own=b", main_cf="relayhost = c\n"
            ),
            ["own = b", "relayhost = b"],
        )

    def test_continued_lines_and_odd_bytes(self) -> None:
        """White space is shown as one blank, other bytes as they are (postconf(1)); JSON has the value as it stands."""
        main_cf = b"smtp_helo_name = a\tb\n\tc\xff\n  d\ve\n"
        self.assertEqual(self.config("-n", main_cf=main_cf).octets, b"smtp_helo_name = a b c\xff d\ve\n")
        [line] = self.config("-n", "--json", main_cf=main_cf).lines
        self.assertEqual(json.loads(line)["value"], "a\tb\tc\udcff  d\ve")

    def test_facts(self) -> None:
        """What main.cf says of a fact has no effect, which is told."""
        self.check(
            self.config("process_name", main_cf="process_name = x\n"),
            ["process_name = smtp"],
            (
                "warning: FILE, line 1: overriding earlier entry: process_name=smtp",
                "warning: FILE, line 1: read-only parameter assignment: process_name=x",
                "warning: FILE, line 1: overriding earlier entry: process_name=lmtp",
            ),
        )

    def test_no_main_cf(self) -> None:
        """A directory that is named must have a main.cf."""
        shown = run_command("--config-directory", self.directory, "config")
        self.check(shown, [], ("open FILE: No such file or directory",), os.EX_CONFIG)


class ProtocolTests(ConfigCase):
    """Option --protocol."""

    def test_lmtp(self) -> None:
        """What LMTP mode reads, under the names that it reads."""
        lines = self.config("-d", "--protocol", "lmtp").lines
        names = {line.split(" =")[0] for line in lines}
        self.assertLess({"lmtp_lhlo_timeout", "lmtp_tls_security_level", "relayhost"}, names)
        self.assertEqual({name for name in names if name.startswith("smtp_")}, set())
        self.assertIn("process_name = lmtp", lines)

    def test_smtp(self) -> None:
        """What SMTP mode reads."""
        names = {line.split(" =")[0] for line in self.config("-d", "--protocol", "smtp").lines}
        self.assertEqual({name for name in names if name.startswith("lmtp_")}, {"lmtp_assume_final"})

    def test_name_of_the_other(self) -> None:
        """A name that only the other protocol reads is refused, and its mirror named."""
        self.check(
            self.config(
                "--protocol", "lmtp", "smtp_helo_timeout", "smtp_always_send_ehlo", main_cf="smtp_helo_timeout=1\n"
            ),
            [],
            ("smtp_helo_timeout: not read here; see lmtp_lhlo_timeout", "smtp_always_send_ehlo: not read here"),
            os.EX_USAGE,
        )

    def test_problems(self) -> None:
        """A mistake that the protocol does not see is not one."""
        self.assertEqual(self.config("--protocol", "lmtp", "relayhost", main_cf="smtp_helo_timeout = x\n").result, 0)


class ComplaintTests(ConfigCase):
    """What is wrong."""

    def test_problems(self) -> None:
        """Each mistake is told with its file and line, once, and what can be shown is shown."""
        main_cf = "smtp_helo_timeout = 10x\nnonsense\n\nipc_timeout = y\nlmtp_lhlo_timeout = z\nsmtp_helo_name = ${\n"
        shown = self.config("-n", main_cf=main_cf)
        self.assertEqual(shown.result, os.EX_CONFIG)
        self.assertIn("smtp_helo_timeout = 10x", shown.lines)
        told = [text.replace(str(self.main_cf), "FILE") for text in shown.complaints]
        self.assertEqual(
            sorted(told),
            [
                "FILE, line 1: parameter smtp_helo_timeout: bad time value or unit: 10x",
                "FILE, line 2: missing '=' after attribute name: \"nonsense\"",
                "FILE, line 4: parameter ipc_timeout: bad time value or unit: y",
                "FILE, line 5: parameter lmtp_lhlo_timeout: bad time value or unit: z",
                "FILE, line 6: parameter smtp_helo_name: dictionary mail_dict: macro processing error:"
                ' truncated macro reference: "${"',
            ],
        )

    def test_misspelt(self) -> None:
        """A name that looks like a parameter but is none is pointed out with its line and the nearest right name."""
        main_cf = "\nsmtp_tls_secutity_level = may\nlmtp_lhlo_nam = x\nsmtp_qqqqqqqqqqqqq = y\n"
        self.check(
            self.config("-n", main_cf=main_cf),
            [],
            (
                "warning: FILE, line 2: unknown parameter: smtp_tls_secutity_level; did you mean smtp_tls_security_level?",
                "warning: FILE, line 3: unknown parameter: lmtp_lhlo_nam; did you mean lmtp_lhlo_name?",
                "warning: FILE, line 4: unknown parameter: smtp_qqqqqqqqqqqqq",
            ),
        )

    def test_used_in_master_cf(self) -> None:
        """A name that master.cf refers to is a variable."""
        (self.directory / "master.cf").write_text("slow unix - - n - - smtp -o smtp_helo_name=$smtp_own\n")
        self.check(self.config("-n", main_cf="smtp_own = x\n"), [])

    def test_unknown_names(self) -> None:
        """A name that is asked for and means nothing ends with another status; the others are shown."""
        self.check(
            self.config("smtp_hello_name", "relayhost", "zzz"),
            ["relayhost ="],
            (
                "smtp_hello_name: no parameter of smtp(8) or lmtp(8); did you mean smtp_helo_name?",
                "zzz: no parameter of smtp(8) or lmtp(8)",
            ),
            os.EX_USAGE,
        )

    def test_warnings(self) -> None:
        """What a service would log as a warning is told, once for both personalities."""
        self.check(
            self.config("-n", main_cf="relayhost = a\nrelayhost = b\n"),
            ["relayhost = b"],
            ("warning: FILE, line 2: overriding earlier entry: relayhost=a",),
        )

    def test_without_tls(self) -> None:
        """A mistake that nobody would read is told, too, and does not count."""
        shown = self.config("relayhost", main_cf="myhostname = a.example\ntls_daemon_random_bytes = x\n")
        text = "FILE, line 2: bad numerical configuration: tls_daemon_random_bytes = x -- using the default"
        self.check(shown, ["relayhost ="], (f"warning: {text}",))

    def test_options(self) -> None:
        """Options that exclude each other, or lack something, are refused."""
        for words, complaint in (
            (["-d", "-n"], "config: specify one of -d and -n"),
            (["-d", "-o", "a=b"], "config: specify one of -d and -o"),
            (["--explain"], "config: --explain needs the name of a parameter"),
        ):
            self.check(self.config(*words), [], (complaint,), os.EX_USAGE)

    def test_malformed_override(self) -> None:
        """An -o option without an equals sign is refused."""
        complaint = "invalid \"-o x\" option value: missing '=' after attribute name"
        self.check(self.config("-o", "x"), [], (complaint,), os.EX_CONFIG)

    def test_variable_that_cannot_be_expanded(self) -> None:
        """A broken value of another program is told, and shown as it is."""
        complaint = 'smtpd_banner: dictionary mail_dict: macro processing error: truncated macro reference: "${"'
        self.check(
            self.config("-x", "smtpd_banner", main_cf="smtpd_banner = ${\n"), ["smtpd_banner = ${"], (complaint,)
        )


class ExplainTests(ConfigCase):
    """Option --explain."""

    def explain(self, name: str, main_cf: str = "", *words: str) -> list[str]:
        """What is told of a name, without the blanks that only please the eye."""
        shown = self.config("--explain", name, *words, main_cf=main_cf)
        self.assertEqual((shown.result, shown.complaints), (0, []))
        return [" ".join(line.replace(str(self.main_cf), "FILE").split()) for line in shown.lines]

    def test_set(self) -> None:
        """All about a parameter that main.cf sets."""
        self.assertEqual(
            self.explain("smtp_helo_timeout", "\nown = 1\n\nsmtp_helo_timeout = ${x}5m\n"),
            [
                "smtp_helo_timeout = ${x}5m",
                ROWS_BY_NAME["smtp_helo_timeout"].doc,
                "type: time; a bare number is in seconds",
                "values: min 1",
                "default: 300s",
                "origin: FILE, line 4",
                "expanded: 5m",
                "mirror: lmtp_lhlo_timeout in LMTP mode",
                "read by: smtp(8)",
            ],
        )

    def test_not_set(self) -> None:
        """All about one that nobody sets; a mirror with another default is told with it."""
        self.assertEqual(
            self.explain("lmtp_tcp_port"),
            [
                "lmtp_tcp_port = 24",
                ROWS_BY_NAME["smtp_tcp_port"].doc,
                "type: text",
                "default: 24",
                "origin: default",
                "mirror: smtp_tcp_port in SMTP mode, default smtp",
                "read by: smtp(8)",
            ],
        )

    def test_override(self) -> None:
        """The origin may be an option."""
        self.assertIn("origin: -o", self.explain("relayhost", "relayhost = x\n", "-o", "relayhost=y"))

    def test_mirrors(self) -> None:
        """Names that both read, and names that one alone reads."""
        self.assertIn("mirror: the same name in LMTP mode", self.explain("relayhost"))
        self.assertIn(
            "mirror: not read in LMTP mode, where yes counts",
            self.explain("smtp_always_send_ehlo", "smtp_always_send_ehlo = no\n"),
        )

    def test_types(self) -> None:
        """The type of each kind of row."""
        for name, kind in (
            ("smtp_tls_loglevel", "text"),
            ("relayhost", "list"),
            ("notify_classes", "set of words"),
            ("smtp_tls_security_level", "word"),
            ("smtp_skip_5xx_greeting", "yes or no"),
            ("smtputf8_enable", "yes or no"),
            ("smtp_mx_address_limit", "integer"),
            ("smtp_sasl_auth_cache_time", "time; a bare number is in days"),
            ("compatibility_level", "text"),
            ("process_id", "known at run time only"),
            ("fallback_relay", "obsolete, without effect of its own"),
        ):
            self.assertIn(f"type: {kind}", self.explain(name))

    def test_variable(self) -> None:
        """A name of main.cf's own is said to be that."""
        about = "No parameter of smtp(8) or lmtp(8): main.cf has it for itself, or for another program."
        self.assertEqual(self.explain("own", "own = 1\n"), ["own = 1", about, "type: text", "origin: FILE, line 1"])

    def test_every_row(self) -> None:
        """Each parameter can be explained, and says what it is and what its mirror is."""
        names = sorted({name for row in ROWS for name in (row.name, row.lmtp_name) if name})
        shown = self.config("--explain", *names)
        self.assertEqual((shown.result, shown.complaints), (0, []))
        told = {line.strip() for line in shown.lines}
        self.assertEqual([row.name for row in ROWS if row.doc not in told], [])
        for label in ("type: ", "mirror: ", "origin: ", "default: "):
            lines = [line for line in shown.lines if line.strip().startswith(label) and line.strip() != label.strip()]
            self.assertEqual(len(lines), len(names), label)


class JsonTests(ConfigCase):
    """Option --json."""

    def objects(self, *words: str, main_cf: str) -> list[Mapping[str, str | None]]:
        """The objects that are shown, one a line."""
        shown = self.config("--json", *words, main_cf=main_cf)
        self.assertEqual((shown.result, shown.complaints), (0, []))
        return [json.loads(line) for line in shown.lines]

    def test_parameter(self) -> None:
        """An object has all about a parameter."""
        [shown] = self.objects("-n", main_cf="lmtp_lhlo_name = ${x}y\n")
        self.assertEqual(
            shown,
            {
                "name": "lmtp_lhlo_name",
                "value": "${x}y",
                "expanded": "y",
                "default": "$myhostname",
                "origin": f"{self.main_cf}, line 1",
                "type": "text",
                "accepts": "at least 1 byte",
                "about": ROWS_BY_NAME["smtp_helo_name"].doc,
                "protocol": "lmtp",
                "other_name": "smtp_helo_name",
                "read_by": "smtp(8)",
            },
        )

    def test_variable(self) -> None:
        """What is not known of a name of main.cf's own is null."""
        [shown] = self.objects("own", main_cf="own = 1\n")
        self.assertEqual((shown["default"], shown["other_name"], shown["read_by"]), (None, None, None))

    def test_defaults(self) -> None:
        """Defaults are shown as objects, too: each value is the default."""
        shown = self.objects("-d", main_cf="relayhost = x\n")
        self.assertGreater(len(shown), 380)
        self.assertEqual([each["name"] for each in shown if each["value"] != each["default"]], [])
