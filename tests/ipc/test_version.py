"""What the versions of Postfix speak."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.ipc.attributes import IpcError
from twisted_mta.ipc.version import Greeting, PostfixVersion


class PostfixVersionTests(SynchronousTestCase):
    def test_parse(self) -> None:
        """Releases, candidates and snapshots are read; what follows major and minor does not matter."""
        for text, version in [
            ("3.7.11", PostfixVersion(3, 7)),
            ("3.10.0", PostfixVersion(3, 10)),
            ("3.9.0-RC1", PostfixVersion(3, 9)),
            ("3.11-20250901", PostfixVersion(3, 11)),
        ]:
            self.assertEqual(PostfixVersion.parse(text), version)

    def test_parse_names_the_culprit(self) -> None:
        """What is no version is refused with its text."""
        for text in ("", "3", "three.seven", "3.1234"):
            self.assertIn(f'"{text}"', str(self.assertRaises(IpcError, PostfixVersion.parse, text)))

    def test_what_changed_when(self) -> None:
        """The differences between versions begin where they should; 3.10 is later than 3.9."""
        seen = {
            text: (v.greets, v.destination_has_port, v.send_options_name, v.tables_have_instance_flags)
            for text in ("3.5.27", "3.6.19", "3.8.20", "3.9.14", "3.10.13", "3.11.6")
            for v in [PostfixVersion.parse(text)]
        }
        self.assertEqual(
            seen,
            {
                "3.5.27": (False, False, "smtputf8", False),
                "3.6.19": (True, False, "smtputf8", False),
                "3.8.20": (True, True, "smtputf8", False),
                "3.9.14": (True, True, "smtputf8", False),
                "3.10.13": (True, True, "sendopts", False),
                "3.11.6": (True, True, "sendopts", True),
            },
        )

    def test_greeting(self) -> None:
        """A service greets since 3.6."""
        self.assertEqual(
            PostfixVersion(3, 7).greeting(Greeting.DELIVERY_STATUS), b"protocol\0delivery_status_protocol\0\0"
        )
        self.assertEqual(PostfixVersion(3, 5).greeting(Greeting.DELIVERY_STATUS), b"")
