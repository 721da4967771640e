"""Name servers on the command line."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.cli.name_servers import name_server


class NameServerTests(SynchronousTestCase):
    """`name_server`."""

    def test_forms(self) -> None:
        """An address, with or without a port."""
        for text, expected in (
            ("192.0.2.1", ("192.0.2.1", 53)),
            ("192.0.2.1:5353", ("192.0.2.1", 5353)),
            ("2001:db8::1", ("2001:db8::1", 53)),
            ("[2001:db8::1]", ("2001:db8::1", 53)),
            ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ):
            self.assertEqual(name_server(text), expected)

    def test_bad(self) -> None:
        """Neither names nor ports that cannot be."""
        for text in (
            "",
            "nowhere",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:0",
            "192.0.2.1:65536",
            "[::1",
            "[::1]x",
            "192.0.2.1:²",
        ):
            with self.assertRaises(ValueError, msg=text):
                name_server(text)
