"""The lines of stdin as they come, while the reactor runs.

Flow: cli/lookup.py takes its keys from here.
Sources: read(2).
"""

import os
from collections.abc import AsyncIterator
from threading import Thread

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from twisted_mta.model.text import to_text

LONGEST_LINE = 1 << 20
"""Octets. An endless line is not read to its end; no key of a table is near that long."""

_CHUNK = 1 << 16


class InputError(Exception):
    """Lines cannot be read; the text says why."""


async def lines_of(reactor: IReactorFromThreads, descriptor: int) -> AsyncIterator[str]:
    """The lines of a descriptor, as they come; the last one may lack its end.

    Args:
        reactor: waits meanwhile.
        descriptor: a file, a pipe or a terminal.

    Raises:
        InputError: it cannot be read, or a line is longer than LONGEST_LINE.
    """
    rest = b""
    while chunk := await read_chunk(reactor, descriptor):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield to_text(line)
        if len(rest) > LONGEST_LINE:
            raise InputError(f"a line is longer than {LONGEST_LINE} bytes")
    if rest:
        yield to_text(rest)


def read_chunk(reactor: IReactorFromThreads, descriptor: int) -> Deferred[bytes]:
    """Read what there is, and wait until there is something.

    The thread is not one of the reactor's pool, as it cannot be ended while nothing comes: Ctrl-C would wait for it.

    Args:
        reactor: waits meanwhile.
        descriptor: what to read from.

    Returns:
        Fires with what was read, empty at the end; fails with InputError.
    """
    waiting: Deferred[bytes] = Deferred()

    def read() -> None:
        try:
            chunk = os.read(descriptor, _CHUNK)
        except OSError as error:
            reactor.callFromThread(waiting.errback, InputError(error.strerror))
        else:
            reactor.callFromThread(waiting.callback, chunk)

    Thread(target=read, daemon=True).start()
    return waiting
