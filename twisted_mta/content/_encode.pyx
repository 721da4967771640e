# cython: language_level=3
"""What encode.py has a compiled twin for. It is built on request only; without it, that module does the same alone.

Flow: twisted_mta/compiled.py finds it.
Sources: RFC 5321 section 4.5.2.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy

cdef extern from "string.h":
    void *memrchr(const void *octets, int octet, size_t length) noexcept nogil

cdef enum:
    LF = 0x0A
    DOT = 0x2E


cdef bint has_long_line(const char *text, const char *end, Py_ssize_t limit) noexcept nogil:
    """Whether a line has more octets than that, or as many and no end."""
    cdef const char *line = text
    cdef const char *newline
    # From LF to the last LF within reach, in long steps; a line that is not too long has it behind limit + 1 octets, CR included.
    while end - line >= limit:
        newline = <const char *> memrchr(line, LF, min(end - line, limit + 2))
        if newline == NULL:
            return True
        line = newline + 1
    return False


cdef const char *next_dot(const char *text, const char *at, const char *end) noexcept nogil:
    """The first dot from a position on that begins a line; NULL: there is none."""
    while (at := <const char *> memchr(at, DOT, end - at)) != NULL:
        if at == text or at[-1] == LF:
            return at
        at += 1
    return NULL


def ready_lines(bytes chunk not None, Py_ssize_t limit):
    """Double the dots that begin lines: see the function of that name in encode.py."""
    cdef const char *text = PyBytes_AS_STRING(chunk)
    cdef const char *end = text + PyBytes_GET_SIZE(chunk)
    cdef const char *copied = text
    cdef const char *dot
    cdef Py_ssize_t dots = 0
    cdef bytes ready
    cdef char *target

    if limit > 0 and has_long_line(text, end, limit):
        return None
    dot = next_dot(text, text, end)
    if dot == NULL:
        return chunk
    while dot != NULL:
        dots += 1
        dot = next_dot(text, dot + 1, end)

    ready = PyBytes_FromStringAndSize(NULL, end - text + dots)
    target = PyBytes_AS_STRING(ready)
    dot = next_dot(text, text, end)
    while dot != NULL:
        memcpy(target, copied, dot - copied)
        target += dot - copied
        target[0] = DOT
        target += 1
        copied = dot
        dot = next_dot(text, dot + 1, end)
    memcpy(target, copied, end - copied)
    return ready
