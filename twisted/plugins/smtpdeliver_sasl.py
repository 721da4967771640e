"""Tells twisted.plugin of the SASL mechanisms that come with twisted_mta.

Each stands here under a name of its own, since that is how plug-ins are found.
"""

from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_mta.sasl.mechanisms import BUILT_IN, Mechanism


@implementer(IPlugin)
class _Plugin(Mechanism):
    """A mechanism that twisted.plugin can find."""


def _plugin(name: str) -> _Plugin:
    row = next(row for row in BUILT_IN if row.name == name)
    return _Plugin(row.name, row.rank, row.satisfies, row.maker, row.why_not, row.blocks)


scram_sha_512_plus = _plugin("SCRAM-SHA-512-PLUS")
scram_sha_384_plus = _plugin("SCRAM-SHA-384-PLUS")
scram_sha_256_plus = _plugin("SCRAM-SHA-256-PLUS")
scram_sha_224_plus = _plugin("SCRAM-SHA-224-PLUS")
scram_sha_1_plus = _plugin("SCRAM-SHA-1-PLUS")
scram_sha_512 = _plugin("SCRAM-SHA-512")
scram_sha_384 = _plugin("SCRAM-SHA-384")
scram_sha_256 = _plugin("SCRAM-SHA-256")
scram_sha_224 = _plugin("SCRAM-SHA-224")
scram_sha_1 = _plugin("SCRAM-SHA-1")
gssapi = _plugin("GSSAPI")
digest_md5 = _plugin("DIGEST-MD5")
cram_md5 = _plugin("CRAM-MD5")
plain = _plugin("PLAIN")
login = _plugin("LOGIN")
oauthbearer = _plugin("OAUTHBEARER")
xoauth2 = _plugin("XOAUTH2")
anonymous = _plugin("ANONYMOUS")
external = _plugin("EXTERNAL")
