"""Account files: who may read them, and what is made of them."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.oauth.accounts import FOLDER, Accounts, read_account

TEXT = 'grant = "client_credentials"\nclient_id = "id"\ntoken_endpoint = "https://t.example/t"\n'


class AccountsCase(SynchronousTestCase):
    """A configuration directory."""

    def setUp(self) -> None:
        """Make it."""
        self.etc = Path(self.mktemp()).absolute()
        self.folder = self.etc / FOLDER
        self.folder.mkdir(parents=True)

    def write(self, name: str, text: str, mode: int = 0o640) -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path


class FolderTests(AccountsCase):
    """All accounts of a configuration."""

    def test_accounts(self) -> None:
        """Each file whose name can be that of an account is one, in order; broken ones are there with what is wrong."""
        self.write("work.toml", f'{TEXT}client_secret = "hush"\n')
        self.write("bad.toml", TEXT)
        self.write("work.toml~", "")
        self.write(".work.toml", "")
        self.write("two words.toml", "")
        accounts = Accounts(self.etc)
        self.assertEqual(accounts.names, ["bad", "work"])
        self.assertEqual(accounts.find("work").client_secret, "hush")
        self.assertEqual(list(accounts.problems), ["bad"])
        error = self.assertRaises(ConfigError, accounts.find, "bad")
        self.assertEqual(
            error.describe(),
            f"{self.folder}/bad.toml: grant client_credentials needs client_secret or client_secret_file",
        )

    def test_no_such_account(self) -> None:
        """A name without a file is told with the file that should be there."""
        error = self.assertRaises(ConfigError, Accounts(self.etc).find, "home")
        self.assertEqual(error.describe(), f"{self.folder}/home.toml: there is no such file")

    def test_no_folder(self) -> None:
        """Without a folder, or a configuration directory, there are no accounts."""
        self.assertEqual(Accounts(self.etc / "nowhere").names, [])
        accounts = Accounts(None)
        self.assertEqual((accounts.names, accounts.folder, accounts.changed()), ([], None, False))
        self.assertIn("no configuration directory", str(self.assertRaises(ConfigError, accounts.find, "work")))

    def test_changes(self) -> None:
        """A file that is edited, added or removed is noticed, and so is one that it refers to."""
        secret = self.write("secret", "hush\n")
        path = self.write("work.toml", f'{TEXT}client_secret_file = "{secret}"\n')
        accounts = Accounts(self.etc)
        self.assertFalse(accounts.changed())
        for change in (
            lambda: secret.write_text("other\n"),
            lambda: path.chmod(0o600),
            lambda: self.write("home.toml", ""),
            path.unlink,
        ):
            accounts = Accounts(self.etc)
            change()
            self.assertTrue(accounts.changed())

    def test_folder_of_root(self) -> None:
        """A folder that may not be looked into any more, because the service is not root any more, has not changed."""
        if os.geteuid() != 0:
            self.skipTest("needs root, to be somebody else afterwards")
        self.write("work.toml", f'{TEXT}client_secret = "hush"\n')
        self.folder.chmod(0o700)
        accounts = Accounts(self.etc)
        os.seteuid(65534)
        self.addCleanup(os.seteuid, 0)
        self.assertFalse(accounts.changed())
        self.assertEqual(accounts.find("work").client_secret, "hush")

    def test_folder_comes_later(self) -> None:
        """So is the folder itself."""
        accounts = Accounts(self.etc / "later")
        self.assertFalse(accounts.changed())
        (self.etc / "later" / FOLDER).mkdir(parents=True)
        self.assertTrue(accounts.changed())


class FileTests(AccountsCase):
    """One account file."""

    def problem(self, path: Path) -> str:
        """What is wrong with an account."""
        error: ConfigError = self.assertRaises(ConfigError, read_account, path)
        self.assertNotIn("hush", error.describe())
        return error.describe()

    def test_secret_in_a_file(self) -> None:
        """A secret may stand in a file of its own, on one line."""
        secret = self.write("secret", " hush \n")
        path = self.write("work.toml", f'{TEXT}client_secret_file = "{secret}"\n', 0o644)
        self.assertEqual(read_account(path).client_secret, "hush")
        for text in ("", "\n", "two\nlines", "\x00"):
            secret.write_text(text)
            self.assertEqual(
                self.problem(path), f"{secret}: parameter client_secret_file: it is not a secret of one line"
            )

    def test_exposed_secrets(self) -> None:
        """A secret that everybody can read is none, whether in the account file or in its own."""
        path = self.write("work.toml", f'{TEXT}client_secret = "hush"\n', 0o644)
        self.assertEqual(
            self.problem(path), f"{path}: everybody may read it, and client_secret is in it: chmod o= {path}"
        )
        secret = self.write("secret", "hush\n", 0o644)
        path = self.write("work.toml", f'{TEXT}client_secret_file = "{secret}"\n')
        self.assertEqual(self.problem(path), f"{secret}: everybody may read it, and it is a secret: chmod o= {secret}")

    def test_writable_file(self) -> None:
        """Whoever can write the file could have the secret sent to himself."""
        path = self.write("work.toml", f'{TEXT}client_secret_file = "/x"\n', 0o642)
        self.assertEqual(self.problem(path), f"{path}: everybody may write it: chmod o= {path}")

    def test_public_client(self) -> None:
        """A file without a secret may be read by everybody."""
        text = (
            'grant = "device_code"\nclient_id = "id"\ntoken_endpoint = "https://t.example/t"\n'
            'device_authorization_endpoint = "https://t.example/d"\n'
        )
        self.assertEqual(read_account(self.write("work.toml", text, 0o644)).name, "work")

    def test_what_is_no_file(self) -> None:
        """Things that cannot be read, or never end."""
        path = self.folder / "work.toml"
        self.assertEqual(self.problem(path), f"{path}: No such file or directory")
        path.mkdir()
        self.assertRegex(self.problem(path), f"^{path}: (Is a directory|it is not a regular file)$")
        path.rmdir()
        os.mkfifo(path)
        self.assertEqual(self.problem(path), f"{path}: it is not a regular file")
        path.unlink()
        self.write("work.toml", "#" * 70000)
        self.assertEqual(self.problem(path), f"{path}: it has more than 65536 bytes")
        path.write_bytes(b"\xff")
        self.assertEqual(self.problem(path), f"{path}: it is not UTF-8")
