"""Run the cores of twisted_mta.content with answers at hand."""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, TypeVar

from twisted_mta.content.encode import DataEncoder
from twisted_mta.content.generic import GenericRules
from twisted_mta.content.lookups import Asked, Core, Lookup, Replacement
from twisted_mta.content.pipeline import Pipeline
from twisted_mta.content.scanner import ScannerLimits
from twisted_mta.content.settings import ContentSettings
from twisted_mta.interfaces import TableError
from twisted_mta.ipc.rewrite import complete_locally
from twisted_mta.model.events import Event, LongLineBroken
from twisted_mta.observe.maillog import LogStyle, line_of

T = TypeVar("T")

Record = tuple[str, bytes]
"""``N`` and a line, or ``L`` and a part of a line that goes on in the next record."""

Answer = Callable[[str], Any]

complete: Answer = complete_locally("origin.test", "my.test")


def lines(text: bytes) -> list[Record]:
    """The records of a text."""
    *whole, rest = text.split(b"\n")
    return [("N", line) for line in whole] + ([("L", rest)] if rest else [])


def chunks(records: Iterable[Record]) -> list[bytes]:
    """Records as chunks, one each."""
    return [data + (b"\n" if kind == "N" else b"") for kind, data in records]


def table(entries: Mapping[str, str | None]) -> Answer:
    """A table of fixed keys; a key with the value None is an error."""

    def answer(key: str) -> str | None:
        if key in entries and entries[key] is None:
            raise TableError("fail:it", "lookups always fail", key)
        return entries.get(key)

    return answer


def generic(entries: Mapping[str, str | Replacement | None]) -> Answer:
    """Generic maps with whole addresses; a key with the value None is an error."""

    def answer(key: str) -> Replacement | None:
        if key not in entries:
            return None
        value = entries[key]
        if value is None:
            raise TableError("fail:it", "lookups always fail", key)
        return value if isinstance(value, Replacement) else Replacement(value)

    return answer


def drive(
    core: Generator[bytes | Lookup, Any, T],
    answers: Mapping[Asked, Answer],
    treat: Callable[[bytes], bytes] = lambda chunk: chunk,
) -> tuple[list[bytes], T]:
    """Run a core to its end: the chunks that it made, each treated at once, and what it returned."""
    made: list[bytes] = []
    try:
        item = next(core)
        while True:
            if isinstance(item, bytes):
                made.append(treat(item))
                item = next(core)
                continue
            try:
                answer = answers[item.asked](item.key)
            except TableError as error:
                item = core.throw(error)
            else:
                item = core.send(answer)
    except StopIteration as done:
        return made, done.value


def result(core: Core[T], answers: Mapping[Asked, Answer]) -> T:
    """What a core returns."""
    return drive(core, answers)[1]


class Sent:
    """What a server gets of a message.

    Attributes:
        wire: the octets, up to the dot.
        log: the lines of the log.
    """

    def __init__(
        self,
        content: bytes | Iterable[bytes],
        answers: Mapping[Asked, Answer] | None = None,
        *,
        convert: bool = False,
        limits: ScannerLimits | None = None,
        keep_extension: bool = False,
        log: list[str] | None = None,
    ) -> None:
        """Send a message.

        Args:
            content: chunks, or a text.
            answers: the tables.
            convert: whether the server takes 7bit only.
            limits: of the scanner.
            keep_extension: whether generic maps propagate extensions.
            log: gets the lines of the log, even if the message fails.
        """
        answers = answers or {}
        events: list[Event] = []
        parameters: dict[Asked, str] = {asked: asked.value for asked in answers if asked is not Asked.REWRITE}
        settings = ContentSettings(parameters, limits or ScannerLimits(), GenericRules(keep_extension=keep_extension))
        pipeline = Pipeline(settings, "4Abc12", events.append, convert=convert)
        encoder = DataEncoder(998, lambda: events.append(LongLineBroken("4Abc12", 998)))
        given = chunks(lines(content)) if isinstance(content, bytes) else content
        try:
            made, _ = drive(pipeline.run(given), {Asked.REWRITE: complete, **answers}, encoder.feed)
            self.wire = b"".join(made) + encoder.finish()
        finally:
            if log is not None:
                log += [line_of(event, LogStyle())[1] for event in events]
        self.log = [line_of(event, LogStyle())[1] for event in events]
