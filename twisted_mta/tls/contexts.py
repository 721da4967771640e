"""Contexts of OpenSSL, one for each shape of policy: versions, ciphers, security level.

To make one costs more than to shake hands with it, where there is a client certificate, so that they are kept: as many as there
are shapes in use. Everything about a single server stands in its Connection.

Flow: tls/engine.py asks for the shape of a policy before each handshake.
Sources: SSL_CTX_new(3), SSL_CTX_set_min_proto_version(3), SSL_CTX_set_cipher_list(3), SSL_CTX_set_verify(3).
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from OpenSSL import SSL

from twisted_mta.tls.ciphers import CipherError, cipher_string, with_security_level
from twisted_mta.tls.levels import Level
from twisted_mta.tls.library import set_ciphers, set_groups
from twisted_mta.tls.library_error import LibraryError
from twisted_mta.tls.protocols import ProtocolLimits, parse_protocols

MOST_SHAPES = 64
"""So many contexts are kept; policies differ by destination, but seldom in these."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A context, and what the log says of it.

    Attributes:
        context: in use: it cannot be changed.
        ciphers: the list of ciphers, as it was meant.
        remarks: what could not be set; told at each handshake.
    """

    context: SSL.Context
    ciphers: str
    remarks: tuple[str, ...] = ()


class ShapeError(Exception):
    """A policy has a list that cannot be used.

    Attributes:
        problem: in words for the log, behind the name of the server.
        errors: what the library says.
    """

    def __init__(self, problem: str, errors: Sequence[LibraryError] = ()) -> None:
        super().__init__(problem)
        self.problem = problem
        self.errors = tuple(errors)


class Contexts:
    """The contexts of an engine."""

    def __init__(
        self,
        cipher_lists: Mapping[str, str],
        groups: str,
        options: int,
        prepare: Callable[[SSL.Context, bool], None],
        *,
        limit: int = MOST_SHAPES,
    ) -> None:
        """Make none yet.

        Args:
            cipher_lists: the list of each grade.
            groups: to offer, between colons; empty: the library's.
            options: bits for all contexts.
            prepare: does the rest that is the same for all: authorities, certificates, callbacks; told whether
                certificates are examined.
            limit: how many to keep.
        """
        self._cipher_lists = cipher_lists
        self._groups = groups
        self._options = options
        self._prepare = prepare
        self._limit = limit
        self._kept: OrderedDict[tuple[bool, bool, bool, str, str, str], Shape] = OrderedDict()

    def shape(self, level: Level, protocols: str, grade: str, exclusions: str, *, examined: bool = True) -> Shape:
        """The shape for these words of a policy.

        Args:
            level: what is demanded of the server.
            protocols: list of versions.
            grade: of ciphers.
            exclusions: ciphers to leave out.
            examined: whether certificates are looked at one by one.

        Raises:
            ShapeError: one of them cannot be used.
        """
        key = (examined, level.must_match, level.is_dane, protocols, grade, exclusions)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        shape = self._make(*key)
        self._kept[key] = shape
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return shape

    def _make(
        self, examined: bool, must_match: bool, is_dane: bool, protocols: str, grade: str, exclusions: str
    ) -> Shape:
        limits = parse_protocols(protocols, for_dane=is_dane)
        if limits is None:
            raise ShapeError(f'Invalid TLS protocol list "{protocols}": aborting TLS session')
        try:
            ciphers = cipher_string(self._cipher_lists, grade, exclusions)
        except CipherError as error:
            raise ShapeError(error.problem) from error
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_options(self._options | limits.off)
        remarks = _limit_versions(context, limits)
        # Our own certificates were chosen by somebody who knows them: the level is for the server's.
        set_ciphers(context, "ALL:@SECLEVEL=0")
        self._prepare(context, examined)
        if errors := set_ciphers(context, with_security_level(ciphers, must_match=must_match)):
            raise ShapeError(f'error setting cipher grade: "{grade}"', errors)
        if self._groups:
            set_groups(context, self._groups)
        return Shape(context, ciphers, remarks)


def _limit_versions(context: SSL.Context, limits: ProtocolLimits) -> tuple[str, ...]:
    """Set floor and ceiling, also where there is none: the system's configuration must not leak in."""
    remarks = []
    for what, version, setter in (
        ("minimum", limits.minimum, context.set_min_proto_version),
        ("maximum", limits.maximum, context.set_max_proto_version),
    ):
        try:
            setter(version)
        except (SSL.Error, OverflowError):
            doing = f"setting {what} TLS version to: 0x{version:04x}" if version else f"clearing {what} TLS version"
            remarks.append(f"error {doing}")
    return tuple(remarks)
