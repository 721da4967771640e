"""Tests of twisted_mta.postfix.own_entry."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings, load_settings
from twisted_mta.postfix.own_entry import OwnEntry

OTHERS = "smtp inet n - n - - smtpd\nagent inet n - n - - smtpd\n"


class OwnEntryTests(SynchronousTestCase):
    """A master.cf."""

    def setUp(self) -> None:
        """Where it is."""
        self.path = Path(self.mktemp()).absolute()
        self.told: list[str] = []

    def entry(self, line: str, given: str | None = None) -> OwnEntry:
        """Our entry."""
        self.path.write_text(f"{OTHERS}{line}\n")
        entry = OwnEntry(self.path, "agent", given)
        entry.read(self.told.append)
        return entry

    def settings(self, **values: str) -> Settings:
        """Some parameters."""
        return load_settings(None, overrides=list(values.items()))

    def test_options(self) -> None:
        """What it says to a delivery agent counts; what it says to another program does not."""
        entry = self.entry("agent unix - - n - - smtp -v -o smtp_helo_name=x flags=DR")
        self.assertEqual((entry.options.overrides, entry.options.flags), ((("smtp_helo_name", "x"),), "DR"))
        entry = self.entry("agent unix - - n - - pipe -v flags=DR")
        self.assertEqual((entry.options.overrides, entry.options.flags, entry.problem), ((), "", ""))

    def test_none(self) -> None:
        """There need not be any, nor a file."""
        for entry in (self.entry(""), OwnEntry(Path("/absent"), "agent")):
            entry.read(self.told.append)
            self.assertEqual((entry.options.overrides, entry.problem, entry.handed_over), ((), "", ""))
            entry.refuse_if_master_serves(self.settings())
            self.assertFalse(entry.is_chrooted(self.settings()))

    def test_problems(self) -> None:
        """What is wrong is told with file and line; until it is mended, and read again, the former options stay."""
        entry = self.entry("agent unix - - n - - smtp -o smtp_helo_name=x")
        self.path.write_text("agent unix - - n - - smtp -o nonsense\n")
        entry.read(self.told.append)
        self.assertIn('invalid "-o nonsense" option value', entry.problem)
        self.assertEqual(entry.options.overrides, (("smtp_helo_name", "x"),))
        self.path.write_text("agent unix - - x\n")
        entry.read(self.told.append)
        self.assertEqual(entry.problem, f'{self.path}: line 1: field "chroot": bad value: "x"')
        self.assertFalse(entry.is_chrooted(self.settings()))
        self.path.write_text("agent unix - - n - - smtp\n")
        entry.read(self.told.append)
        self.assertEqual((entry.problem, entry.options.overrides), ("", ()))

    def test_handed_over(self) -> None:
        """A worker gets what was read, whatever is in the file now; problems have their place all the same."""
        for line in ("agent unix - - y - - lmtp -o { smtp_helo_name = a b } flags=X", "agent unix - - x"):
            entry = self.entry(line)
            handed_over = entry.handed_over
            given = self.entry("agent unix - - n - - smtp", handed_over)
            self.assertEqual((given.options, given.problem), (entry.options, entry.problem))
            self.assertEqual(given.is_chrooted(self.settings()), entry.is_chrooted(self.settings()))
            self.assertEqual(given.handed_over, handed_over)
        self.assertEqual(self.entry("agent unix - - n - - smtp", "").handed_over, "")

    def test_chroot(self) -> None:
        """What a hyphen means depends on the compatibility level; only a delivery agent's matters."""
        old, new = self.settings(compatibility_level="0"), self.settings(compatibility_level="3.6")
        for field, program, expected in (
            ("-", "smtp", (True, False)),
            ("y", "lmtp", (True, True)),
            ("n", "smtp", (False, False)),
            ("y", "pipe", (False, False)),
        ):
            entry = self.entry(f"agent unix - - {field} - - {program}")
            self.assertEqual((entry.is_chrooted(old), entry.is_chrooted(new)), expected)

    def test_served_by_master(self) -> None:
        """An entry that master(8) serves keeps us from starting, whatever its program is; a disabled one does not."""
        for program in ("smtp", "pipe"):
            entry = self.entry(f"agent unix - - n - - {program}")
            with self.assertRaises(ConfigError) as caught:
                entry.refuse_if_master_serves(self.settings())
            self.assertIn("list agent/unix in master_service_disable", caught.exception.text)
            self.assertEqual(caught.exception.where, f"{self.path}, line 3")
            entry.refuse_if_master_serves(self.settings(master_service_disable="other/unix, agent/unix"))
