"""Write the pages that are made from the code: log lines, parameters, and the states of the dialogs.

Flow: ``python -m docs.generate`` in the checkout; tests/test_frame.py compares `pages` with what the pages say.
"""

from collections.abc import Iterator
from pathlib import Path

from docs import states
from twisted_mta.config.parameter import Kind
from twisted_mta.config.settings import ROWS
from twisted_mta.model.events import Severity
from twisted_mta.observe.maillog import TEMPLATES

DOCS = Path(__file__).parent

BEGIN, END = "<!-- made by docs.generate: begin -->", "<!-- made by docs.generate: end -->"


def pages() -> dict[Path, str]:
    """The text that each page should have."""
    made = {
        "reference/log-lines.md": log_lines(),
        "reference/parameters.md": parameters(),
        "explanation/dialog.md": states.page(),
    }
    return {DOCS / name: filled(DOCS / name, "\n".join(lines)) for name, lines in made.items()}


def filled(path: Path, text: str) -> str:
    """A page with `text` between its two marks."""
    before, begin, rest = path.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: the marks are missing")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def log_lines() -> Iterator[str]:
    """A table of the lines, and what each means."""
    yield "| line | when |"
    yield "| --- | --- |"
    for kind, (severity, template) in TEMPLATES.items():
        prefix = "" if severity is Severity.INFO else f"{severity.value}: "
        meaning = (kind.__doc__ or "").splitlines()[0]
        yield f"| {code(prefix + template)} | {cell(meaning)} |"


def parameters() -> Iterator[str]:
    """A table of the parameters, by name."""
    yield "| parameter | in LMTP mode | default | values | what it is |"
    yield "| --- | --- | --- | --- | --- |"
    for row in sorted(ROWS, key=lambda row: row.name):
        lmtp = "as it is" if row.lmtp_name == row.name else code(row.lmtp_name) if row.lmtp_name else "not read"
        if row.lmtp_name and row.lmtp_default != row.default:
            lmtp += f", default {code(row.lmtp_default or '')}"
        default = "at run time" if row.kind is Kind.FACT else code(row.default)
        yield f"| {code(row.name)} | {lmtp} | {default} | {cell(row.accepts or row.kind.value)} | {cell(row.doc)} |"


def code(text: str) -> str:
    """Text as code in a table cell."""
    return f"`{cell(text)}`" if text else "(empty)"


def cell(text: str) -> str:
    """Text that does not end the table cell it stands in."""
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Write all pages."""
    for path, text in pages().items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
