"""Tells twistd of the delivery service."""

from twisted.application.service import ServiceMaker

smtpdeliver = ServiceMaker(
    "Mail delivery over SMTP and LMTP",
    "twisted_mta.service",
    "Deliver mail over SMTP or LMTP, under Postfix's queue manager.",
    "smtpdeliver",
)
