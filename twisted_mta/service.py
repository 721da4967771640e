"""What twistd runs: the service in the one of its kinds that fits how it was started.

Without root's rights it is one process (resident.py). Started as root it is a supervisor, which has workers (supervised.py).

Flow: twistd calls `makeService` with the command line.
Sources: twisted.application.service; the documentation of Python's gc module.
"""

import gc
import os

from twisted.application.service import Service

from twisted_mta.options import Options
from twisted_mta.resident import DeliveryService
from twisted_mta.supervised import SupervisorService, WorkerService

OBJECTS_BEFORE_COLLECTION = 10_000
"""So many more objects than before set off the search for garbage in cycles. A delivery that goes well leaves none behind, and
with Python's own figure of 700 a few deliveries that begin at the same time set it off again and again."""


def makeService(options: Options) -> Service:
    """What twistd runs."""
    from twisted.internet import reactor

    kind = WorkerService if options["worker"] else SupervisorService if os.geteuid() == 0 else DeliveryService
    service = kind(options, reactor)
    service.load_openssl()
    # A turn later, as it takes a moment: until the service minds signals, they would end it in another way.
    reactor.callWhenRunning(reactor.callLater, 0, _settle_memory)
    return service


def _settle_memory() -> None:
    """Leave what the start has made out of every search for garbage: it stays (`gc.freeze`)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
