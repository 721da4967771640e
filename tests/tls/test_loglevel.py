"""The words of smtp_tls_loglevel."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.model.events import Event
from twisted_mta.model.tls_events import TlsLogLevelUnknown
from twisted_mta.tls.loglevel import SILENT, LogClass, parse_loglevel


class LogLevelTests(SynchronousTestCase):
    """`parse_loglevel`."""

    def test_numbers(self) -> None:
        """Each number means what the lower ones mean, and more."""
        levels = [parse_loglevel(str(number), self.fail) for number in range(10)]
        self.assertEqual(levels[0], SILENT)
        self.assertEqual(levels[1], LogClass.SUMMARY)
        self.assertEqual(levels[2], LogClass.SUMMARY | LogClass.VERBOSE | LogClass.CACHE | LogClass.SSL_DEBUG)
        self.assertEqual(levels[3], levels[2] | LogClass.HANDSHAKE_DUMP)
        self.assertEqual(levels[4:], [levels[3] | LogClass.SESSION_DUMP] * 6)

    def test_words(self) -> None:
        """Words in any case, alone or together, also with numbers."""
        self.assertEqual(parse_loglevel("Routine", self.fail), LogClass.SUMMARY)
        self.assertEqual(parse_loglevel("ssl-Expert", self.fail), parse_loglevel("3", self.fail))
        self.assertEqual(
            parse_loglevel("none, 1 certMatch,,dane", self.fail), LogClass.SUMMARY | LogClass.CERTMATCH | LogClass.DANE
        )
        self.assertEqual(parse_loglevel("", self.fail), SILENT)

    def test_every_class_has_a_word(self) -> None:
        """Each class can be asked for alone."""
        for member in LogClass:
            word = {"HANDSHAKE_DUMP": "ssl-handshake-packet-dump", "SESSION_DUMP": "ssl-session-packet-dump"}.get(
                member.name or "", (member.name or "").lower().replace("_", "-")
            )
            self.assertEqual(parse_loglevel(word, self.fail), member)

    def test_unknown(self) -> None:
        """The first word that there is not turns everything off."""
        told: list[Event] = []
        self.assertEqual(parse_loglevel("1, Loud, louder", told.append, "lmtp_tls_loglevel"), SILENT)
        self.assertEqual(told, [TlsLogLevelUnknown("lmtp_tls_loglevel", "Loud", "1, Loud, louder")])
