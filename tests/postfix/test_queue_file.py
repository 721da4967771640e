"""Tests of twisted_mta.postfix.queue_file."""

import fcntl
import os
import stat
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kit.queue_file import BuiltQueueFile, ContentRecord, QueueFileBuilder, pointer, record, text_of
from twisted_mta.interfaces import ContentError, CorruptContentError, IMessageContent
from twisted_mta.model.events import (
    BadContentRecord,
    Event,
    QueueFileCorrupt,
    QueueFileUnusable,
    RecordDamaged,
    StrayLineEnds,
)
from twisted_mta.postfix.queue_file import LockBusyError, QueueFile, QueueFileContent, QueueFileError, QueueLayout

QUEUE_ID = "1E2404A2B3"


class QueueLayoutTests(SynchronousTestCase):
    """Where queue files are."""

    def path(self, queue_name: str, queue_id: str, depth: int = 1) -> str:
        """Below a directory Q; deferred and Hashed are hashed."""
        return QueueLayout("Q", frozenset({"deferred", "hashed"}), depth).path(queue_name, queue_id)

    def test_flat(self) -> None:
        """A queue that is not hashed has its files side by side."""
        self.assertEqual(self.path("active", QUEUE_ID), f"Q/active/{QUEUE_ID}")

    def test_short_ids(self) -> None:
        """A hashed queue has a directory for each of the first characters, `_` for those that lack."""
        self.assertEqual(self.path("deferred", QUEUE_ID), f"Q/deferred/1/{QUEUE_ID}")
        self.assertEqual(self.path("HASHED", QUEUE_ID, 3), f"Q/HASHED/1/E/2/{QUEUE_ID}")
        self.assertEqual(self.path("deferred", "AB", 4), "Q/deferred/A/B/_/_/AB")

    def test_long_ids(self) -> None:
        """The microseconds of a long id count, in hexadecimal digits."""
        self.assertEqual(self.path("deferred", "4SVLCh0sf8z2Gml", 7), "Q/deferred/1/E/2/4/0/_/_/4SVLCh0sf8z2Gml")
        self.assertEqual(self.path("deferred", "4SVLCh0001z2Gml", 5), "Q/deferred/0/0/0/0/1/4SVLCh0001z2Gml")
        self.assertEqual(self.path("deferred", "4SVLCh00A1z2Gml"), "Q/deferred/4/4SVLCh00A1z2Gml")

    def test_other_names(self) -> None:
        """Names that no queue has lead nowhere, whoever sends them."""
        for queue_name, queue_id in (
            ("active", "../../etc/passwd"),
            ("active", ""),
            ("active", "A/B"),
            ("active", "A\n"),
            ("active", "A" * 256),
            ("..", QUEUE_ID),
            ("", QUEUE_ID),
            ("a" * 101, QUEUE_ID),
        ):
            with self.assertRaisesRegex(QueueFileError, "invalid name"):
                self.path(queue_name, queue_id)


class QueueFileTestCase(SynchronousTestCase):
    """A queue directory with a message."""

    def setUp(self) -> None:
        """Make an empty queue."""
        self.directory = self.mktemp()
        self.layout = QueueLayout(self.directory)
        self.events: list[Event] = []

    def write(self, builder: QueueFileBuilder | None = None, mode: int = 0o700) -> BuiltQueueFile:
        """Put a message into the active queue."""
        built = (builder or QueueFileBuilder()).build()
        self.path = built.write(self.directory, QUEUE_ID, mode=mode)
        return built

    def open(self) -> QueueFile:
        """Open it for as long as the test lasts."""
        file = QueueFile.open(self.layout, "active", QUEUE_ID, self.events.append)
        self.addCleanup(file.close)
        return file


class OpenTests(QueueFileTestCase):
    """Opening and locking."""

    def test_open(self) -> None:
        """The file gets a shared lock, which ends when it is closed; the descriptor is not inherited."""
        self.write(mode=0o750)
        file, again = self.open(), self.open()
        self.assertEqual(file.name, f"active/{QUEUE_ID}")
        with self.path.open("rb") as other:
            self.assertRaises(BlockingIOError, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.close()
            file.close()
            self.assertRaises(BlockingIOError, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            again.close()
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_busy(self) -> None:
        """Somebody else's exclusive lock is an error of its own, and nothing stays open."""
        self.write()
        before = os.listdir("/proc/self/fd")
        with self.path.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            error = self.assertRaises(LockBusyError, self.open)
        self.assertIn(f"active/{QUEUE_ID} is locked", str(error))
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_no_file(self) -> None:
        """A missing file is named."""
        error = self.assertRaises(QueueFileError, self.open)
        self.assertEqual(str(error), f"open active/{QUEUE_ID}: No such file or directory")

    def test_mode(self) -> None:
        """A file that is not complete, or was marked as corrupt, is not used."""
        for mode in (0o400, 0o600, 0o070):
            self.write(mode=mode)
            error = self.assertRaises(QueueFileError, self.open)
            self.assertIn(f"has mode {mode:04o} instead of 0700", str(error))

    def test_no_regular_file(self) -> None:
        """Neither a link nor a pipe is a queue file."""
        built = self.write()
        built.write(self.directory, "OTHER")
        self.path.unlink()
        os.symlink("OTHER", self.path)
        self.assertIn("symbolic links", str(self.assertRaises(QueueFileError, self.open)))
        self.path.unlink()
        os.mkfifo(self.path, 0o700)
        self.assertIn("is not a regular file", str(self.assertRaises(QueueFileError, self.open)))


class MarkDoneTests(QueueFileTestCase):
    """Marking recipients."""

    def setUp(self) -> None:
        """A message with two recipients."""
        super().setUp()
        self.built = self.write(QueueFileBuilder(recipients=("a@example.net", "b@example.net")))
        self.file = self.open()

    def test_mark(self) -> None:
        """One octet changes; marking twice is fine."""
        _, second = self.built.recipient_offsets
        self.file.mark_done(second)
        self.file.mark_done(second)
        data = bytearray(self.built.data)
        data[second : second + 1] = b"D"
        self.assertEqual(self.path.read_bytes(), data)

    def test_not_in_file(self) -> None:
        """A recipient without a record is not marked."""
        self.file.mark_done(-1)
        self.assertEqual(self.path.read_bytes(), self.built.data)

    def test_refused(self) -> None:
        """Nothing but a recipient's record is ever overwritten."""
        for offset in (0, -2, 1, self.built.recipient_offsets[0] + 1, 10**9):
            self.assertRaises(QueueFileError, self.file.mark_done, offset)
        self.assertEqual(self.path.read_bytes(), self.built.data)

    def test_closed(self) -> None:
        """A closed file is not written to."""
        self.file.close()
        error = self.assertRaises(QueueFileError, self.file.mark_done, self.built.recipient_offsets[0])
        self.assertIn("Bad file descriptor", str(error))


class ContentTests(QueueFileTestCase):
    """Reading content."""

    def test_interface(self) -> None:
        """The content is what deliveries read."""
        self.write()
        self.assertTrue(verifyObject(IMessageContent, self.open().content(0)))

    def test_read_twice(self) -> None:
        """Each host gets it from the start."""
        built = self.write()
        content = self.open().content(built.content_offset)
        for _ in range(2):
            self.assertEqual(list(content.chunks()), [b"Subject: hi\n\nHello.\n"])
        self.assertEqual(self.events, [])

    def test_line_ends_of_the_wire(self) -> None:
        """It can be had with CRLF."""
        built = self.write()
        content = self.open().content(built.content_offset)
        self.assertEqual(list(content.chunks().with_crlf()), [b"Subject: hi\r\n\r\nHello.\r\n"])

    def test_stray_line_ends(self) -> None:
        """They are told once for each message, however often it is read."""
        built = self.write(QueueFileBuilder(content=[("N", b"a\r\nb"), ("L", b"\r"), ("N", b"c\n")]))
        content = self.open().content(built.content_offset)
        for _ in range(2):
            self.assertEqual(b"".join(content.chunks()), b"a  b\n c \n")
        self.assertEqual(self.events, [StrayLineEnds(QUEUE_ID)])

    def test_read_error(self) -> None:
        """A file that cannot be read now is no damaged file."""
        built = self.write()
        file = self.open()
        self.assertRaises(ContentError, list, file.content(-5).chunks())
        chunks = file.content(built.content_offset).chunks()
        file.close()
        error = self.assertRaises(ContentError, list, chunks)
        self.assertNotIsInstance(error, CorruptContentError)
        self.assertEqual(str(error), f"read active/{QUEUE_ID}: Bad file descriptor")
        self.assertEqual(self.events, [])

    def test_cut_off_while_it_is_read(self) -> None:
        """Nor is one that became shorter since it was opened: whoever did that, the mail must not go back for it."""
        built = self.write(QueueFileBuilder(content=[("N", b"x" * 70)] * 5000))
        chunks = self.open().content(built.content_offset).chunks()
        self.assertTrue(next(chunks))
        os.truncate(self.path, built.content_offset + 200_000)
        error = self.assertRaises(ContentError, list, chunks)
        self.assertNotIsInstance(error, CorruptContentError)
        self.assertEqual(str(error), f"active/{QUEUE_ID} was cut off while it was read")
        self.assertEqual(self.events, [])

    @given(st.lists(st.tuples(st.sampled_from("NLw"), st.binary(max_size=200)), max_size=40), st.integers(1, 500))
    @settings(deadline=None, max_examples=50)
    def test_any_content(self, content: Sequence[ContentRecord], piece_octets: int) -> None:
        """What stands in a whole queue file is read back, whatever the size of the pieces."""
        built = self.write(QueueFileBuilder(content=content))
        chunks = QueueFileContent(self.open(), built.content_offset, piece_octets).chunks()
        self.assertEqual(b"".join(chunks), text_of(content))


class CorruptTests(QueueFileTestCase):
    """Damaged content."""

    def read(self, builder: QueueFileBuilder) -> None:
        """Read content that is damaged."""
        built = self.write(builder)
        self.content = self.open().content(built.content_offset)
        self.assertRaises(CorruptContentError, list, self.content.chunks())

    def test_wrong_record(self) -> None:
        """The file is kept below corrupt, as it is, and can still be read by those who report it."""
        self.read(QueueFileBuilder(content=[("N", b"a"), ("Q", b"Hello.")]))
        self.assertEqual(self.events, [BadContentRecord(QUEUE_ID, 81), QueueFileCorrupt(f"active/{QUEUE_ID}")])
        kept = os.stat(os.path.join(self.directory, "corrupt", QUEUE_ID))
        self.assertEqual(kept.st_ino, self.path.stat().st_ino)
        self.assertEqual(stat.S_IMODE(kept.st_mode), 0o700)

    def test_kept_once(self) -> None:
        """Reading on does not put it aside again."""
        self.read(QueueFileBuilder(content=[("Q", b"")]))
        self.assertRaises(CorruptContentError, list, self.content.chunks())
        self.assertEqual(self.events[2:], [BadContentRecord(QUEUE_ID, 81)])

    def test_details(self) -> None:
        """Details of the damage come first."""
        self.read(QueueFileBuilder(content=[("p", b"  12a")]))
        self.assertEqual(
            self.events[:2],
            [
                RecordDamaged(f"active/{QUEUE_ID}", "malformed pointer record value: 12a"),
                BadContentRecord(QUEUE_ID, -2),
            ],
        )

    def test_pointer_into_nothing(self) -> None:
        """A file that ends is no message."""
        self.read(QueueFileBuilder(content=[("p", b"%15d" % 10**6)], heap=record("N", b"a") + pointer(0)))
        self.assertEqual(self.events[0], BadContentRecord(QUEUE_ID, -1))

    def test_cannot_be_kept(self) -> None:
        """Where no link can be made the person in charge is told; the message is still reported."""
        os.makedirs(self.directory)
        with open(os.path.join(self.directory, "corrupt"), "wb"):
            pass
        self.read(QueueFileBuilder(content=[("Q", b"")]))
        (unusable,) = [event for event in self.events if isinstance(event, QueueFileUnusable)]
        self.assertIn(f"corrupt/{QUEUE_ID}: File exists", unusable.problem)

    def test_kept_before(self) -> None:
        """A link that is there from an earlier attempt is good."""
        self.read(QueueFileBuilder(content=[("Q", b"")]))
        self.read(QueueFileBuilder(content=[("Q", b"")]))
        self.assertEqual(self.events[:2], self.events[2:])
