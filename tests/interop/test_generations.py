"""Changes of the configuration while the service runs: main.cf, master.cf and every kind of file that tables are made from.

Nothing is started again, and nobody is told, but where a test says so.
Sources: postconf(5); master(5); DATABASE_README(5).
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.interop.agents import SERVICE
from tests.interop.case import InteropCase, message, needs_own_service
from tests.kit.script import Late, Rule
from tests.kit.smtp_server import Message, ScriptedServer

SECONDS_UNTIL_NOTICED = 1.1
"""Files are looked at no more often than once a second."""

SENDER = "s@sender.example"

Write = Callable[[str], Awaitable[object]]
"""Writes a table so that SENDER becomes what it is given."""


def sender_of(received: Message) -> str:
    """The envelope sender of a message, without brackets and parameters."""
    return received.sender.removeprefix("<").partition(">")[0]


class GenerationsCase(InteropCase):
    """Mail to one server, and what it saw of it: smtp_generic_maps show what is in force."""

    async def begin_with_server(self, settings: Mapping[str, str], *rules: Rule, services: str = "") -> None:
        """Start all."""
        needs_own_service()
        self.create({"smtp_connection_cache_on_demand": "no", **settings}, services=services)
        await self.start_with_server(*rules)

    async def start_with_server(self, *rules: Rule, **options: Any) -> None:
        """Start what has been created."""
        self.destination: ScriptedServer = await self.server("192.0.2.1", *rules, **options)
        self._submitted = 0
        await self.start()

    async def submit(self) -> str:
        """Submit a message; gives its recipient."""
        self._submitted += 1
        recipient = f"u{self._submitted}@dest.example"
        await self.postfix.submit(SENDER, [recipient], message(sender=SENDER))
        return recipient

    async def deliver(self) -> str:
        """Send a message that arrives; gives the envelope sender that the server saw."""
        recipient = await self.submit()
        await self.postfix.settle()
        self.assertEqual(len(self.postfix.log(f"to=<{recipient}>", "status=sent")), 1, self.postfix.log(recipient))
        return sender_of(self.destination.messages[-1])

    async def refused(self) -> str:
        """Send a message that is deferred; gives why."""
        recipient = await self.submit()
        await self.postfix.settle()
        (line,) = self.postfix.log(f"to=<{recipient}>", "status=deferred")
        return line

    async def wait(self) -> None:
        """Let so much time pass that a change must have been noticed with the next message."""
        await self.postfix.pause(SECONDS_UNTIL_NOTICED)

    def write(self, name: str, text: str) -> str:
        """Write a file, with the time of now; gives its path."""
        path = self.postfix.etc / name
        path.write_text(text)
        return str(path)


class TablesTests(GenerationsCase):
    """A changed table counts for new mail, whatever it is made from."""

    timeout = 120

    async def check(self, table: str, write: Write) -> None:
        """A table gives what was written last."""
        await write("0@sender.example")
        self.postfix.configure({"smtp_generic_maps": table})
        for number in range(3):
            sender = f"{number}@sender.example"
            await write(sender)
            await self.wait()
            self.assertEqual(await self.deliver(), sender, table)

    async def postmap(self, table: str, text: str) -> None:
        """Let the real program make a table."""
        self.write("map", text)
        status, said = await self.postfix.run("postmap", table)
        self.assertEqual((status, said), (0, ""))

    async def test_indexed_files(self) -> None:
        """What postmap(1) has written counts; what has changed in the text that it reads does not."""
        await self.begin_with_server({})
        for kind in ("hash", "btree", "lmdb", "cdb"):
            table = f"{kind}:{self.postfix.etc}/map"
            await self.check(table, lambda sender, table=table: self.postmap(table, f"{SENDER} {sender}\n"))  # type: ignore[misc]
            self.write("map", f"{SENDER} not@sender.example\n")
            await self.wait()
            self.assertEqual(await self.deliver(), "2@sender.example")

    async def test_text_files(self) -> None:
        """Text is read anew, which Postfix would do only after a while."""
        await self.begin_with_server({})
        for kind, form in (("texthash", "s@sender.example {}"), ("regexp", "/^s@/ {}"), ("pcre", "/^s@/ {}")):

            async def write(sender: str, form: str = form) -> None:
                self.write("map", form.format(sender) + "\n")

            await self.check(f"{kind}:{self.postfix.etc}/map", write)

    async def test_databases(self) -> None:
        """A database is asked each time; the file with its parameters is read anew."""
        await self.begin_with_server({})
        path = self.postfix.etc / "data"
        query = f"dbpath = {path}\nquery = select v from t where k = '%s'\n"

        async def write_data(sender: str) -> None:
            with sqlite3.connect(path) as connection:
                connection.execute("create table if not exists t (k text primary key, v text)")
                connection.execute("insert or replace into t values (?, ?)", (SENDER, sender))
            path.chmod(0o644)

        async def write_parameters(sender: str) -> None:
            self.write("table.cf", f"{query}result_format = {sender}\n")

        self.write("table.cf", query)
        await self.check(f"sqlite:{self.postfix.etc}/table.cf", write_data)
        await self.check(f"sqlite:{self.postfix.etc}/table.cf", write_parameters)

    async def test_lists(self) -> None:
        """The file of a list is read anew; this one says which addresses may be looked up by their local part."""
        self.create({})
        path = self.write("list", "other.example\n")
        settings = {"mydestination": path, "smtp_generic_maps": "inline:{s=local@sender.example}"}
        self.postfix.configure({"smtp_connection_cache_on_demand": "no", **settings})
        await self.start_with_server()
        self.assertEqual(await self.deliver(), SENDER)
        self.write("list", "other.example sender.example\n")
        await self.wait()
        self.assertEqual(await self.deliver(), "local@sender.example")

    async def test_broken_tables(self) -> None:
        """A table that cannot be opened any more defers mail; when it is mended, the mail goes out."""
        await self.begin_with_server({})
        path = self.postfix.etc / "map"
        for kind in ("texthash", "regexp"):
            self.postfix.configure({"smtp_generic_maps": f"{kind}:{path}"})
            path.unlink(missing_ok=True)
            await self.wait()
            self.assertIn("dsn=4.3.0", await self.refused())
            self.assertEqual(len(self.postfix.log("error: open ", f"{path}: No such file or directory")), 1)
            self.write("map", f"{SENDER if kind == 'texthash' else '/^s@/'} mended@sender.example\n")
            await self.wait()
            self.assertEqual(await self.deliver(), "mended@sender.example")
            self.postfix.maillog.write_text("")
            await self.postfix.flush()
            await self.postfix.settle()
            self.assertEqual(await self.postfix.queue(), [])


class MainCfTests(GenerationsCase):
    """main.cf, and what it cannot be."""

    async def test_change(self) -> None:
        """What main.cf says now counts for new mail."""
        await self.begin_with_server({})
        self.assertEqual(await self.deliver(), SENDER)
        for sender in ("a@sender.example", "b@sender.example"):
            self.postfix.configure({"smtp_generic_maps": f"static:{sender}"})
            await self.wait()
            self.assertEqual(await self.deliver(), sender)

    async def test_in_flight(self) -> None:
        """A message that is under way keeps what it began with, while others already have the new."""
        await self.begin_with_server({"smtp_generic_maps": "static:old@sender.example"}, ("DATA", Late(3.0), None))
        await self.submit()
        await self.destination.until(lambda: bool(self.destination.sessions))
        self.postfix.configure({"smtp_generic_maps": "static:new@sender.example"})
        await self.wait()
        await self.submit()
        await self.postfix.settle()
        self.assertEqual(
            [sender_of(each) for each in self.destination.messages], ["new@sender.example", "old@sender.example"]
        )
        for each in self.destination.messages:
            self.assertIn(f"From: {sender_of(each)}".encode(), each.content)

    async def test_broken(self) -> None:
        """A main.cf that cannot be used defers new mail, says so once, and the first good edit ends it."""
        await self.begin_with_server({"smtp_generic_maps": "static:a@sender.example"})
        self.assertEqual(await self.deliver(), "a@sender.example")
        path = self.postfix.etc / "main.cf"
        whole = path.read_text()
        path.write_text(whole + "smtp_helo_timeout = 1y\n")
        await self.wait()
        for _ in range(2):
            self.assertRegex(await self.refused(), r"dsn=4\.3\.5, status=deferred \(mail system configuration error: ")
        self.assertEqual(len(self.postfix.log("]: error: ", f"{path}, line ")), 1)
        path.write_text(whole)
        await self.wait()
        self.assertEqual(await self.deliver(), "a@sender.example")

    async def test_broken_elsewhere(self) -> None:
        """The same for parameters of a database that make all of it unusable, here from the start."""
        needs_own_service()
        self.create({"smtp_connection_cache_on_demand": "no"})
        path = self.write("table.cf", "query = select 1\n")
        self.postfix.configure({"smtp_generic_maps": f"sqlite:{path}"})
        await self.start_with_server()
        self.assertRegex(await self.refused(), r"4\.3\.5.*bad string length 0 < 1: dbpath = ")
        data = self.postfix.etc / "data"
        self.write("table.cf", f"dbpath = {data}\nquery = select 'new@sender.example'\n")
        await self.wait()
        self.assertRegex(await self.refused(), r"4\.3\.5.*unable to open database file")
        sqlite3.connect(data).close()
        data.chmod(0o644)
        await self.wait()
        self.assertEqual(await self.deliver(), "new@sender.example")


class MasterCfTests(GenerationsCase):
    """Our entry in master.cf."""

    async def test_reload(self) -> None:
        """What master.cf says is taken up when Postfix is told to reload, and not before."""

        def entry(sender: str) -> str:
            return f"{SERVICE} unix - - n - - smtp -o smtp_generic_maps=static:{sender}\n"

        settings = {"master_service_disable": f"{SERVICE}/unix"}
        await self.begin_with_server(settings, services=entry("old@sender.example"))
        self.assertEqual(await self.deliver(), "old@sender.example")
        path = self.postfix.etc / "master.cf"
        path.write_text(path.read_text().replace("old@", "new@"))
        await self.wait()
        self.assertEqual(await self.deliver(), "old@sender.example")
        await self.postfix.reload()
        self.assertEqual(await self.deliver(), "new@sender.example")
        self.assertEqual(await self.deliver(), "new@sender.example")
