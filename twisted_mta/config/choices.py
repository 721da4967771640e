"""The words of settings that take one of a few.

Flow: rows of parameters_*.py name these types; the rooms compare with their members.
Sources: postconf(5), each class names its parameter.
"""

import enum


class DnsSupport(enum.Enum):
    """smtp_dns_support_level; UNSET leaves it to disable_dns_lookups."""

    UNSET = ""
    DISABLED = "disabled"
    ENABLED = "enabled"
    DNSSEC = "dnssec"


class AddressPreference(enum.Enum):
    """smtp_address_preference: which addresses come first among equals."""

    ANY = "any"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


class VerifyTarget(enum.Enum):
    """smtp_address_verify_target: how far a probe goes."""

    RCPT = "rcpt"
    DATA = "data"


class FromFormat(enum.Enum):
    """header_from_format: how From: headers of our own notices are written."""

    STANDARD = "standard"
    OBSOLETE = "obsolete"


class AddressFormat(enum.Enum):
    """info_log_address_format: how addresses are written in log lines."""

    EXTERNAL = "external"
    INTERNAL = "internal"


class InsecureMxPolicy(enum.Enum):
    """smtp_tls_dane_insecure_mx_policy: the level where TLSA records are secure, but the MX lookup was not."""

    MAY = "may"
    ENCRYPT = "encrypt"
    DANE = "dane"


class TlsLevel(enum.Enum):
    """smtp_tls_security_level; UNSET leaves it to smtp_use_tls and smtp_enforce_tls."""

    UNSET = ""
    NONE = "none"
    MAY = "may"
    ENCRYPT = "encrypt"
    DANE = "dane"
    DANE_ONLY = "dane-only"
    FINGERPRINT = "fingerprint"
    VERIFY = "verify"
    SECURE = "secure"
