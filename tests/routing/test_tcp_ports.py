"""The parameter known_tcp_ports."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.routing.tcp_ports import parse_known_tcp_ports


class KnownTcpPortsTests(SynchronousTestCase):
    """What is taken, and what is said of the rest; the words are those of a running Postfix."""

    def test_default(self) -> None:
        """The default value; several names may have one number."""
        known = parse_known_tcp_ports("lmtp=24, smtp=25, smtps=submissions=465, submission=587")
        self.assertEqual(
            dict(known.ports), {"lmtp": "24", "smtp": "25", "smtps": "465", "submissions": "465", "submission": "587"}
        )
        self.assertEqual(known.problems, ())

    def test_problems(self) -> None:
        """Each kind of mistake has its words."""
        for text, problem in (
            ("foo", 'in "foo" is not in "name = value" form'),
            ("smtp = 29 , x", 'in " x" is not in "name = value" form'),
            ("foo=", 'in "foo=": missing port value after "="'),
            ("=25", 'in "=25": missing service name before "="'),
            ("x==25", 'in "x==25": missing service name before "="'),
            ("a=-1", 'in "a=-1": non-numerical service port'),
            ("a=25x", 'in "a=25x": non-numerical service port'),
            ("a=٣", 'in "a=٣": non-numerical service port'),
            ("foo=1 bar=2", 'in "foo=1 bar=2": whitespace in service name'),
            ("smtp=25 26", 'in "smtp=25 26": whitespace in port number'),
            ("12=25", 'in "12=25": numerical service name'),
            ("smtp=26,smtp=27", 'in "smtp=27": duplicate service name'),
        ):
            self.assertEqual(parse_known_tcp_ports(text).problems, (problem,))

    def test_rest_is_taken(self) -> None:
        """One bad entry does not spoil the others."""
        known = parse_known_tcp_ports("foo, x==1, smtp=26, smtp=27,, y = 2")
        self.assertEqual(dict(known.ports), {"x": "1", "smtp": "26", "y": "2"})

    @settings(deadline=None, max_examples=100)
    @given(st.text("a1=, \tß", max_size=20))
    def test_never_fails(self, text: str) -> None:
        """Any text gives names with digits."""
        for name, port in parse_known_tcp_ports(text).ports.items():
            self.assertTrue(name)
            self.assertTrue(port.isdigit())
