"""A delivery status as attributes."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.model.dsn import DsnStatus
from twisted_mta.postfix.dsn_attributes import DSN_NAMES, dsn_attributes

WHOLE = DsnStatus("5.1.1", "host mx said: 550 no", "failed", "smtp", "550 no", "dns", "mx")


class DsnAttributesTests(SynchronousTestCase):
    """All seven are there, in order."""

    def test_whole(self) -> None:
        """What a server said."""
        self.assertEqual(
            dsn_attributes(WHOLE),
            (
                ("status", "5.1.1"),
                ("diag_type", "smtp"),
                ("diag_text", "550 no"),
                ("mta_type", "dns"),
                ("mta_mname", "mx"),
                ("action", "failed"),
                ("reason", "host mx said: 550 no"),
            ),
        )

    def test_halves(self) -> None:
        """A type without its value, or a value without its type, says nothing: bounce(8) would not take it."""
        for status in (
            DsnStatus("4.4.1", "x", "delayed", "smtp", "", "dns", ""),
            DsnStatus("4.4.1", "x", "delayed", "", "450 later", "", "mx"),
        ):
            values = dict(dsn_attributes(status))
            self.assertEqual([values[name] for name in DSN_NAMES], ["4.4.1", "", "", "", "", "delayed", "x"])

    def test_text_of_servers(self) -> None:
        """A NUL would end the attribute, and a text without measure fill the memory of who reads it."""
        values = dict(dsn_attributes(DsnStatus("5.0.0", "a\0b" * 10_000, "", "smtp", "\0", "dns", "m\0x")))
        self.assertEqual((values["diag_text"], values["mta_mname"]), ("?", "m?x"))
        self.assertEqual((len(values["reason"]), values["reason"][:3]), (8192, "a?b"))
