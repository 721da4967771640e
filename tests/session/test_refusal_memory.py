"""The table of refused logins, whatever it holds and however it fails."""

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_mta.interfaces import IWritableTable, TableError
from twisted_mta.model.events import Event
from twisted_mta.model.login import Secret
from twisted_mta.model.sasl_events import BadCacheEntry
from twisted_mta.sasl.credentials import Credentials
from twisted_mta.sasl.refusals import Refusal, digest_of
from twisted_mta.session.refusal_memory import RefusalMemory
from twisted_mta.smtp.reply import Reply

NOW = 1_700_000_000
WHO = Credentials("user", Secret("secret"))
REFUSED = Reply(535, "5.7.8", "535-5.7.8 one\n535 5.7.8 two")
KEY = "mx.example;user"


@implementer(IWritableTable)
class RemoteTable:
    """A table that answers with Deferreds, and may break."""

    name, by_pattern = "remote:x", False

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values
        self.broken = False

    def lookup(self, key: str) -> Deferred[str | None]:
        """The value."""
        return self._unless_broken(self.values.get(key))

    def update(self, key: str, value: str) -> Deferred[None]:
        """Keep a value."""
        if not self.broken:
            self.values[key] = value
        return self._unless_broken(None)

    def delete(self, key: str) -> Deferred[None]:
        """Take a value away."""
        if not self.broken:
            self.values.pop(key, None)
        return self._unless_broken(None)

    def changed(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing is held."""

    def _unless_broken(self, value: Any) -> Deferred[Any]:
        return fail(TableError(self.name, "gone")) if self.broken else succeed(value)


class MemoryTests(SynchronousTestCase):
    """What is asked, and what is written."""

    def setUp(self) -> None:
        """An empty table."""
        self.events: list[Event] = []
        self.values: dict[str, str] = {}
        self.table = RemoteTable(self.values)
        self.memory = RefusalMemory(self.table, 100, lambda: float(NOW), self.events.append)

    def find(self, who: Credentials = WHO) -> Refusal | None:
        """What is known."""
        found: Refusal | None = self.successResultOf(Deferred.fromCoroutine(self.memory.find("mx.example", who)))
        return found

    def remember(self, reply: Reply = REFUSED, who: Credentials = WHO) -> None:
        """Tell of a reply."""
        self.successResultOf(Deferred.fromCoroutine(self.memory.remember("mx.example", who, reply)))

    def test_written(self) -> None:
        """An entry is that of smtp(8), and is found again."""
        verifyObject(IWritableTable, self.table)
        self.assertIsNone(self.find())
        self.remember()
        self.assertEqual(self.values, {KEY: f"{NOW};{digest_of(WHO.password)};5.7.8;{REFUSED.text}"})
        self.assertEqual(self.find(), Refusal(NOW, digest_of(WHO.password), "5.7.8", REFUSED.text))
        self.assertIsNone(self.find(Credentials("other", WHO.password)))

    def test_other_passwords(self) -> None:
        """An entry of another password is taken away."""
        self.remember()
        self.assertIsNone(self.find(Credentials("user", Secret("new"))))
        self.assertEqual(self.values, {})

    def test_old_entries(self) -> None:
        """So is one that is too old, and one that makes no sense, which is told, without the value."""
        self.values[KEY] = Refusal(NOW - 101, digest_of(WHO.password), "5.7.8", "535 no").to_text()
        self.assertIsNone(self.find())
        self.assertEqual((self.values, self.events), ({}, []))
        self.values[KEY] = "nonsense"
        self.assertIsNone(self.find())
        self.assertEqual((self.values, self.events), ({}, [BadCacheEntry("smtp_sasl_auth_cache", KEY)]))

    def test_other_replies(self) -> None:
        """Nothing but a 535 is written down."""
        for code in (534, 530, 454, 550, 150):
            self.remember(Reply(code, "5.7.8", f"{code} no"))
        self.assertEqual(self.values, {})

    def test_octets(self) -> None:
        """Names and replies that are not UTF-8 cannot be in a table."""
        odd = Credentials("us\udcffr", WHO.password)
        self.remember(who=odd)
        self.remember(Reply(535, "5.7.8", "535 \udcff"))
        self.assertIsNone(self.find(odd))
        self.assertEqual(self.values, {})

    def test_table_that_fails(self) -> None:
        """Where the table cannot be asked or written to, the login is tried, and nobody is hurt."""
        self.remember()
        self.table.broken = True
        self.assertIsNone(self.find())
        self.assertIsNone(self.find(Credentials("user", Secret("new"))))
        self.remember()
        self.table.broken = False
        self.assertIsNotNone(self.find())
