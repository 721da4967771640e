"""Where credentials are found."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.lookup_tables import AtOnce, SlowTable
from tests.tables.opened import OpenTables
from twisted_mta.interfaces import TableError
from twisted_mta.model.login import Secret
from twisted_mta.sasl.credentials import Credentials, CredentialTables
from twisted_mta.tables.address_lookup import AddressFound
from twisted_mta.tables.maps import Maps

HOST, DESTINATION = "mx.example", "[mx.example]:587"


class RecordingTable(AtOnce):
    """Writes down what it is asked for."""

    def lookup(self, key: str) -> Any:
        """Answer."""
        self.asked.append((key, None))  # type: ignore[arg-type]
        return super().lookup(key)


class LookupTests(SynchronousTestCase):
    """In which order keys are looked up."""

    def setUp(self) -> None:
        """No events yet."""
        self.opened = OpenTables(Path(self.mktemp()))

    def tables(self, values: dict[str, object], delimiter: str = ":", *, senders: bool = False) -> CredentialTables:
        """Tables with these values."""
        self.table = RecordingTable(values)
        maps = Maps("smtp_sasl_password_maps", [self.table], self.opened.events.append)

        async def find_sender(address: str) -> AddressFound | None:
            found = await maps.find(address)
            return None if found is None else AddressFound(found)

        return CredentialTables(maps, delimiter, find_sender if senders else None)

    def found(self, tables: CredentialTables, sender: str = "a@b.example", destination: str = DESTINATION) -> object:
        """The credentials."""
        return self.successResultOf(tables.find(sender, HOST, destination))

    def test_order(self) -> None:
        """The sender, if that is wanted, then the host, then the destination as it is configured."""
        everything: dict[str, object] = {"a@b.example": "s:1", HOST: "h:2", DESTINATION: "d:3"}
        self.assertEqual(self.found(self.tables(everything, senders=True)), Credentials("s", Secret("1")))
        self.assertEqual(self.found(self.tables(everything)), Credentials("h", Secret("2")))
        self.assertEqual(self.found(self.tables({DESTINATION: "d:3"})), Credentials("d", Secret("3")))
        self.assertIsNone(self.found(self.tables({}, senders=True)))
        self.assertEqual([key for key, _ in self.table.asked], ["a@b.example", HOST, DESTINATION])

    def test_keys(self) -> None:
        """There are no other keys: neither parents, nor forms without port; and none twice."""
        values: dict[str, object] = {"[mx.example]": "x:1", "example": "x:1", "mx.example:587": "x:1"}
        self.assertIsNone(self.found(self.tables(values)))
        self.assertIsNone(self.found(self.tables({}), destination=HOST))
        self.assertEqual([key for key, _ in self.table.asked], [HOST])

    def test_null_sender(self) -> None:
        """The null sender has no credentials of its own."""
        self.found(self.tables({}, senders=True), sender="")
        self.assertEqual([key for key, _ in self.table.asked], [HOST, DESTINATION])

    def test_delimiter(self) -> None:
        """The first delimiter ends the name; without one there is no password."""
        for delimiter, value, user, password in [
            (":", "user:pa:ss", "user", "pa:ss"),
            (":", "user", "user", ""),
            (":", ":p", "", "p"),
            ("|", "do:main/user|se|cret", "do:main/user", "se|cret"),
            (" ", "user : pass ", "user", ": pass "),
        ]:
            found = self.found(self.tables({HOST: value}, delimiter))
            self.assertEqual(found, Credentials(user, Secret(password)), value)

    def test_errors(self) -> None:
        """A table that fails ends the search, even if the next key would be found."""
        for values in ({HOST: TableError("t", "gone"), DESTINATION: "d:3"}, {HOST: "", DESTINATION: "d:3"}):
            tables = self.tables(dict(values))
            self.failureResultOf(tables.find("", HOST, DESTINATION), TableError)

    def test_slow_tables(self) -> None:
        """A table may take its time."""
        slow = SlowTable()
        tables = CredentialTables(Maps("p", [slow], self.opened.events.append))
        waiting = Deferred.fromCoroutine(tables.find("", HOST, DESTINATION))
        self.assertNoResult(waiting)
        self.assertEqual(slow.answer(None), HOST)
        self.assertEqual(slow.answer("u:p"), DESTINATION)
        self.assertEqual(self.successResultOf(waiting), Credentials("u", Secret("p")))

    def test_unspeakable(self) -> None:
        """Line breaks and null characters are found in both."""
        for user, password in [("a\nb", ""), ("a", "b\r"), ("a", "\0b")]:
            self.assertFalse(Credentials(user, Secret(password)).is_speakable)
        self.assertTrue(Credentials("\u00fc ser", Secret("p\udcff\tx")).is_speakable)
