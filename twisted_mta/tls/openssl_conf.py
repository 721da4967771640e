"""The configuration file of OpenSSL that is asked for: whether it can be used, and how the library is told of it.

OpenSSL reads one file, once, when it is loaded, before any of our code could ask it to: that which OPENSSL_CONF in the
environment names. What is said there about TLS holds where main.cf has no word of its own.

Flow: tls/openssl_start.py starts the process with what is `needed`; tls/engine.py asks whether there is a `problem`.
Sources: postconf(5) tls_config_file, tls_config_name; config(5) and openssl-env(7) of OpenSSL; the log of a running Postfix.
"""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from twisted_mta.config.settings import Settings
from twisted_mta.tls.library_error import LibraryError
from twisted_mta.tls.openssl_file import DEFAULT_SECTION, OpensslFile, OpensslFileError

NO_FILE = "/dev/null"

_DEFAULT, _NONE = "default", "none"
_GLOBAL_KEY = "openssl_conf"
_LIBRARY = "configuration file routines"
_MODULES = frozenset(
    {"alg_section", "engines", "oid_section", "providers", "random", "ssl_conf", "stbl_section", "config_diagnostics"}
)
"""What the section of an application can hold (config(5))."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What OPENSSL_CONF must name.

    Attributes:
        path: a file that is there; empty: one with `content` is to be made.
        content: of that file.
    """

    path: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True)
class OpensslConfiguration:
    """What main.cf asks for.

    Attributes:
        file: tls_config_file: ``default``, ``none``, or an absolute path.
        name: tls_config_name; empty: the name that all programs share.
    """

    file: str = _DEFAULT
    name: str = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> "OpensslConfiguration":
        """What is configured."""
        return cls(settings.tls_config_file, settings.tls_config_name)

    @property
    def is_default(self) -> bool:
        """Whether OpenSSL is left alone."""
        return self.file == _DEFAULT and not self.name

    def problem(self) -> tuple[str, tuple[LibraryError, ...]] | None:
        """Why there can be no TLS with it.

        Returns:
            Words for the log, and what OpenSSL would say; None: it can be used.
        """
        if self.file in (_DEFAULT, _NONE):
            return None
        if not self.file.startswith("/"):
            return f"non-default tls_config_file = {self.file} is not an absolute pathname", ()
        try:
            _check(OpensslFile.read(Path(self.file)).sections, self.name or _GLOBAL_KEY)
        except OpensslFileError as error:
            which = self.name or "global"
            return f"error loading the '{which}' settings from the {self.file} OpenSSL configuration file", error.errors
        return None

    def needed(self) -> Needed | None:
        """What OPENSSL_CONF must name; None: whatever it does."""
        if self.is_default or self.problem() is not None:
            return None
        if self.file == _NONE:
            return Needed(NO_FILE)
        if self.file != _DEFAULT:
            return _naming(self.file, self.name) if self.name else Needed(self.file)
        system = system_file()
        return _naming_in_system_file(str(system), self.name) if system else None


def _naming(path: str, name: str) -> Needed:
    """A file that makes a name of another one the name that OpenSSL looks for."""
    section = OpensslFile.read(Path(path)).sections[DEFAULT_SECTION].get(name)
    if section is None:
        return Needed(NO_FILE)
    return Needed(content=f".include {path}\n[{DEFAULT_SECTION}]\n{_GLOBAL_KEY} = {section}\n")


def _naming_in_system_file(path: str, name: str) -> Needed:
    """The same for the system's file, which counts as it is where it does not have that name, or is wrong."""
    try:
        needed = _naming(path, name)
    except OpensslFileError:
        return Needed(path)
    return needed if needed.content else Needed(path)


def system_file() -> Path | None:
    """The system's own file: beside the certificates of the system's OpenSSL; None: there is none."""
    path = Path(ssl.get_default_verify_paths().openssl_cafile).parent / "openssl.cnf"
    return path if path.is_file() else None


# ---- what OpenSSL would find wrong ----

_Sections = Mapping[str, Mapping[str, str]]


def _check(sections: _Sections, key: str) -> None:
    """Look at what a name of the first section leads to.

    Raises:
        OpensslFileError: something of it is missing.
    """
    name = sections[DEFAULT_SECTION].get(key)
    if name is None:
        return
    if name not in sections:
        raise OpensslFileError(
            (0x0700007C, _LIBRARY, "openssl conf references missing section", f"openssl_conf={name}")
        )
    for module, value in sections[name].items():
        problems = tuple(_module_problems(sections, module, value))
        if problems:
            raise OpensslFileError(*problems)


def _module_problems(sections: _Sections, module: str, value: str) -> Iterator[LibraryError]:
    if module.split(".")[0] not in _MODULES:
        yield 0x07000071, _LIBRARY, "unknown module name", f"module={module}"
    elif module == "ssl_conf":
        found = tuple(_ssl_problems(sections, value))
        yield from found
        if found:
            more = f"module={module}, value={value} retcode=-1      "
            yield 0x0700006D, _LIBRARY, "module initialization error", more


def _ssl_problems(sections: _Sections, section: str) -> Iterator[LibraryError]:
    if section not in sections:
        yield 0x07000078, _LIBRARY, "ssl section not found", f"section={section}"
        return
    for name, value in sections[section].items():
        if value not in sections:
            yield 0x07000076, _LIBRARY, "ssl command section not found", f"name={name}, value={value}"
            return
