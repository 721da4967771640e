"""Key exchange groups: which of those that are configured the library can do.

Flow: tls/contexts.py asks for the list once; all contexts offer it.
Sources: postconf(5) tls_eecdh_auto_curves, tls_ffdhe_auto_groups; SSL_CTX_set1_curves(3); RFC 7919; RFC 8446 section 4.2.7.
"""

from collections.abc import Iterable

from OpenSSL import SSL

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import TlsGroupsUnusable, TlsGroupUnknown
from twisted_mta.tls.library import is_known_name, set_groups

DEFAULT_GROUPS = ("X25519", "X448", "prime256v1", "secp521r1", "secp384r1", "ffdhe2048", "ffdhe3072")
"""What is offered where nothing of what is configured can be."""


def usable_groups(names: Iterable[str], emit: Emit) -> str:
    """The groups to offer, as the library wants them.

    Args:
        names: as they are configured, in order.
        emit: told of names that there are not, and what is done where none is left.

    Returns:
        Names between colons; empty: the library's own choice.
    """
    wanted = tuple(names)
    if not wanted:
        return ""
    trial = SSL.Context(SSL.TLS_CLIENT_METHOD)
    usable = [name for name in wanted if set_groups(trial, name)]
    unknown = [name for name in wanted if name not in usable and not is_known_name(name)]
    for name in unknown:
        emit(TlsGroupUnknown(name))
    if usable:
        return ":".join(usable)
    if len(unknown) < len(wanted):
        emit(TlsGroupsUnusable("none of the configured key exchange groups are supported"))
    else:
        emit(TlsGroupsUnusable("no configured key exchange group - OpenSSL requires at least one"))
    emit(TlsGroupsUnusable("using Postfix default key exchange groups instead"))
    usable = [name for name in DEFAULT_GROUPS if set_groups(trial, name)]
    if not usable:
        emit(TlsGroupsUnusable("using OpenSSL default key exchange groups instead"))
    return ":".join(usable)
