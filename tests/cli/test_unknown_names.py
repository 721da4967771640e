"""Names in main.cf that look like parameters."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.cli.unknown_names import KNOWN_NAMES, nearest_name, references, unknown_names

NAMES = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=12)


class ReferenceTests(SynchronousTestCase):
    """What a value refers to."""

    def test_forms(self) -> None:
        """All forms of postconf(5) count, those in conditions and their texts included; a doubled dollar is a dollar."""
        self.assertEqual(
            references("$a ${b} $(c) ${ d } x$$no ${e?{$f}:{g}} ${{$h} == {i} ? {$j} : {}}"), set("abcdefhj")
        )

    def test_none(self) -> None:
        """A dollar alone refers to nothing."""
        self.assertEqual(references("$ ${ $( ${} $$ $-x"), set())

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.tuples(st.sampled_from(["$%s", "${%s}", "$(%s)", "${%s?{x}}", "${{$%s} != {}}"]), NAMES)))
    def test_any_names(self, parts: list[tuple[str, str]]) -> None:
        """Whatever the names are, exactly they are found."""
        text = " - ".join(form % name for form, name in parts)
        self.assertEqual(references(text), {name for _, name in parts})

    @settings(deadline=None, max_examples=50)
    @given(st.text(alphabet=st.sampled_from("$(){}a_? \t\udcff"), max_size=40))
    def test_any_text(self, text: str) -> None:
        """No text is too odd; what is found are names."""
        self.assertEqual({name for name in references(text) if name.strip("a_")}, set())


class UnknownTests(SynchronousTestCase):
    """Which names are pointed out."""

    def check(self, values: dict[str, str], expected: list[str], *others: str) -> None:
        """Compare."""
        self.assertEqual(unknown_names(values, others), expected)

    def test_misspelt(self) -> None:
        """A name that begins like one of ours and is none; names of other programs are not ours to judge."""
        values = {"smtp_tls_secutity_level": "may", "lmtp_x": "", "smtpd_x": "", "relay_hosts": "", "smtp": ""}
        self.check(values, ["smtp_tls_secutity_level", "lmtp_x"])

    def test_capitals(self) -> None:
        """Capitals make another name, which means nothing."""
        self.check({"SMTP_helo_name": "x", "Relayhost": "y"}, ["SMTP_helo_name"])

    def test_known(self) -> None:
        """No known name is pointed out, in either personality."""
        self.check(dict.fromkeys(sorted(KNOWN_NAMES), ""), [])
        self.assertLess(
            {"smtp_helo_timeout", "lmtp_lhlo_timeout", "relayhost", "smtp_destination_rate_delay"}, KNOWN_NAMES
        )

    def test_other_mirror(self) -> None:
        """A name that the other personality alone has means nothing in this one: EHLO is LHLO in LMTP."""
        self.check({"lmtp_helo_timeout": "5s", "smtp_lhlo_timeout": "5s"}, ["lmtp_helo_timeout", "smtp_lhlo_timeout"])

    def test_transports(self) -> None:
        """Settings of other transports whose names begin alike are the queue manager's (postconf(5), transport_...)."""
        self.check({"smtp_slow_destination_rate_delay": "1s", "lmtp_b_destination_concurrency_limit": "1"}, [])

    def test_used(self) -> None:
        """A name that something refers to is a variable, in main.cf or elsewhere."""
        values = {"smtp_mine": "x", "smtp_yours": "y", "relayhost": "$smtp_mine"}
        self.check(values, ["smtp_yours"])
        self.check(values, [], "relay unix - - n - - smtp -o smtp_helo_name=${smtp_yours}")

    def test_tables(self) -> None:
        """The parameters of a table may be in main.cf, behind its name (ldap_table(5), "BACKWARDS COMPATIBILITY")."""
        values = {"transport_maps": "hash:/x, ldap:smtp_routes", "smtp_routes_server_host": "h", "smtp_route_x": "y"}
        self.check(values, ["smtp_route_x"])


class NearestTests(SynchronousTestCase):
    """What was probably meant."""

    def test_near(self) -> None:
        """A few wrong letters, or the other personality's word, lead to the right name."""
        for name, meant in (
            ("smtp_tls_secutity_level", "smtp_tls_security_level"),
            ("lmtp_lhlo_nam", "lmtp_lhlo_name"),
            ("lmtp_helo_timeout", "lmtp_lhlo_timeout"),
            ("smtp_sasl_passwd_maps", "smtp_sasl_password_maps"),
            ("SMTP_TLS_Security_level", "smtp_tls_security_level"),
            ("smtp_desination_concurrency_limit", "smtp_destination_concurrency_limit"),
        ):
            self.assertEqual(nearest_name(name), meant)

    def test_far(self) -> None:
        """Where nothing is like it, nothing is proposed."""
        self.assertEqual(nearest_name("smtp_qqqqqqqqqqqqqqq"), "")
