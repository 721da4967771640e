# cython: language_level=3
"""What line_records.py has a compiled twin for. It is built on request only; without it, that module does the same alone.

Flow: twisted_mta/compiled.py finds it.
Sources: postcat(1), which shows the records of a queue file.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

cdef enum:
    NORM = 0x4E
    LF = 0x0A
    CR = 0x0D


cdef Py_ssize_t payload(const unsigned char *octets, Py_ssize_t length, Py_ssize_t at, Py_ssize_t *start) noexcept nogil:
    """The size of the line whose record begins at a position, and where it starts; -1: there is no such record, or not all."""
    cdef Py_ssize_t size
    if at < 0 or length - at < 2 or octets[at] != NORM:
        return -1
    size = octets[at + 1]
    start[0] = at + 2
    if size > 127:
        if length - at < 3 or octets[at + 2] > 127:
            return -1
        size += (<Py_ssize_t> octets[at + 2] << 7) - 128
        start[0] = at + 3
    return size if length - start[0] >= size else -1


cdef Py_ssize_t count(const unsigned char *octets, Py_ssize_t length, unsigned char octet) noexcept nogil:
    """How often an octet is there."""
    cdef Py_ssize_t at, found = 0
    for at in range(length):
        found += octets[at] == octet
    return found


def bulk_lines(bytes data not None, Py_ssize_t position, bytes line_end not None):
    """Take all lines that are whole in a piece: see the function of that name in line_records.py."""
    cdef const unsigned char *octets = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
    cdef const unsigned char *end = <const unsigned char *> PyBytes_AS_STRING(line_end)
    cdef Py_ssize_t end_size = PyBytes_GET_SIZE(line_end)
    cdef Py_ssize_t at = position, behind, start = 0, size, lines = 0, total = 0
    cdef bytes chunk
    cdef unsigned char *text
    cdef unsigned char *target

    while (size := payload(octets, length, at, &start)) >= 0:
        lines += 1
        total += size + end_size
        at = start + size
    behind = at

    chunk = PyBytes_FromStringAndSize(NULL, total)
    text = target = <unsigned char *> PyBytes_AS_STRING(chunk)
    at = position
    while at < behind:
        size = payload(octets, length, at, &start)
        memcpy(target, octets + start, size)
        memcpy(target + size, end, end_size)
        target += size + end_size
        at = start + size

    # Nothing but the line ends may look like one.
    for octet in (LF, CR):
        if count(text, total, octet) != lines * count(end, end_size, octet):
            return None
    return chunk, behind, False
