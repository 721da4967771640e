"""The order of addresses."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.fakes import Reversing
from twisted_mta.routing.candidates import Family
from twisted_mta.routing.order import MOST_ADDRESSES, HostAddress, balance, by_preference_and_family, in_order
from twisted_mta.routing.settings import RoutingSettings

V4, V6 = Family.IPV4, Family.IPV6


def addresses(text: str) -> list[HostAddress]:
    """Addresses from words such as ``4`` and ``6``, ``10/4`` with a preference; numbered through."""
    made = []
    for at, word in enumerate(text.split()):
        preference, slash, family = word.rpartition("/")
        made.append(
            HostAddress(V4 if family == "4" else V6, str(at), "h", "h", preference=int(preference) if slash else 0)
        )
    return made


def families(found: list[HostAddress]) -> str:
    """The families of addresses in order."""
    return " ".join(entry.family.value[-1] for entry in found)


def numbers(found: list[HostAddress]) -> str:
    """Which addresses they are, in order."""
    return " ".join(entry.address for entry in found)


class BalanceTests(SynchronousTestCase):
    """smtp_balance_inet_protocols; the examples were seen with a running Postfix."""

    def test_examples(self) -> None:
        """4 A and 8 AAAA records, or 1 and 8, with different limits and preferences."""
        mixed = addresses("4 " * 4 + "6 " * 8)
        ipv6_first = by_preference_and_family(mixed, V6)
        self.assertEqual(families(balance(mixed, 5)), "4 4 4 6 6")
        self.assertEqual(families(balance(ipv6_first, 5)), "6 6 6 4 4")
        self.assertEqual(families(balance(ipv6_first, 4)), "6 6 4 4")
        one = by_preference_and_family(addresses("4 " + "6 " * 8), V6)
        self.assertEqual(families(balance(one, 5)), "6 6 6 6 4")

    def test_few_of_ipv6(self) -> None:
        """All addresses of the minority stay."""
        self.assertEqual(families(balance(addresses("4 4 4 4 4 4 6"), 5)), "4 4 4 4 6")

    def test_nothing_to_do(self) -> None:
        """Without limit, with one family, or with few addresses, all stay."""
        for text, limit in (("4 6 4 6", 0), ("4 6 4 6", -1), ("4 4 4", 2), ("6 6 6", 2), ("4 6", 2), ("", 5)):
            found = addresses(text)
            self.assertEqual(balance(found, limit), found)

    @settings(deadline=None, max_examples=150)
    @given(st.lists(st.sampled_from("46"), max_size=MOST_ADDRESSES), st.integers(-1, 120))
    def test_any(self, kinds: list[str], limit: int) -> None:
        """What stays is in order, fills the limit, and has of each family half the limit or all there are."""
        found = addresses(" ".join(kinds))
        kept = balance(found, limit)
        self.assertEqual(kept, [entry for entry in found if entry in kept])
        if len(kept) < len(found):
            self.assertEqual(len(kept), limit)
            for family in (V4, V6):
                there = sum(entry.family is family for entry in found)
                self.assertGreaterEqual(sum(entry.family is family for entry in kept), min(there, limit // 2))
        else:
            self.assertEqual(kept, found)


class SortTests(SynchronousTestCase):
    """Preference first, then family."""

    def test_preference(self) -> None:
        """Without a preferred family only the preference counts; equals keep their order."""
        self.assertEqual(numbers(by_preference_and_family(addresses("20/4 10/6 10/4 20/6"), None)), "1 2 0 3")

    def test_family(self) -> None:
        """The preferred family comes first within a preference, never across."""
        found = addresses("20/4 10/6 10/4 20/6")
        self.assertEqual(numbers(by_preference_and_family(found, V4)), "2 1 0 3")
        self.assertEqual(numbers(by_preference_and_family(found, V6)), "1 2 3 0")


class InOrderTests(SynchronousTestCase):
    """The steps together."""

    def test_shuffle(self) -> None:
        """Addresses are shuffled over the whole list before they are sorted."""
        found = addresses("10/4 20/4 10/4 20/4")
        self.assertEqual(numbers(in_order(found, RoutingSettings(), Reversing())), "2 0 3 1")

    def test_no_shuffle(self) -> None:
        """With smtp_randomize_addresses = no the order of the answer stays."""
        found = addresses("10/4 20/4 10/4 20/4")
        self.assertEqual(numbers(in_order(found, RoutingSettings(randomize=False), Reversing())), "0 2 1 3")

    def test_balance(self) -> None:
        """The balance comes last, and can be turned off."""
        found = addresses("4 4 4 4 4 4 6 6")
        chosen = in_order(found, RoutingSettings(randomize=False, preferred_family=V6), Reversing())
        self.assertEqual(families(chosen), "6 6 4 4 4")
        plain = in_order(found, RoutingSettings(randomize=False, balance=False), Reversing())
        self.assertEqual(plain, found)

    def test_any_order(self) -> None:
        """Over many draws each of three equal addresses comes first about as often."""
        first = [in_order(addresses("4 4 4"), RoutingSettings(), Random(seed))[0].address for seed in range(300)]
        for address in "012":
            self.assertGreater(first.count(address), 60)
