"""DNS reply filters, against what a running smtp(8) does."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.routing.fakes import FakeDNS, Zone
from twisted_mta.dns.filter import FilteringClient, LookUp, text_of
from twisted_mta.interfaces import IDNSClient, TableError
from twisted_mta.model.answers import (
    AddressRecord,
    Answer,
    LookupResult,
    MxRecord,
    NameRecord,
    RecordType,
    SrvRecord,
    TlsaRecord,
)
from twisted_mta.model.events import Event, RecordIgnored, UnknownFilterAction

A, AAAA, MX = RecordType.A, RecordType.AAAA, RecordType.MX
ZONE: Zone = {
    ("MX", "d.example"): ["10 mx1.d.example", "20 mx2.d.example"],
    ("A", "mx1.d.example"): ["192.0.2.1"],
    ("A", "nx.example"): LookupResult.NOT_FOUND,
    ("MX", "alias.example"): ["d.example@10 mx1.d.example"],
}


class FilterTests(SynchronousTestCase):
    """A filter in front of a name server."""

    def ask(
        self, table: Callable[[str], str | None] | LookUp, name: str = "d.example", rdtype: RecordType = MX
    ) -> Answer:
        """Ask with a table; what was looked up in it is in `keys`."""
        self.events: list[Event] = []
        self.keys: list[str] = []

        def look_up(key: str) -> str | Deferred[str | None] | None:
            self.keys.append(key)
            return table(key)

        self.client = FilteringClient(FakeDNS(ZONE), look_up, "smtp_dns_reply_filter", self.events.append)
        return self.successResultOf(self.client.lookup(name, rdtype))

    def test_interface(self) -> None:
        """It is a DNS client."""
        self.ask(lambda key: None)
        verifyObject(IDNSClient, self.client)

    def test_nothing_found(self) -> None:
        """Every record is looked up; what is not in the table stays, and so does the rest of the answer."""
        answer = self.ask(lambda key: None)
        self.assertEqual(self.keys, ["d.example. 60 IN MX 10 mx1.d.example.", "d.example. 60 IN MX 20 mx2.d.example."])
        self.assertEqual(answer, self.successResultOf(FakeDNS(ZONE).lookup("d.example", MX)))
        self.assertEqual(self.events, [])

    def test_ignored(self) -> None:
        """IGNORE in any case, with whatever behind it, drops a record, and says so."""
        for action in ("IGNORE", "ignore it", "Ignore\tthis one "):
            answer = self.ask(lambda key, action=action: action if " 10 " in key else None)
            self.assertEqual(answer.result, LookupResult.OK)
            self.assertEqual([record.exchange for record in answer.records], ["mx2.d.example"])  # type: ignore[union-attr]
            self.assertEqual(self.events, [RecordIgnored("d.example. 60 IN MX 10 mx1.d.example.")])

    def test_all_ignored(self) -> None:
        """An answer without any record left is a matter of policy, and is not kept."""
        answer = self.ask(lambda key: "ignore")
        self.assertEqual(answer.result, LookupResult.POLICY)
        self.assertEqual(answer.reason, "Error looking up name=d.example type=MX: DNS reply filter drops all results")
        self.assertEqual((answer.records, answer.lifetime), ((), 0))

    def test_names_behind_aliases(self) -> None:
        """Records are looked up where they stand; the text has the name that was asked for."""
        answer = self.ask(lambda key: "ignore", "alias.example")
        self.assertEqual(self.keys, ["d.example. 60 IN MX 10 mx1.d.example."])
        self.assertIn("name=alias.example", answer.reason)

    def test_unknown_action(self) -> None:
        """Anything else is a mistake: nobody knows what to do, so mail waits."""
        for action in ("DROP it", "IGNOREX", " "):
            answer = self.ask(lambda key, action=action: action)
            self.assertEqual(answer.result, LookupResult.RETRY)
            self.assertEqual(answer.reason, "Error looking up name=d.example type=MX: Invalid DNS reply filter syntax")
            self.assertEqual(self.events, [UnknownFilterAction("smtp_dns_reply_filter", action)])
            self.assertEqual(len(self.keys), 1)

    def test_table_that_fails(self) -> None:
        """So it is where a table cannot be asked, at once or later."""
        error = TableError("fail:x", "lookups always fail")

        def broken(key: str) -> str | None:
            raise error

        for table in (broken, lambda key: fail(error)):
            self.assertEqual(self.ask(table).result, LookupResult.RETRY)
            self.assertEqual(self.events, [])

    def test_slow_table(self) -> None:
        """A table may take its time, and the lookup may be given up meanwhile."""
        found: Deferred[str | None] = Deferred()
        client = FilteringClient(FakeDNS(ZONE), lambda key: found, "x", self.fail)
        lookup = client.lookup("mx1.d.example", A)
        self.assertNoResult(lookup)
        found.callback(None)
        self.assertEqual(self.successResultOf(lookup).result, LookupResult.OK)
        given_up: Deferred[str | None] = Deferred()
        client = FilteringClient(FakeDNS(ZONE), lambda key: given_up, "x", self.fail)
        lookup = client.lookup("mx1.d.example", A)
        lookup.cancel()
        self.failureResultOf(lookup)

    def test_failures_are_not_looked_up(self) -> None:
        """Only records are."""
        self.assertEqual(self.ask(lambda key: "ignore", "nx.example", A).result, LookupResult.NOT_FOUND)
        self.assertEqual(self.keys, [])

    def test_texts(self) -> None:
        """Each type as zone files have it."""
        for record, rdtype, text in (
            (AddressRecord("a.example", 0, "192.0.2.1"), A, "a.example. 0 IN A 192.0.2.1"),
            (AddressRecord("a.example", 5, "2001:db8::1"), AAAA, "a.example. 5 IN AAAA 2001:db8::1"),
            (
                SrvRecord("s.example", 1, 10, 20, 587, "h.example"),
                RecordType.SRV,
                "s.example. 1 IN SRV 10 20 587 h.example.",
            ),
            (TlsaRecord("t.example", 1, 3, 1, 1, b"\xab\x01"), RecordType.TLSA, "t.example. 1 IN TLSA 3 1 1 ab01"),
            (NameRecord("", 1, "ns.example"), RecordType.NS, ". 1 IN NS ns.example."),
            (MxRecord("m.example", 1, 0, "h.example"), MX, "m.example. 1 IN MX 0 h.example."),
        ):
            self.assertEqual(text_of(record, rdtype), text)
