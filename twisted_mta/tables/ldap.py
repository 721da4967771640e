"""``ldap:FILE``: a search in LDAP servers.

Flow: registry.py opens it; ldap_session.py searches, in threads.
Sources: ldap_table(5); RFC 4514 section 2.4 and RFC 4515 section 3 for what must be quoted; a running postmap(1).
"""

import re
from dataclasses import dataclass, field

import ldap
from zope.interface import implementer

from twisted_mta.config.values import split_words
from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.database import DatabaseTable, QueryRules, open_with_parameters, unknown_value
from twisted_mta.tables.ldap_session import LdapQuery, LdapSession
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.sessions import SessionLimits
from twisted_mta.tables.source_parameters import SourceParameters
from twisted_mta.tables.templates import Template, parse_template

SCOPES = {"sub": ldap.SCOPE_SUBTREE, "base": ldap.SCOPE_BASE, "one": ldap.SCOPE_ONELEVEL}
BINDS = {"no": "", "none": "", "yes": "simple", "simple": "simple", "sasl": "sasl"}

SPARE_SECONDS = 20.0
"""A lookup may take so much longer than what the parameter allows for a single operation: it may need several."""

MOST_SECONDS = 100
"""For a single operation, where the parameter says that there is no limit."""

_URL = re.compile(r"ldap[si]?://", re.IGNORECASE)
_IGNORED = ("cache", "cache_expiry", "cache_size")


@dataclass(frozen=True, slots=True)
class LdapParameters:
    """The parameters of an LDAP table.

    Attributes:
        servers: URLs with blanks between them, which the library tries in turn.
        attributes: whose values are results.
        terminal, leaf, special: see ldap_table(5); all names in lower case.
    """

    servers: str
    version: int
    timeout_seconds: int
    search_base: Template
    scope: int
    query_filter: Template
    attributes: tuple[str, ...]
    terminal: tuple[str, ...]
    leaf: tuple[str, ...]
    special: tuple[str, ...]
    size_limit: int
    recursion_limit: int
    bind: str
    bind_dn: str
    bind_password: str = field(repr=False)
    sasl_mechanisms: str
    sasl_realm: str
    sasl_authorization: str
    sasl_least_strength: int
    dereference: int
    chase_referrals: bool
    start_tls: bool
    check_certificate: bool
    authority_file: str
    authority_directory: str
    certificate: str
    key: str
    ciphers: str

    @property
    def all_attributes(self) -> list[str]:
        """All attributes that are asked for."""
        return list(dict.fromkeys((*self.attributes, *self.terminal, *self.leaf, *self.special)))

    @classmethod
    def read(cls, request: TableRequest, parameters: SourceParameters, expansion_limit: int) -> "LdapParameters":
        """Read them; warns about what is odd.

        Raises:
            ConfigError: one makes no sense.
        """
        source = parameters.source

        def warn(text: str) -> None:
            request.warn(f"dict_ldap_open: {source}{text}")

        def names(parameter: str, default: str = "") -> tuple[str, ...]:
            return tuple(name.lower() for name in split_words(parameters.text(parameter, default)))

        servers, scheme = _servers(parameters)
        start_tls = parameters.boolean("start_tls", False)
        version = parameters.integer("version", 2)
        if version not in (2, 3):
            warn(f" Unknown version {version}, using 3.")
            version = 3
        if version < 3 and (scheme or start_tls):
            if parameters.optional("version") is not None:
                because = f"dict_ldap_open: URL scheme {scheme}" if scheme else f"dict_ldap_open: {source} start_tls"
                request.warn(f"{because} requires protocol version 3")
            version = 3
        base = parse_template(parameters.text("search_base"), source, "query")
        scope = parameters.text("scope", "sub", shortest=1).lower()
        if scope not in SCOPES:
            warn(f": Unrecognized value {scope} specified for scope; using sub")
            scope = "sub"
        filter_text = parameters.text("query_filter", "(mailacceptinggeneralid=%s)")
        query_filter = parse_template(filter_text, source, "query")
        if not query_filter.letters:
            warn(f": Fixed query_filter {filter_text} is probably useless")
        for name in _IGNORED:
            if parameters.optional(name) is not None:
                warn(f" ignoring {name}")
        bind = parameters.text("bind", "yes")
        if bind.lower() not in BINDS:
            raise unknown_value(source, "bind", bind)
        dereference = parameters.integer("dereference", 0)
        if not 0 <= dereference <= 3:
            warn(f" Unrecognized value {dereference} specified for dereference; using 0")
            dereference = 0
        parameters.integer("debuglevel", 0)
        return cls(
            servers=servers,
            version=version,
            timeout_seconds=timeout if (timeout := parameters.integer("timeout", 10)) > 0 else MOST_SECONDS,
            search_base=base,
            scope=SCOPES[scope],
            query_filter=query_filter,
            attributes=names("result_attribute", "maildrop"),
            terminal=names("terminal_result_attribute"),
            leaf=names("leaf_result_attribute"),
            special=names("special_result_attribute"),
            size_limit=max(parameters.integer("size_limit", max(expansion_limit, 0)), 0),
            recursion_limit=parameters.integer("recursion_limit", 1000, minimum=1),
            bind=BINDS[bind.lower()],
            bind_dn=parameters.text("bind_dn"),
            bind_password=parameters.text("bind_pw"),
            sasl_mechanisms=parameters.text("sasl_mechs"),
            sasl_realm=parameters.text("sasl_realm"),
            sasl_authorization=parameters.text("sasl_authz_id"),
            sasl_least_strength=max(parameters.integer("sasl_minssf", 0), 0),
            dereference=dereference,
            chase_referrals=parameters.boolean("chase_referrals", False),
            start_tls=start_tls,
            check_certificate=parameters.boolean("tls_require_cert", False),
            authority_file=parameters.text("tls_ca_cert_file"),
            authority_directory=parameters.text("tls_ca_cert_dir"),
            certificate=parameters.text("tls_cert"),
            key=parameters.text("tls_key"),
            ciphers=parameters.text("tls_cipher_suite"),
        )


def _servers(parameters: SourceParameters) -> tuple[str, str]:
    """The servers as URLs, and the first scheme of these that needs version 3."""
    port = parameters.integer("server_port", 389)
    urls: list[str] = []
    for word in split_words(parameters.text("server_host", "localhost")):
        if _URL.match(word):
            urls.append(word)
        else:
            urls.append(f"ldap://{word}" if re.search(r":[0-9]+\Z", word) else f"ldap://{word}:{port}")
    schemes = [url.partition(":")[0].lower() for url in urls]
    return " ".join(urls), next((scheme for scheme in schemes if scheme != "ldap"), "")


@implementer(ILookupTable)
class LdapTable(DatabaseTable[LdapSession]):
    """A table that is a search in LDAP servers."""

    def __init__(self, request: TableRequest, parameters: SourceParameters) -> None:
        rules = QueryRules(request, parameters, result_format=parameters.text("result_filter", "%s"))
        own = LdapParameters.read(request, parameters, rules.expansion_limit)
        seconds = own.timeout_seconds + SPARE_SECONDS
        super().__init__(
            request,
            parameters,
            rules,
            templates=(own.search_base, own.query_filter),
            make_session=lambda: LdapSession(own),
            query=LdapQuery(own, parameters.source),
            too_many=f"dict_ldap_get_values[1]: {parameters.source}: Expansion limit exceeded for key:",
            limits=SessionLimits(seconds=seconds),
            only_utf8=True,
        )


def open_ldap(request: TableRequest) -> ILookupTable:
    """Open ``ldap:FILE``; connects when the first key is looked up.

    Raises:
        TableError: the file with the parameters cannot be read.
        ConfigError: a parameter makes no sense.
    """
    return open_with_parameters(request, LdapTable)
