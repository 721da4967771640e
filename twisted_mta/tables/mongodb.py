"""``mongodb:FILE``: a query to a MongoDB database.

Flow: registry.py opens it.
Sources: mongodb_table(5) of Postfix 3.9; the documentation of PyMongo.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bson import json_util
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from zope.interface import implementer

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.values import split_words
from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.database import DatabaseTable, QueryRules, open_with_parameters
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.results import LookupFailedError, Results, Warn
from twisted_mta.tables.sessions import SessionLimits
from twisted_mta.tables.source_parameters import SourceParameters
from twisted_mta.tables.templates import KeyParts, Template, parse_template

MOST_RESULTS = 100
"""The largest expansion_limit."""

DEFAULT_RESULTS = 10
"""The default of expansion_limit."""

SECONDS = 20.0
"""For a query, the choice of a server included."""

MOST_DOCUMENTS = 10_000
"""Documents of one query that are looked at."""

Connect = Callable[[str], Any]
"""Makes a client of a connection string; raises PyMongoError or ValueError."""


@dataclass(frozen=True, slots=True)
class MongoParameters:
    """The parameters of a MongoDB table.

    Attributes:
        uri: says where the servers are, and may have a password in it.
        projection: which fields of documents are wanted, as PyMongo has it.
    """

    uri: str = field(repr=False)
    database: str
    collection: str
    query_filter: Template
    projection: Mapping[str, Any]

    @classmethod
    def read(cls, request: TableRequest, parameters: SourceParameters) -> "MongoParameters":
        """Read them.

        Raises:
            ConfigError: one is missing, or makes no sense.
            TableError: which fields are wanted is said twice, or never.
        """
        source = parameters.source
        texts = {name: parameters.text(name, shortest=1) for name in ("uri", "dbname", "collection", "query_filter")}
        projection, attributes = parameters.text("projection"), split_words(parameters.text("result_attribute"))
        if bool(projection) == bool(attributes):
            raise request.unusable(
                f"dict_mongodb_open: {source}: specify exactly one of 'projection' or 'result_attribute'"
            )
        fields: Mapping[str, Any] = {**dict.fromkeys(attributes, 1), "_id": 0}
        if projection:
            fields = {**_json_object(projection, f"{source}: projection"), "_id": 0}
        return cls(
            texts["uri"],
            texts["dbname"],
            texts["collection"],
            parse_template(texts["query_filter"], source, "query"),
            fields,
        )


def _json_object(text: str, what: str) -> Mapping[str, Any]:
    """Read a JSON object, in MongoDB's extended form.

    Raises:
        ConfigError: it is none.
    """
    try:
        found = json_util.loads(text)
    except (ValueError, TypeError, RecursionError, PyMongoError) as error:
        raise ConfigError(f"{what}: malformed JSON: {error}") from error
    if not isinstance(found, Mapping):
        raise ConfigError(f"{what}: not a JSON object: {text}")
    return found


def quoted(text: str) -> str:
    """A text as it stands within the double quotes of JSON."""
    return json.dumps(text)[1:-1]


class MongoSession:
    """A client of MongoDB; it connects when it is first used, and keeps and replaces connections itself.

    Args:
        parameters: of the table.
        connect: makes a client.
    """

    def __init__(self, parameters: MongoParameters, connect: Connect) -> None:
        self._parameters = parameters
        self._connect = connect
        self._client: Any = None

    def find(self, query: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        """The documents that a query finds, with the fields that are wanted.

        Raises:
            PyMongoError: from the iterator, too: it does not work.
        """
        own = self._parameters
        if self._client is None:
            self._client = self._connect(own.uri)
        found: Iterable[Mapping[str, Any]] = self._client[own.database][own.collection].find(
            query, dict(own.projection), limit=MOST_DOCUMENTS, max_time_ms=int(SECONDS * 1000)
        )
        return found

    def abort(self) -> None:
        """Nothing: PyMongo keeps to the time limits that it was given."""

    def rest(self) -> None:
        """End the connections."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(PyMongoError):
                client.close()


def connect_to(uri: str) -> Any:
    """A client that never waits longer than SECONDS.

    Raises:
        PyMongoError: the URI is malformed.
    """
    milliseconds = int(SECONDS * 1000)
    client: MongoClient[dict[str, Any]] = MongoClient(
        uri,
        serverSelectionTimeoutMS=milliseconds,
        connectTimeoutMS=milliseconds,
        socketTimeoutMS=milliseconds,
        maxPoolSize=1,
        appname="postfix",
    )
    return client


class MongoQuery:
    """Asks a MongoSession for a key.

    Args:
        parameters: of the table.
        source: where these come from.
    """

    def __init__(self, parameters: MongoParameters, source: str) -> None:
        self._filter = parameters.query_filter
        self._source = source

    def __call__(self, session: MongoSession, /, *, key: KeyParts, results: Results, warn: Warn) -> None:
        """Add to the results what is found.

        Raises:
            LookupFailedError: it does not work.
        """
        text = self._filter.fill(key, quoted) or ""
        try:
            query = _json_object(text, f"{self._source}: query_filter")
        except ConfigError as error:
            raise LookupFailedError(error.text, error.text) from error
        try:
            for document in session.find(query):
                # Of several documents, the last one counts.
                results.clear()
                for name, value in document.items():
                    self._add(name, value, results, warn)
        except LookupFailedError:
            raise
        except Exception as error:
            session.rest()
            problem = f"dict_mongodb_lookup: {self._source}: query failed: {error}"
            raise LookupFailedError(str(error), problem) from error

    def _add(self, name: str, value: object, results: Results, warn: Warn) -> None:
        if isinstance(value, list):
            for each in value:
                self._add(name, each, results, warn)
        elif isinstance(value, str):
            results.add(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            results.add(str(int(value)))
        else:
            kind = type(value).__name__
            warn(
                f"dict_mongodb_lookup: {self._source}: value of '{name}' is neither text nor integer but {kind} -- ignored"
            )


@implementer(ILookupTable)
class MongoTable(DatabaseTable[MongoSession]):
    """A table that is a query to MongoDB."""

    by_pattern = True  # declares no kind of keys: no folding, and whole keys only

    def __init__(self, request: TableRequest, parameters: SourceParameters, connect: Connect = connect_to) -> None:
        own = MongoParameters.read(request, parameters)
        rules = QueryRules(request, parameters, expansion_limit=DEFAULT_RESULTS, most_results=MOST_RESULTS)
        super().__init__(
            request,
            parameters,
            rules,
            templates=(own.query_filter,),
            make_session=lambda: MongoSession(own, connect),
            query=MongoQuery(own, parameters.source),
            too_many=f"dict_mongodb_lookup: {parameters.source}: Expansion limit exceeded for key:",
            limits=SessionLimits(sessions=2, seconds=2 * SECONDS),
            only_utf8=True,
        )


def open_mongodb(request: TableRequest) -> ILookupTable:
    """Open ``mongodb:FILE``; connects when the first key is looked up.

    Raises:
        TableError: the file with the parameters cannot be read.
        ConfigError: a parameter makes no sense.
    """
    return open_with_parameters(request, MongoTable)
