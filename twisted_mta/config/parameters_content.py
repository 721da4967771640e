"""Rows about what happens to content on its way out.

Flow: settings.py composes them into Settings; content/ reads them. Sources: postconf(5).
"""

from twisted_mta.config.parameter import Load, Rows, boolean, integer, items


class GeneralContentRows(Rows, load=Load.GENERAL):
    """What delivery shares with input."""

    mime_nesting_limit = integer("100", 1, doc="Deepest nesting of MIME parts that is converted.")
    mime_boundary_length_limit = integer("2048", 1, doc="Characters of a MIME boundary that count.")
    disable_mime_output_conversion = boolean(
        "no", doc="Whether 8-bit content is sent even to a server without 8BITMIME."
    )


class ContentRows(Rows, load=Load.AGENT):
    """Checks, rewriting, line breaks."""

    smtp_line_length_limit = integer("998", doc="Longest line that is sent unbroken, in bytes; 0: no limit.")
    smtp_generic_maps = items("", doc="Tables that replace addresses, in envelope and headers.")
    smtp_header_checks = items("", doc="Tables for primary message headers.")
    smtp_mime_header_checks = items("", doc="Tables for MIME headers.")
    smtp_nested_header_checks = items("", doc="Tables for headers of attached messages.")
    smtp_body_checks = items("", doc="Tables for the lines of the body.")
