"""What is to be logged of a message, in the order of the message.

A long line is told of when it is broken, which is when what comes out of the pipeline is encoded. What the pipeline has to say of
a line must wait until all that stands before that line has been given away.

Flow: checks.py and generic.py hold events here; pipeline.py has them told.
Sources: a running smtp(8), which treats a message line by line.
"""

from twisted_mta.model.events import Emit, Event


class HeldEvents:
    """Events that are not told yet; true if there are any."""

    __slots__ = ("_emit", "_events")

    def __init__(self, emit: Emit) -> None:
        """Begin with none.

        Args:
            emit: takes them when they are told.
        """
        self._emit = emit
        self._events: list[Event] = []

    def __bool__(self) -> bool:
        return bool(self._events)

    def hold(self, event: Event) -> None:
        """Keep an event."""
        self._events.append(event)

    def tell(self) -> None:
        """Let go of all of them, in order."""
        for event in self._events:
            self._emit(event)
        self._events.clear()
