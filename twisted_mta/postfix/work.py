"""What a request of the queue manager needs: its queue file, and a reporter that marks it.

Flow: postfix/requests.py opens it when a request has been read, and closes it before the reply.
Sources: qmgr(8): a shared lock says that a delivery is under way.
"""

from collections.abc import Callable
from dataclasses import dataclass

from twisted_mta.model.events import Emit
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.postfix.queue_file import QueueFile, QueueFileContent, QueueLayout
from twisted_mta.postfix.reporter import PostfixReporter, ReporterServices


class QueueWork:
    """An open queue file.

    Attributes:
        content: the message.
        reporter: records the fates of its recipients.
        when_closed: called once, after the file is closed.
    """

    __slots__ = ("_file", "content", "reporter", "when_closed")

    def __init__(self, file: QueueFile, content: QueueFileContent, reporter: PostfixReporter) -> None:
        """Take what was opened."""
        self._file = file
        self.content = content
        self.reporter = reporter
        self.when_closed: Callable[[], None] | None = None

    def close(self) -> None:
        """Give the lock back."""
        self._file.close()
        told, self.when_closed = self.when_closed, None
        if told is not None:
            told()


@dataclass(frozen=True, slots=True)
class QueueFiles:
    """Opens queue files, by one configuration.

    Attributes:
        layout: where they are.
        services: takes the reports.
        emit: takes events.
    """

    layout: QueueLayout
    services: ReporterServices
    emit: Emit

    def open(self, request: DeliveryRequest) -> QueueWork:
        """Open and lock the queue file of a request.

        Raises:
            QueueFileError: it is not there, or cannot be used.
            LockBusyError: somebody else holds the lock.
        """
        file = QueueFile.open(self.layout, request.queue_name, request.queue_id, self.emit)
        reporter = PostfixReporter(self.services, request, file.mark_done)
        return QueueWork(file, file.content(request.content_offset), reporter)
