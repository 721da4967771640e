"""Token files: who may read them, how they are written, and who refreshes."""

import os
import stat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.oauth.store import LARGEST_FILE, NO_FILE, TokenStore, store_of
from twisted_mta.sasl.oauth_account import Account, Grant
from twisted_mta.sasl.oauth_tokens import TokenFileError, Tokens, to_text

TOKENS = Tokens("a1", 1000.0, 4600.0, "r1", "mail")
USER = "alice@x.example"


class StoreCase(SynchronousTestCase):
    """A place for token files."""

    def setUp(self) -> None:
        """Make it; the folder itself is not there yet."""
        self.data = Path(self.mktemp()).absolute()
        self.data.mkdir()
        self.store = TokenStore(self.data / "tokens")
        self.path = self.store.path("work", USER)

    def problem(self) -> str:
        """Why the tokens cannot be read."""
        text = str(self.assertRaises(TokenFileError, self.store.load, "work", USER))
        self.assertNotIn("r1", text)
        return text


class SaveTests(StoreCase):
    """Writing."""

    def test_round_trip(self) -> None:
        """What was kept is there again, for the user in any case; nobody else may read it, nor look into the folder."""
        self.store.save("work", USER, TOKENS)
        self.assertEqual(self.store.load("work", "Alice@X.example"), TOKENS)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.store.folder.stat().st_mode), 0o700)
        self.assertEqual(os.listdir(self.store.folder), [self.path.name])

    def test_any_umask(self) -> None:
        """A careless umask changes nothing."""
        former = os.umask(0)
        self.addCleanup(os.umask, former)
        self.test_round_trip()

    def test_all_or_nothing(self) -> None:
        """Until new tokens are there completely, the old ones are; room that is not used leaves nothing behind."""
        self.store.save("work", USER, TOKENS)
        room = self.store.reserve("work", USER)
        self.assertEqual(self.store.load("work", USER), TOKENS)
        room.discard()
        self.assertEqual(os.listdir(self.store.folder), [self.path.name])
        room = self.store.reserve("work", USER)
        room.commit(to_text("work", USER, Tokens("a2")))
        self.assertEqual(self.store.load("work", USER), Tokens("a2"))
        self.assertEqual(os.listdir(self.store.folder), [self.path.name])

    def test_room_is_taken_beforehand(self) -> None:
        """What is reserved is enough for the longest tokens, and given back."""
        room = self.store.reserve("work", USER)
        (new,) = self.store.folder.iterdir()
        self.assertEqual(new.stat().st_size, LARGEST_FILE)
        text = to_text("work", USER, Tokens("a" * 8192, 1.0, 2.0, "r" * 8192, "s" * 8192))
        self.assertLess(len(text), LARGEST_FILE)
        room.commit(text)
        self.assertEqual(self.path.stat().st_size, len(text))

    def test_stamp(self) -> None:
        """Each save changes the stamp."""
        stamps = [self.store.stamp("work", USER)]
        for _ in range(3):
            self.store.save("work", USER, TOKENS)
            stamps.append(self.store.stamp("work", USER))
        self.assertEqual(stamps[0], NO_FILE)
        self.assertEqual(len(set(stamps)), 4)

    def test_no_room(self) -> None:
        """Where nothing can be written, that is said before anything else happens."""
        store = TokenStore(self.data / "nowhere" / "tokens")
        error = self.assertRaises(TokenFileError, store.reserve, "work", USER)
        self.assertEqual(str(error), f"{store.folder}: cannot be made: No such file or directory")
        (self.data / "file").write_text("")
        store = TokenStore(self.data / "file")
        self.assertRaises(TokenFileError, store.reserve, "work", USER)
        self.assertRaises(TokenFileError, store.try_lock, "work", USER)

    def test_file_that_cannot_be_replaced(self) -> None:
        """A commit that fails is an error, and leaves nothing behind."""
        room = self.store.reserve("work", USER)
        self.path.mkdir()
        error = self.assertRaises(TokenFileError, room.commit, "x")
        self.assertIn(f"{self.path}: cannot be written: ", str(error))
        self.assertEqual(os.listdir(self.store.folder), [self.path.name])

    def test_folder_that_others_write(self) -> None:
        """A folder where others may put files is not used."""
        self.store.folder.mkdir()
        self.store.folder.chmod(0o777)
        error = self.assertRaises(TokenFileError, self.store.reserve, "work", USER)
        self.assertEqual(
            str(error), f"{self.store.folder}: others may write there (mode 0777): chmod go-w {self.store.folder}"
        )


class LoadTests(StoreCase):
    """Reading."""

    def test_nothing(self) -> None:
        """No file is no error: nobody has consented yet."""
        self.assertIsNone(self.store.load("work", USER))
        self.assertEqual(self.store.stamp("work", USER), NO_FILE)

    def test_permissions(self) -> None:
        """A file that group or others may read is refused, and so is one that they may write."""
        for mode in (0o640, 0o604, 0o620, 0o601):
            self.store.save("work", USER, TOKENS)
            self.path.chmod(mode)
            self.assertRegex(
                self.problem(),
                rf"^{self.path}: it is not for its owner alone \(mode {mode:04o}\): make it so with chmod 600",
            )

    def test_owner_is_named(self) -> None:
        """Whoever wonders why a file is refused is told whose it is."""
        if os.geteuid() != 0:
            self.skipTest("needs root, to give a file to somebody else")
        self.store.save("work", USER, TOKENS)
        os.chown(self.path, 65534, -1)
        self.path.chmod(0o640)
        self.assertIn("; it belongs to nobody, and this process runs as root: make it so", self.problem())

    def test_strange_files(self) -> None:
        """Links, pipes and folders are no token files."""
        self.store.folder.mkdir()
        self.path.symlink_to("/etc/passwd")
        self.assertIn(f"{self.path}: Too many levels of symbolic links", self.problem())
        self.path.unlink()
        os.mkfifo(self.path, 0o600)
        self.assertEqual(self.problem(), f"{self.path}: it is not a regular file")
        self.path.unlink()
        self.path.mkdir(0o700)
        self.assertEqual(self.problem(), f"{self.path}: it is not a regular file")

    def test_damage(self) -> None:
        """What is damaged, or too long, is told with the file's name."""
        self.store.save("work", USER, TOKENS)
        self.path.write_text("{")
        self.assertEqual(self.problem(), f"{self.path}: it is damaged: this is no JSON")
        self.path.write_text(" " * 70000)
        self.assertEqual(self.problem(), f"{self.path}: it has more than 65536 bytes")

    def test_renamed_file(self) -> None:
        """Somebody else's tokens are not taken by another name."""
        self.store.save("work", "bob@x.example", TOKENS)
        self.store.path("work", "bob@x.example").rename(self.path)
        self.assertEqual(self.problem(), f"{self.path}: it belongs to another account or user")


class NameTests(StoreCase):
    """Names of files."""

    def test_users(self) -> None:
        """The users of an account are found again by their files."""
        for account, user in (("work", "b@x"), ("work", "a/../b\udcff"), ("work2", "c"), ("home", "d")):
            self.store.save(account, user, TOKENS)
        (self.store.folder / "work:x.lock").write_text("")
        (self.store.folder / "notes").write_text("")
        self.assertEqual(self.store.users("work"), ["a/../b\udcff", "b@x"])
        self.assertEqual(TokenStore(self.data / "nowhere").users("work"), [])

    def test_long_names(self) -> None:
        """A name that no file can have is an error of its own."""
        self.assertRaises(TokenFileError, self.store.path, "work", "x" * 250)
        self.assertEqual(self.store.stamp("work", "x" * 250), NO_FILE)

    @settings(deadline=None, max_examples=60)
    @given(st.text(max_size=30))
    def test_any_name(self, user: str) -> None:
        """No user's name leads out of the folder."""
        try:
            path = self.store.path("work", user)
        except (TokenFileError, UnicodeEncodeError):
            return
        self.assertEqual(path.parent, self.store.folder)

    def test_places(self) -> None:
        """Tokens are below data_directory, unless the account says otherwise."""
        account = Account("work", Grant.DEVICE_CODE, "id")
        self.assertEqual(store_of("/var/lib/postfix")(account).folder, Path("/var/lib/postfix/smtpdeliver-oauth2"))
        account = Account("work", Grant.DEVICE_CODE, "id", token_directory="/srv/tokens")
        self.assertEqual(store_of("/var/lib/postfix")(account).folder, Path("/srv/tokens"))

    def test_forget(self) -> None:
        """A file can be removed, once."""
        self.store.save("work", USER, TOKENS)
        self.assertTrue(self.store.forget("work", USER))
        self.assertFalse(self.store.forget("work", USER))
        self.path.mkdir()
        self.assertRaises(TokenFileError, self.store.forget, "work", USER)


class LockTests(StoreCase):
    """Who refreshes."""

    def test_one_at_a_time(self) -> None:
        """Somebody who has the lock keeps others out, for the same user only."""
        lock = self.store.try_lock("work", USER)
        assert lock is not None
        self.assertIsNone(TokenStore(self.store.folder).try_lock("work", USER.upper()))
        other = self.store.try_lock("work", "bob@x.example")
        assert other is not None
        lock.release()
        again = self.store.try_lock("work", USER)
        assert again is not None
        for each in (other, again):
            each.release()

    def test_end_of_the_process(self) -> None:
        """A process that ends leaves no lock behind."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            self.store.try_lock("work", USER)
            os.write(writing, b"x")
            os._exit(0)
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        self.assertEqual(os.read(reading, 1), b"x")
        os.waitpid(child, 0)
        lock = self.store.try_lock("work", USER)
        assert lock is not None
        lock.release()
