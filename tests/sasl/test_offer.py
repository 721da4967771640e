"""What a server offers, line by line."""

from collections.abc import Collection

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.interfaces import TableError
from twisted_mta.model.events import Event
from twisted_mta.model.sasl_events import NoMechanismOffered, NullMechanismList
from twisted_mta.sasl.offer import LONGEST_OFFER, Filter, Offer, read_offer

RELAY = "mx.example[192.0.2.1]:25"


def only(names: Collection[str]) -> Filter:
    """A filter that lets these through."""

    async def wanted(name: str) -> bool:
        return name.upper() in names

    return wanted


class OfferTests(SynchronousTestCase):
    """Lines of AUTH become an offer."""

    def read(self, *lines: str, wanted: Filter | None = None) -> tuple[Offer, list[Event]]:
        """The offer, and what is logged."""
        events: list[Event] = []
        return self.successResultOf(read_offer(lines, wanted, RELAY, events.append)), events

    def test_lists(self) -> None:
        """The lists of all lines count together, each name once."""
        self.assertEqual(self.read("PLAIN LOGIN", "PLAIN LOGIN"), (Offer(("PLAIN", "LOGIN")), []))
        self.assertEqual(self.read("LOGIN", "PLAIN\tLOGIN  X"), (Offer(("LOGIN", "PLAIN", "X")), []))

    def test_filter(self) -> None:
        """Only what the filter lets through counts; a list of which nothing is left is told as long as there is no other."""
        plain = only({"PLAIN"})
        self.assertEqual(self.read("LOGIN plain", wanted=plain), (Offer(("plain",)), []))
        self.assertEqual(self.read("PLAIN", "LOGIN", wanted=plain), (Offer(("PLAIN",)), []))
        first, second = NoMechanismOffered(RELAY, "LOGIN"), NoMechanismOffered(RELAY, "CRAM-MD5 X")
        self.assertEqual(self.read("LOGIN", "CRAM-MD5 X", "PLAIN", wanted=plain), (Offer(("PLAIN",)), [first, second]))
        self.assertEqual(self.read("LOGIN", wanted=plain), (Offer(), [first]))

    def test_nothing(self) -> None:
        """AUTH without any name is told, each time."""
        null = NullMechanismList(RELAY)
        self.assertEqual(self.read("", " "), (Offer(), [null, null]))
        self.assertEqual(self.read("", "PLAIN", ""), (Offer(("PLAIN",)), [null]))

    def test_binding(self) -> None:
        """That the server binds to the channel is known even if the filter leaves out the mechanism."""
        self.assertTrue(self.read("PLAIN SCRAM-SHA-1-plus", wanted=only({"PLAIN"}))[0].binds)
        self.assertFalse(self.read("PLAIN SCRAM-SHA-1")[0].binds)

    def test_length(self) -> None:
        """Behind 2048 characters no further list is looked at."""
        long = " ".join(f"X-{number:05d}" for number in range(LONGEST_OFFER // 8))
        self.assertIn("PLAIN", self.read(long[:-8], "PLAIN")[0].names)
        self.assertNotIn("PLAIN", self.read(long, "PLAIN")[0].names)

    def test_filter_that_fails(self) -> None:
        """Where the filter cannot tell, nobody can."""

        async def fails(name: str) -> bool:
            raise TableError("hash:/x", "gone")

        self.failureResultOf(read_offer(["PLAIN"], fails, RELAY, lambda event: None), TableError)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.text(max_size=40), max_size=5))
    def test_junk(self, lines: list[str]) -> None:
        """Nothing makes it fail, and it invents no names."""
        for name in self.read(*lines)[0].names:
            self.assertTrue(any(name in line for line in lines))
