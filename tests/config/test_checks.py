"""Demands on several settings at once; texts are those of a running smtp(8)."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.settings import find_problems


class CheckTests(SynchronousTestCase):
    """Settings that may be wrong together."""

    def texts(self, protocol: str = "smtp", **written: str) -> list[str]:
        """What is wrong, without a main.cf, on host a.example.com."""
        overrides = (("myhostname", "a.example.com"), *written.items())
        return [error.text for error in find_problems(None, protocol=protocol, overrides=overrides)]

    def test_nothing(self) -> None:
        """Defaults are right."""
        self.assertEqual(self.texts(), [])
        self.assertEqual(self.texts("lmtp"), [])

    def test_host_names(self) -> None:
        """Names of this host must be host names; why they are not comes first in the log."""
        self.assertEqual(self.texts(myhostname="-a.b"), ["parameter myhostname: bad parameter value: -a.b"])
        problems = find_problems(None, overrides=[("myhostname", "a.example"), ("mydomain", "-x")])
        self.assertEqual([problem.cause for problem in problems], ["valid_hostname: misplaced hyphen: -x"])
        self.assertEqual([problem.parameter for problem in problems], ["mydomain"])

    def test_relayhost(self) -> None:
        """Mail must not be relayed to this host, however it is written."""
        for relayhost in ("a.example.com", "A.EXAMPLE.com"):
            self.assertEqual(
                self.texts(relayhost=relayhost),
                ["myhostname and relayhost parameter settings must not be identical: a.example.com"],
            )
        for relayhost in ("[a.example.com]", "a.example.com, b", "b.example.com"):
            self.assertEqual(self.texts(relayhost=relayhost), [])

    def test_myorigin(self) -> None:
        """One value."""
        self.assertEqual(
            self.texts(myorigin="a,b"), ["myorigin parameter setting must not contain multiple values: a,b"]
        )

    def test_verp_delimiters(self) -> None:
        """Both delimiters must be allowed."""
        prefix = "parameters default_verp_delimiters and verp_delimiter_filter: bad"
        self.assertEqual(
            self.texts(default_verp_delimiters="ab"),
            [f"{prefix} first VERP delimiter character", f"{prefix} second VERP delimiter character"],
        )
        self.assertEqual(self.texts(verp_delimiter_filter="+"), [f"{prefix} second VERP delimiter character"])

    def test_syslog_facility(self) -> None:
        """A known facility, in lower case."""
        for facility in ("MAIL", "local8", "console"):
            self.assertEqual(
                self.texts(syslog_facility=facility),
                [f"parameter syslog_facility: unrecognized value: {facility}"],
            )
        self.assertEqual(self.texts(syslog_facility="local7"), [])

    def test_maillog_file(self) -> None:
        """The log may only be where it is allowed to be."""
        self.assertEqual(
            self.texts(maillog_file="/tmp/x"),
            ["maillog_file value '/tmp/x' does not match any prefix in maillog_file_prefixes"],
        )
        self.assertEqual(self.texts(maillog_file="/tmp/x", maillog_file_prefixes="/x, /tmp"), [])
        self.assertEqual(self.texts(maillog_file="/dev/stdout"), [])

    def test_sasl(self) -> None:
        """Who wants to log in needs passwords, and a cache that can be shared; else neither is looked at."""
        self.assertEqual(self.texts(smtp_sasl_auth_cache_name="btree:/x"), [])
        self.assertEqual(
            self.texts(smtp_sasl_auth_enable="yes"),
            ["specify a password table via the `smtp_sasl_password_maps' configuration parameter"],
        )
        self.assertEqual(
            self.texts("lmtp", lmtp_sasl_auth_enable="yes"),
            ["specify a password table via the `lmtp_sasl_password_maps' configuration parameter"],
        )
        self.assertEqual(
            self.texts(
                smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="static:x", smtp_sasl_auth_cache_name="btree:/x"
            ),
            ['SASL authentication cache name "btree:/x" must start with "proxy:'],
        )

    def test_sasl_caches(self) -> None:
        """The cache is one table, behind proxymap(8) or in memory."""
        enabled = {"smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": "static:x"}
        self.assertEqual(self.texts(**enabled, smtp_sasl_auth_cache_name="proxy:btree:/x"), [])
        self.assertEqual(self.texts(**enabled, smtp_sasl_auth_cache_name="internal:x"), [])
        self.assertEqual(
            self.texts(**enabled, smtp_sasl_auth_cache_name="proxy:btree:/x, proxy:btree:/y"),
            ['SASL authentication cache name "proxy:btree:/x, proxy:btree:/y" contains multiple values'],
        )

    def test_sasl_type(self) -> None:
        """There is one kind of library."""
        enabled = {"smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": "static:x"}
        (error,) = find_problems(None, overrides=[*enabled.items(), ("smtp_sasl_type", "dovecot")])
        self.assertEqual(error.text, "SASL library initialization")
        self.assertEqual(error.cause, "unsupported SASL client implementation: dovecot")

    def test_broken_values(self) -> None:
        """A value that could not be read is complained of once."""
        self.assertEqual(len(self.texts(relayhost="$", smtp_sasl_auth_enable="x", default_verp_delimiters="+")), 3)
