"""Regular expressions of the library PCRE2, as Postfix has them: compiled for bytes, without the just-in-time compiler.

The library is called directly: other threads run while it matches, and the limit on its steps can follow the length of the text.
Flow: pcre.py compiles its patterns here.
Sources: pcre2api(3), pcre2pattern(3), pcre2limits(3).

The library counts the steps of a match anew for each place of the text where a match may begin. So a limit bounds a search only
if it gets smaller as texts get longer.
"""

import ctypes
import enum
import re
import weakref
from typing import Any, NoReturn

from twisted_mta.tables.patterns import Effort, PatternError, TooHardError, TooMuchError
from twisted_mta.tables.replacement import Groups

try:
    _library = ctypes.CDLL("libpcre2-8.so.0")
except OSError as error:
    raise ImportError(f"{error}; Debian package libpcre2-8-0") from error

QUICK_STEPS = 2**20
"""Of a search by a quick pattern: some hundredths of a second."""

QUICK_OCTETS = 2**13 - 1
"""Longer texts are for patient patterns: too few steps would be left for each place where a match may begin."""

UNINTERRUPTED_STEPS = 2**27
"""Of a search by a patient pattern, before it begins to look whether somebody still waits for it: some seconds."""

LARGEST_HEAP = 2**18
"""KiB that a match may take; without limit a text could fill the memory."""

_SHARED_GROUPS = 31
"""Patterns with more groups need room of their own."""

_NO_MATCH, _MATCH_LIMIT, _HEAP_LIMIT = -1, -47, -63
_ALL_OPTIONS, _CAPTURE_COUNT = 0, 4
_LONGEST_ERROR = 256
_UNSET = ctypes.c_size_t(-1).value

# What refers to where the search began, or steers it, has its meaning only in a search that is made in one piece.
_STEERS = re.compile(rb"\\G|\(\*")


class Option(enum.IntFlag):
    """Options of pcre2_compile(3) by their numbers."""

    CASELESS = 0x8
    DOLLAR_ENDONLY = 0x10
    DOTALL = 0x20
    EXTENDED = 0x80
    MULTILINE = 0x400
    UNGREEDY = 0x40000
    ANCHORED = 0x80000000


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_library, f"pcre2_{name}_8")
    function.restype, function.argtypes = result, arguments
    return function


_pointer, _size, _number, _flags = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint32

_compile = _function(
    "compile",
    _pointer,
    ctypes.c_char_p,
    _size,
    _flags,
    ctypes.POINTER(_number),
    ctypes.POINTER(_size),
    _pointer,
)
_code_free = _function("code_free", None, _pointer)
_pattern_info = _function("pattern_info", _number, _pointer, _flags, ctypes.POINTER(_flags))
_context_create = _function("match_context_create", _pointer, _pointer)
_context_free = _function("match_context_free", None, _pointer)
_set_match_limit = _function("set_match_limit", _number, _pointer, _flags)
_set_heap_limit = _function("set_heap_limit", _number, _pointer, _flags)
_data_create = _function("match_data_create", _pointer, _flags, _pointer)
_data_free = _function("match_data_free", None, _pointer)
_ovector = _function("get_ovector_pointer", ctypes.POINTER(_size), _pointer)
_match = _function("match", _number, _pointer, ctypes.c_char_p, _size, _size, _flags, _pointer, _pointer)
_error_message = _function("get_error_message", _number, _number, ctypes.c_char_p, _size)


def _words(number: int) -> str:
    """What an error of the library means."""
    text = ctypes.create_string_buffer(_LONGEST_ERROR)
    _error_message(number, text, _LONGEST_ERROR)
    return text.value.decode("ascii", "replace")


class _Context:
    """The limits of a match; `steps` is None for the library's own, which is Postfix's."""

    def __init__(self, steps: int | None) -> None:
        self.pointer = _pointer(_context_create(None))
        weakref.finalize(self, _context_free, self.pointer)
        if steps is not None:
            _set_match_limit(self.pointer, steps)
        _set_heap_limit(self.pointer, LARGEST_HEAP)


class _Room:
    """Where the library puts what the groups of a pattern matched."""

    def __init__(self, groups: int) -> None:
        self.pointer = _pointer(_data_create(groups + 1, None))
        weakref.finalize(self, _data_free, self.pointer)
        self.spans = _ovector(self.pointer)


def _contexts(steps: int, longest: int) -> list[_Context]:
    """Limits for texts up to a length, by the bits of their length: no search takes more than so many steps."""
    return [_Context(steps >> bits) for bits in range(longest.bit_length() + 1)]


_quick_contexts = _contexts(QUICK_STEPS, QUICK_OCTETS)
_quick = [context.pointer for context in _quick_contexts]
_patient_contexts = _contexts(UNINTERRUPTED_STEPS, 2**24)
_full_context = _Context(None)


class PerlCompiler:
    """Compiles the patterns of one effort."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._room = _Room(_SHARED_GROUPS)

    def __call__(self, pattern: bytes, options: int) -> "PerlPattern":
        """Compile a pattern.

        Raises:
            PatternError: it is malformed.
        """
        kind = PatientPerlPattern if self._effort.patient else PerlPattern
        return kind(pattern, options, self._effort, self._room)


class PerlPattern:
    """A compiled pattern; a quick one.

    Attributes:
        groups: how many groups it has.
    """

    def __init__(self, pattern: bytes, options: int, effort: Effort, room: _Room) -> None:
        """Compile a pattern.

        Args:
            pattern: as pcre2pattern(3) has it.
            options: see Option.
            effort: of the table.
            room: to be shared with others of the same effort.

        Raises:
            PatternError: it is malformed.
        """
        number, offset = _number(), _size()
        code = _compile(pattern, len(pattern), options, ctypes.byref(number), ctypes.byref(offset), None)
        if not code:
            raise PatternError(f"error in regex at offset {offset.value}: {_words(number.value)}")
        self._code = _pointer(code)
        weakref.finalize(self, _code_free, self._code)
        self.groups = self._info(_CAPTURE_COUNT)
        self._room = room if self.groups <= _SHARED_GROUPS else _Room(self.groups)
        self._data = self._room.pointer
        self._effort = effort

    def test(self, subject: bytes) -> bool:
        """Whether the pattern matches somewhere.

        Raises:
            PatternError, TooHardError, TooMuchError: see there.
        """
        # All in one function: this runs for every rule and every line of a message.
        length = len(subject)
        if length > QUICK_OCTETS:
            raise TooHardError
        found: int = _match(self._code, subject, length, 0, 0, self._data, _quick[length.bit_length()])
        return found >= 0 or (found != _NO_MATCH and self._fail(found))

    def search(self, subject: bytes) -> Groups | None:
        """The groups of the first match; None if there is none.

        Raises:
            PatternError, TooHardError, TooMuchError: see there.
        """
        if not self.test(subject):
            return None
        spans = self._room.spans[: 2 * self.groups + 2]

        def group(number: int) -> bytes | None:
            start, end = spans[2 * number], spans[2 * number + 1]
            return None if start == _UNSET else subject[start:end]

        return group

    def _fail(self, found: int) -> NoReturn:
        if found in (_MATCH_LIMIT, _HEAP_LIMIT):
            raise TooHardError
        raise PatternError(_words(found))

    def _info(self, what: int) -> int:
        value = _flags()
        _pattern_info(self._code, what, ctypes.byref(value))
        return value.value


class PatientPerlPattern(PerlPattern):
    """A compiled pattern; a patient one."""

    def __init__(self, pattern: bytes, options: int, effort: Effort, room: _Room) -> None:
        super().__init__(pattern, options, effort, room)
        is_anchored = self._info(_ALL_OPTIONS) & Option.ANCHORED
        self._in_one_piece = bool(is_anchored or _STEERS.search(pattern))

    def test(self, subject: bytes) -> bool:
        """Whether the pattern matches somewhere.

        Raises:
            PatternError, TooMuchError: see there.
        """
        bits = min(len(subject).bit_length(), len(_patient_contexts) - 1)
        found = self._match_at(subject, 0, 0, _patient_contexts[bits])
        if found == _MATCH_LIMIT:
            found = self.search_by_place(subject)
        if found == _HEAP_LIMIT:
            raise TooMuchError(f"a match takes more than {LARGEST_HEAP} KiB of memory")
        if found < _NO_MATCH:
            raise PatternError(_words(found))
        return found != _NO_MATCH

    def search_by_place(self, subject: bytes) -> int:
        """Search with the library's own limit, and place by place, as long as somebody waits.

        Returns:
            The number of groups that took part, or what is wrong as a number below zero.

        Raises:
            TooMuchError: nobody waits any more.
        """
        if self._in_one_piece:
            return self._match_at(subject, 0, 0, _full_context)
        for start in range(len(subject) + 1):
            found = self._match_at(subject, start, Option.ANCHORED, _full_context)
            if found != _NO_MATCH:
                return found
        return _NO_MATCH

    def _match_at(self, subject: bytes, start: int, options: int, context: _Context) -> int:
        if self._effort.abandoned:
            raise TooMuchError("given up")
        found: int = _match(self._code, subject, len(subject), start, options, self._data, context.pointer)
        return found
