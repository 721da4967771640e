"""What holds of a transaction whatever the server says, and whenever it falls silent."""

from collections.abc import Generator
from itertools import pairwise

from hypothesis import given, settings

from tests.kit.any_server import SCRIPTS, Case, cases
from tests.kit.dialog import DialogTestCase, Played, ScriptedServer, play
from twisted_mta.interfaces import ContentError
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import (
    Action,
    AwaitReply,
    ConnectionBrokenError,
    Dialog,
    MessageFailed,
    MessageTaken,
    RecipientFailed,
    RecipientTaken,
    SendContent,
    Write,
)
from twisted_mta.smtp.reply import Reply
from twisted_mta.smtp.transaction import GROUP_OCTETS, TransactionEnd

Seen = list[Action | Reply | Exception]


def observed(dialog: Dialog[TransactionEnd], seen: Seen) -> Generator[Action, Reply | None, TransactionEnd]:
    """The same dialog, with everything that passes in `seen`."""
    try:
        action = next(dialog)
        while True:
            seen.append(action)
            try:
                reply = yield action
            except (ConnectionBrokenError, ContentError) as error:
                seen.append(error)
                action = dialog.throw(error)
            else:
                if reply is not None:
                    seen.append(reply)
                action = dialog.send(reply)
    except StopIteration as stop:
        end: TransactionEnd = stop.value
        return end


def replies_to(phase: phases.Phase, seen: Seen) -> list[Reply]:
    """The replies that were read in a phase."""
    return [
        answer for action, answer in pairwise(seen)
        if isinstance(action, AwaitReply) and action.phase is phase and isinstance(answer, Reply)
    ]  # fmt: skip


class AnyServerTests(DialogTestCase):
    """Properties of every run."""

    def run_case(self, case: Case, script: str) -> tuple[Played[TransactionEnd], Seen]:
        """Play it; that it ends at all is the first property."""
        seen: Seen = []
        return play(observed(case.transaction().run(), seen), ScriptedServer(script)), seen

    @settings(max_examples=120, deadline=None)
    @given(cases(), SCRIPTS)
    def test_settled_once(self, case: Case, script: str) -> None:
        """No recipient is settled twice, and after a normal end none is left."""
        played, _ = self.run_case(case, script)
        open_ones = set(range(len(case.request.recipients)))
        for finding in played.findings:
            if isinstance(finding, RecipientFailed | RecipientTaken):
                self.assertIn(finding.index, open_ones)
                open_ones.remove(finding.index)
            elif isinstance(finding, MessageFailed | MessageTaken):
                open_ones.clear()
        if played.error is None or (isinstance(played.error, ConnectionBrokenError) and played.error.phase.silent):
            self.assertEqual(open_ones, set())

    @settings(max_examples=120, deadline=None)
    @given(cases(), SCRIPTS)
    def test_content_is_asked_for(self, case: Case, script: str) -> None:
        """Content goes out once at most, after a 3xx was read as the reply to DATA, and for somebody; never in a probe."""
        _, seen = self.run_case(case, script)
        sendings = [number for number, action in enumerate(seen) if isinstance(action, SendContent)]
        self.assertLessEqual(len(sendings), 1)
        for number in sendings:
            self.assertFalse(case.request.is_probe)
            self.assertEqual([reply.code // 100 for reply in replies_to(phases.DATA, seen[:number])], [3])
            self.assertTrue(any(reply.is_positive for reply in replies_to(phases.RCPT, seen[:number])))
            self.assertTrue(all(reply.is_positive for reply in replies_to(phases.MAIL, seen[:number])))

    @settings(max_examples=120, deadline=None)
    @given(cases(), SCRIPTS)
    def test_taken_means_taken(self, case: Case, script: str) -> None:
        """A message is taken only by a trusted 2xx to a dot that stood behind all of the content."""
        played, seen = self.run_case(case, script)
        if case.request.is_probe or not any(
            isinstance(found, MessageTaken | RecipientTaken) for found in played.findings
        ):
            return
        sent = next(number for number, action in enumerate(seen) if isinstance(action, SendContent))
        self.assertFalse(isinstance(seen[sent + 1], Exception))
        dot = next(number for number, action in enumerate(seen) if number > sent and isinstance(action, Write))
        action = seen[dot]
        assert isinstance(action, Write)
        self.assertTrue(action.data.startswith(b".\r\n"))
        believed = [reply for reply in replies_to(phases.DOT, seen[dot:]) if reply.is_positive and not reply.early]
        taken = [found.reply for found in played.findings if isinstance(found, MessageTaken | RecipientTaken)]
        self.assertLessEqual(len(taken), len(case.request.recipients))
        for reply in taken:
            self.assertIn(reply, believed)

    @settings(max_examples=80, deadline=None)
    @given(cases(), SCRIPTS)
    def test_wire(self, case: Case, script: str) -> None:
        """Each write is a group of whole lines that is not too long, and names nobody who cannot be named."""
        _, seen = self.run_case(case, script)
        for action in seen:
            if isinstance(action, Write):
                self.assertTrue(action.data.endswith(b"\r\n"))
                self.assertLessEqual(len(action.data), GROUP_OCTETS)
                self.assertNotIn(b"c\r\nd", action.data)
