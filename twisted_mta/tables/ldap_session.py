"""Search LDAP servers, and follow what entries refer to.

Flow: ldap.py makes sessions and queries, which Sessions runs in threads.
Sources: ldap_table(5); RFC 4511, RFC 4516 (URLs); a running postmap(1); the documentation of python-ldap, which is libldap.
"""

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ldap
import ldap.sasl
import ldapurl

from twisted_mta.model.text import to_text
from twisted_mta.tables.ldap_library import limit_messages
from twisted_mta.tables.ldap_sasl import bind as sasl_bind
from twisted_mta.tables.results import LARGEST_REPLY, LookupFailedError, Results, Warn
from twisted_mta.tables.templates import KeyParts

if TYPE_CHECKING:
    from twisted_mta.tables.ldap import LdapParameters

MOST_SEARCHES = 10_000
"""In one lookup: entries that refer to each other must not keep a thread busy without end."""

_IN_FILTER = re.compile(r"[*()\\\0]")
_IN_NAME = re.compile(r'[ \t"#+,;<>\\\0]')

_LOST = (ldap.SERVER_DOWN, ldap.UNAVAILABLE, ldap.CONNECT_ERROR)

Entries = list[tuple[str | None, dict[str, list[bytes]]]]
Item = tuple[str, str, bool]
"""An attribute, one of its values, and whether that refers to other entries."""


def quoted_in_filter(text: str) -> str:
    """A text as it stands in a filter (RFC 4515 section 3)."""
    return _IN_FILTER.sub(lambda found: f"\\{ord(found[0]):02X}", text)


def quoted_in_name(text: str) -> str:
    """A text as it stands in a distinguished name (RFC 4514 section 2.4)."""
    return _IN_NAME.sub(lambda found: f"\\{ord(found[0]):02X}", text)


class LdapSession:
    """A connection to the first of the servers that can be reached; for one thread at a time."""

    def __init__(self, parameters: "LdapParameters") -> None:
        self._parameters = parameters
        self._connection: Any = None
        self._socket: int | None = None
        self.aborted = False

    def search(self, base: str, scope: int, search_filter: str, attributes: Sequence[str], warn: Warn) -> Entries:
        """Search; over a new connection if the kept one turns out to be dead.

        Raises:
            LookupFailedError: there is no connection; that has been told.
            ldap.LDAPError: the search does not work.
        """
        kept = self._connection is not None
        try:
            return self._search(base, scope, search_filter, attributes, warn)
        except _LOST:
            self.rest()
            if not kept or self.aborted:
                raise
            return self._search(base, scope, search_filter, attributes, warn)

    def abort(self) -> None:
        """Break the connection, so that whoever waits for it gets an error."""
        self.aborted = True
        number = self._socket
        if number is not None:
            with suppress(OSError), socket.socket(fileno=os.dup(number)) as connection:
                connection.shutdown(socket.SHUT_RDWR)

    def rest(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        number, self._socket = self._socket, None
        if connection is not None:
            with suppress(ldap.LDAPError):
                connection.unbind_ext_s()
        if number is not None:
            with suppress(OSError):
                os.close(number)

    def _search(self, base: str, scope: int, search_filter: str, attributes: Sequence[str], warn: Warn) -> Entries:
        if self._connection is None:
            self._connect(warn)
        found: Entries = self._connection.search_ext_s(
            base,
            scope,
            search_filter,
            list(attributes) or [ldap.NO_ATTRS],
            timeout=self._parameters.timeout_seconds,
            sizelimit=self._parameters.size_limit,
        )
        return found

    def _connect(self, warn: Warn) -> None:
        own = self._parameters
        connection: Any = None
        try:
            connection = ldap.initialize(own.servers)
            limit_messages(connection, LARGEST_REPLY)
            self._set_options(connection)
            if own.start_tls:
                self._start_tls(connection, warn)
            self._bind(connection, warn)
        except ldap.LDAPError as error:
            problem = f"dict_ldap_connect: Unable to set up a connection to {own.servers}: {described(error)}"
            raise LookupFailedError(described(error), problem) from error
        self._connection = connection
        with suppress(ldap.LDAPError, OSError):
            self._socket = os.dup(connection.fileno())

    def _set_options(self, connection: Any) -> None:
        own = self._parameters
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, own.timeout_seconds)
        connection.set_option(ldap.OPT_TIMEOUT, own.timeout_seconds)
        connection.set_option(ldap.OPT_PROTOCOL_VERSION, own.version)
        connection.set_option(ldap.OPT_DEREF, own.dereference)
        connection.set_option(ldap.OPT_REFERRALS, int(own.chase_referrals))
        check = ldap.OPT_X_TLS_DEMAND if own.check_certificate else ldap.OPT_X_TLS_NEVER
        texts = {
            ldap.OPT_X_TLS_CACERTFILE: own.authority_file,
            ldap.OPT_X_TLS_CACERTDIR: own.authority_directory,
            ldap.OPT_X_TLS_CERTFILE: own.certificate,
            ldap.OPT_X_TLS_KEYFILE: own.key,
            ldap.OPT_X_TLS_CIPHER_SUITE: own.ciphers,
        }
        connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, check)
        for option, text in texts.items():
            if text:
                connection.set_option(option, text)
        # The options above are those of a context for TLS, which is made here; without it they would have no effect.
        if own.start_tls or own.servers.lower().startswith("ldaps:"):
            try:
                connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
            except ValueError as error:
                problem = "dict_ldap_set_tls_options: Unable to allocate new TLS context -1: Can't contact LDAP server"
                raise LookupFailedError("a tls_ parameter cannot be used", problem) from error

    def _start_tls(self, connection: Any, warn: Warn) -> None:
        try:
            connection.start_tls_s()
        except ldap.LDAPError as error:
            problem = f"dict_ldap_connect: Unable to set STARTTLS: {code(error)}: {words(error)}"
            raise LookupFailedError(described(error), problem) from error

    def _bind(self, connection: Any, warn: Warn) -> None:
        own = self._parameters
        try:
            if own.bind == "simple":
                connection.simple_bind_s(own.bind_dn, own.bind_password)
            elif own.bind == "sasl":
                connection.set_option(ldap.OPT_X_SASL_SECPROPS, f"minssf={own.sasl_least_strength}")
                answers = {
                    ldap.sasl.CB_USER: own.sasl_authorization,
                    ldap.sasl.CB_AUTHNAME: own.bind_dn,
                    ldap.sasl.CB_PASS: own.bind_password,
                    ldap.sasl.CB_GETREALM: own.sasl_realm,
                }
                sasl_bind(connection, own.sasl_mechanisms, answers)
        except ldap.LDAPError as error:
            who = own.bind_dn or "empty or implicit"
            reason = f"{code(error)} ({words(error)})"
            problem = f"dict_ldap_connect: Unable to bind to server {own.servers} with dn {who}: {reason}"
            raise LookupFailedError(described(error), problem) from error


class LdapQuery:
    """Asks an LdapSession for a key.

    Args:
        parameters: of the table.
        source: where these come from.
    """

    def __init__(self, parameters: "LdapParameters", source: str) -> None:
        self._own = parameters
        self._source = source

    def __call__(self, session: LdapSession, /, *, key: KeyParts, results: Results, warn: Warn) -> None:
        """Add to the results what is found, and what that refers to.

        Raises:
            LookupFailedError: it does not work.
        """
        own = self._own
        base = own.search_base.fill(key, quoted_in_name) or ""
        search_filter = own.query_filter.fill(key, quoted_in_filter) or ""
        try:
            entries = session.search(base, own.scope, search_filter, own.all_attributes, warn)
        except ldap.NO_SUCH_OBJECT as error:
            if own.search_base.letters:
                return
            reason = f"{code(error)}: {words(error)}"
            problem = f"dict_ldap_lookup: {self._source}: Search base '{base}' not found: {reason}"
            raise LookupFailedError(described(error), problem) from error
        except ldap.LDAPError as error:
            session.rest()
            problem = f"dict_ldap_lookup: Search error {code(error)}: {words(error)} "
            raise LookupFailedError(described(error), problem) from error
        if self._follow(session, entries, results, warn):
            warn("dict_ldap_lookup: Had some trouble with entries returned by search: No such object")

    def _follow(self, session: LdapSession, entries: Entries, results: Results, warn: Warn) -> bool:
        """Add the values of entries, and those of the entries that they refer to, where they do; says if one was missing."""
        missing = False
        searches = 0
        # Not by recursion: the limit is the administrator's, not Python's.
        levels = [self._items(entries)]
        while levels:
            item = next(levels[-1], None)
            if item is None:
                levels.pop()
                continue
            attribute, value, refers = item
            where = f"dict_ldap_get_values[{len(levels)}]"
            if not refers:
                results.add(value, f"{where}: {self._source}: Expansion limit exceeded for key:")
                continue
            searches += 1
            if len(levels) >= self._own.recursion_limit or searches > MOST_SEARCHES:
                problem = f"Recursion limit exceeded for special attribute {attribute}={value}"
                raise LookupFailedError(problem, f"{where}: {self._source}: {problem}")
            try:
                found = self._referred(session, value, warn)
            except ldap.NO_SUCH_OBJECT:
                missing = True
                warn(f"{where}: DN {value} not found, skipping ")
                continue
            except ldap.LDAPError as error:
                session.rest()
                problem = f"{where}: search error {code(error)}: {words(error)}"
                raise LookupFailedError(described(error), problem) from error
            levels.append(self._items(found))
        return missing

    def _referred(self, session: LdapSession, value: str, warn: Warn) -> Entries:
        """The entries that a value refers to: by their name, or by a URL."""
        own = self._own
        if not ldapurl.isLDAPUrl(value):
            return session.search(value, ldap.SCOPE_BASE, "(objectclass=*)", own.all_attributes, warn)
        try:
            url = ldapurl.LDAPUrl(value)
        except ValueError:
            raise ldap.PARAM_ERROR({"result": -9, "desc": "malformed LDAP URL"}) from None
        attributes = own.all_attributes
        if url.attrs:
            wanted = {name.lower() for name in url.attrs}
            attributes = [name for name in attributes if name in wanted]
        scope = ldap.SCOPE_BASE if url.scope is None else url.scope
        return session.search(url.dn or "", scope, url.filterstr or "(objectclass=*)", attributes, warn)

    def _items(self, entries: Entries) -> Iterator[Item]:
        """The values of entries that count, in the order of the server."""
        own = self._own
        for name, attributes in entries:
            if name is None:  # a referral that is not followed
                continue
            kinds = {each.lower() for each in attributes}
            only_terminal = not kinds.isdisjoint(own.terminal)
            has_special = not kinds.isdisjoint(own.special)
            for attribute, values in attributes.items():
                kind = attribute.lower()
                refers = not only_terminal and kind in own.special
                if only_terminal:
                    counts = kind in own.terminal
                else:
                    counts = refers or kind in own.attributes or (kind in own.leaf and not has_special)
                if counts:
                    for value in values:
                        yield attribute, to_text(value), refers


def code(error: ldap.LDAPError) -> int:
    """The number of an error."""
    return int(_details(error).get("result", -1))


def words(error: ldap.LDAPError) -> str:
    """What the number means."""
    return str(_details(error).get("desc", error))


def described(error: ldap.LDAPError) -> str:
    """An error in words, with what the server has to say."""
    info = str(_details(error).get("info", ""))
    return f"{words(error)} ({info})" if info else words(error)


def _details(error: ldap.LDAPError) -> dict[str, Any]:
    return error.args[0] if error.args and isinstance(error.args[0], dict) else {}
