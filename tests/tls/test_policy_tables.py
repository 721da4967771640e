"""Tables of policies: keys, failures, and the obsolete words."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.lookup_tables import AtOnce, SlowTable
from tests.tls.asking import Asking, asking, inline_table, reached
from twisted_mta.interfaces import TableError
from twisted_mta.model.events import Event
from twisted_mta.tables.maps import Maps
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy_entry import EntryReaders, PolicyEntry
from twisted_mta.tls.policy_error import TlsPolicyError
from twisted_mta.tls.policy_tables import PolicyMaps

NOTHING = EntryReaders(lambda names: (), lambda values: ())


def with_policies(entries: dict[str, str]) -> Asking:
    """Policies by a table."""
    return asking(smtp_tls_policy_maps=inline_table(entries))


def with_sites(entries: dict[str, str], level: str = "") -> Asking:
    """Policies by an obsolete table, and a global level."""
    return asking(smtp_tls_per_site=inline_table(entries), smtp_tls_security_level=level)


class KeyTests(SynchronousTestCase):
    """What destinations are looked up by."""

    def level_of(self, nexthop: str, *keys: str) -> Level:
        """The level of a destination where some keys have level encrypt."""
        return with_policies(dict.fromkeys(keys, "encrypt")).policy(reached(nexthop)).level

    def test_domain(self) -> None:
        """A domain is looked up, then its parents with a dot in front; case does not matter."""
        self.assertEqual(self.level_of("a.b.example", "a.b.example"), Level.ENCRYPT)
        self.assertEqual(self.level_of("A.B.example", "a.b.EXAMPLE"), Level.ENCRYPT)
        self.assertEqual(self.level_of("a.b.example", ".b.example"), Level.ENCRYPT)
        self.assertEqual(self.level_of("a.b.example", ".example"), Level.ENCRYPT)
        self.assertEqual(self.level_of("a.b.example", "b.example"), Level.NONE)
        self.assertEqual(self.level_of("a.b.example", ".a.b.example"), Level.NONE)

    def test_first_counts(self) -> None:
        """The nearest entry counts."""
        tables = with_policies({"b.example": "none", ".b.example": "encrypt", ".example": "may"})
        self.assertEqual(tables.policy(reached("b.example")).level, Level.NONE)
        self.assertEqual(tables.policy(reached("a.b.example")).level, Level.ENCRYPT)
        self.assertEqual(tables.policy(reached("c.example")).level, Level.MAY)

    def test_brackets_and_ports(self) -> None:
        """A destination with brackets, a port, or an address is looked up as it is written, and no other way."""
        for nexthop in (
            "[a.example]",
            "[a.example]:587",
            "a.example:587",
            "[192.0.2.1]",
            "192.0.2.1",
            "[ipv6:2001:db8::1]",
        ):
            self.assertEqual(self.level_of(nexthop, nexthop), Level.ENCRYPT)
            self.assertEqual(
                self.level_of(nexthop, "a.example", ".example", "[a.example]:25", ".2.1", "192.0"), Level.NONE
            )

    def test_unicode(self) -> None:
        """A domain in Unicode has parents, too, where there may be such domains."""
        nexthop = "a.b\u00fccher.example"
        self.assertEqual(self.level_of(nexthop, "A.B\u00dccher.example"), Level.ENCRYPT)
        self.assertEqual(self.level_of(nexthop, ".b\u00fccher.example"), Level.ENCRYPT)
        maps = PolicyMaps(
            Maps("smtp_tls_policy_maps", [AtOnce({".example": "may"})], self.fail),
            NOTHING,
            self.fail,
            utf8=False,
        )
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(maps.find(nexthop, "mx.example"))), None)

    def test_name_that_is_none(self) -> None:
        """What cannot be converted is no domain."""
        maps = PolicyMaps(
            Maps("smtp_tls_policy_maps", [AtOnce({".example": "may"})], self.fail),
            NOTHING,
            self.fail,
            utf8=True,
        )
        found = Deferred.fromCoroutine(maps.find("\u0301a.example", "mx.example"))
        self.assertEqual(self.successResultOf(found), None)

    def test_host_does_not_matter(self) -> None:
        """The name of the mail exchanger is never looked up."""
        self.assertEqual(with_policies({"mx.example": "encrypt"}).policy(reached(host="mx.example")).level, Level.NONE)


class FailureTests(SynchronousTestCase):
    """What tables may get wrong."""

    def test_bad_entry(self) -> None:
        """The entry is told by its own key, and the server is passed over."""
        tables = with_policies({".b.example": "strict"})
        self.assertEqual(tables.problem(reached("a.B.example")), "4.7.5 client TLS configuration problem")
        self.assertEqual(
            tables.lines,
            [
                'warning: smtp_tls_policy_maps, next-hop destination ".B.example": invalid security level "strict"',
                "warning: TLS policy lookup for a.B.example/mx.example: client TLS configuration problem",
            ],
        )

    def test_ignored_attributes(self) -> None:
        """What stands behind level none is told, and does no harm."""
        tables = with_policies({"dest.example": "none ciphers=high bogus"})
        self.assertEqual(tables.policy().level, Level.NONE)
        where = 'warning: smtp_tls_policy_maps, next-hop destination "dest.example": ignoring attribute '
        self.assertEqual(
            tables.lines, [f'{where}"ciphers=high" with TLS disabled', f'{where}"bogus" with TLS disabled']
        )

    def test_table_fails(self) -> None:
        """A table that cannot be asked is not one that knows nothing."""
        tables = asking(smtp_tls_policy_maps="fail:trouble")
        self.assertEqual(tables.problem(), "4.7.5 client TLS configuration problem")
        self.assertEqual(
            tables.lines,
            [
                'warning: fail:trouble lookup error for "dest.example"',
                'warning: smtp_tls_policy_maps, next-hop destination "dest.example": policy table lookup error',
                "warning: TLS policy lookup for dest.example/mx.example: client TLS configuration problem",
            ],
        )

    def test_lmtp(self) -> None:
        """LMTP has parameters of its own, and names them."""
        tables = asking("lmtp", lmtp_tls_policy_maps=inline_table({"dest.example": "strict"}))
        self.assertEqual(tables.problem(), "4.7.5 client TLS configuration problem")
        self.assertIn('lmtp_tls_policy_maps, next-hop destination "dest.example": invalid', tables.lines[0])

    def test_slow_table(self) -> None:
        """A table may take its time; one that fails late is told all the same."""
        events: list[Event] = []
        table = SlowTable()
        maps = PolicyMaps(Maps("smtp_tls_policy_maps", [table], events.append), NOTHING, events.append, utf8=True)
        finding = Deferred.fromCoroutine(maps.find("dest.example", "mx.example"))
        self.assertEqual(table.answer(None), "dest.example")
        self.assertEqual(table.answer("may"), ".example")
        self.assertEqual(self.successResultOf(finding), PolicyEntry(Level.MAY))
        failing = Deferred.fromCoroutine(maps.find("[a.example]", "mx.example"))
        table.fail(TableError("slow:table", "gone"))
        self.assertEqual(self.failureResultOf(failing, TlsPolicyError).value.why.status, "4.7.5")


class PerSiteTests(SynchronousTestCase):
    """smtp_tls_per_site (TLS_README, obsolete policy support)."""

    def test_combinations(self) -> None:
        """What is found for the destination and for the host is combined; what is stronger wins, except that none beats may."""
        for site, host, level in [
            (None, None, Level.NONE),
            ("NONE", None, Level.NONE),
            ("may", None, Level.MAY),
            (None, "Must_NoPeerMatch", Level.ENCRYPT),
            (None, "MUST", Level.VERIFY),
            ("NONE", "MAY", Level.NONE),
            ("MAY", "NONE", Level.NONE),
            ("MAY", "MUST", Level.VERIFY),
            ("MUST", "MAY", Level.VERIFY),
            ("MUST", "NONE", Level.VERIFY),
            ("NONE", "MUST_NOPEERMATCH", Level.ENCRYPT),
            ("MUST", "MUST_NOPEERMATCH", Level.VERIFY),
            ("MUST_NOPEERMATCH", "NONE", Level.ENCRYPT),
        ]:
            entries = {key: word for key, word in (("dest.example", site), ("mx.example", host)) if word}
            tables = with_sites(entries or {"other.example": "MUST"})
            self.assertEqual(tables.policy().level, level, (site, host))

    def test_global_level(self) -> None:
        """Where nothing is found the global level counts, and may does not weaken it; all else overrides it."""
        tables = with_sites({"a.example": "MAY", "b.example": "NONE", "c.example": "MUST_NOPEERMATCH"}, level="verify")
        levels = [tables.policy(reached(f"{letter}.example")).level for letter in "abcd"]
        self.assertEqual(levels, [Level.VERIFY, Level.NONE, Level.ENCRYPT, Level.VERIFY])

    def test_keys(self) -> None:
        """Keys are whole: no parents; and a name that is both the destination and the host is looked up once."""
        tables = with_sites({".example": "MUST", "[mx.example]": "MAY", "MX.example": "NONE"})
        self.assertEqual(tables.policy(reached("a.example", "mx2.example")).level, Level.NONE)
        self.assertEqual(tables.policy(reached("[mx.example]", "mx3.example")).level, Level.MAY)
        failing = asking(smtp_tls_per_site="static:{}")
        failing.problem(reached("Mx.example", "mx.example"))
        self.assertIn("warning: smtp_tls_per_site lookup of Mx.example returns an empty string result", failing.lines)

    def test_unknown_word(self) -> None:
        """A word that means nothing is told with what it was found for."""
        tables = with_sites({"one.example": "STRICT", "mx2.example": "bogus"})
        for nexthop, host in (("one.example", "mx.example"), ("two.example", "mx2.example")):
            self.assertEqual(tables.problem(reached(nexthop, host)), "4.7.5 client TLS configuration problem")
        self.assertEqual(
            tables.lines[::2],
            [
                "warning: smtp_tls_per_site: unknown TLS policy 'STRICT' for next-hop destination one.example",
                "warning: smtp_tls_per_site: unknown TLS policy 'bogus' for server hostname mx2.example",
            ],
        )

    def test_table_fails(self) -> None:
        """Here a table that fails is a temporary problem, not one of the configuration."""
        tables = asking(smtp_tls_per_site="fail:trouble")
        self.assertEqual(tables.problem(), "4.3.0 Temporary lookup error")
        self.assertEqual(
            tables.lines[1:],
            [
                'warning: smtp_tls_per_site: next-hop destination "dest.example": per-site table lookup error',
                "warning: TLS policy lookup for dest.example/mx.example: Temporary lookup error",
            ],
        )
