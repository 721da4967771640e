"""Check the Markdown pages: links and anchors lead somewhere, and every page can be reached from README.md.

Flow: `tox run -e docs` runs it; it prints each fault as ``file:line: what`` and ends with status 1 if there is one.
Sources: CommonMark; GitHub's rule for the anchors of headings.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md")
START = ROOT / "README.md"


@dataclass(slots=True)
class Page:
    """A page: its anchors, and its links with their line numbers."""

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[tuple[int, str]] = field(default_factory=list)


def anchor_of(heading: str) -> str:
    """The anchor of a heading: lower case, punctuation gone, blanks to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def read(path: Path) -> Page:
    """Read a page."""
    page = Page(path)
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8"))
    for previous, token in zip([None, *tokens], tokens, strict=False):
        if token.type != "inline":
            continue
        line = (token.map or [0])[0] + 1
        if previous is not None and previous.type == "heading_open":
            page.anchors.add(anchor_of(text_of(token)))
        for child in token.children or ():
            target = child.attrGet("href") if child.type == "link_open" else child.attrGet("src")
            if isinstance(target, str):
                page.links.append((line, target))
    return page


def text_of(token: Token) -> str:
    """The text of a heading, without its marks."""
    return "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))


def destination(page: Page, target: str) -> tuple[Path, str] | None:
    """The file and the anchor that a link means; None if it leads out of the project."""
    if re.match(r"[a-z]+:", target):
        return None
    name, _, anchor = target.partition("#")
    return ((page.path.parent / name).resolve() if name else page.path), anchor


def link_fault(page: Page, target: str, pages: dict[Path, Page]) -> str:
    """What is wrong with a link; empty: nothing."""
    place = destination(page, target)
    if place is None:
        return ""
    path, anchor = place
    if not path.exists():
        return f"{target}: no such file"
    if anchor and (path not in pages or anchor not in pages[path].anchors):
        return f"{target}: no such heading"
    return ""


def reachable(pages: dict[Path, Page]) -> set[Path]:
    """The pages that links lead to from the first page on."""
    reached, waiting = {START}, [START]
    while waiting:
        page = pages[waiting.pop()]
        for _, target in page.links:
            place = destination(page, target)
            if place is not None and place[0] in pages and place[0] not in reached:
                reached.add(place[0])
                waiting.append(place[0])
    return reached


def faults(pages: dict[Path, Page]) -> Iterator[str]:
    """What is wrong with the pages, one line a fault."""
    for page in pages.values():
        for line, target in page.links:
            if fault := link_fault(page, target, pages):
                yield f"{page.path.relative_to(ROOT)}:{line}: {fault}"
    for path in sorted(pages.keys() - reachable(pages)):
        yield f"{path.relative_to(ROOT)}:1: no page leads here from README.md"


def main() -> int:
    """Check all pages; returns the exit status."""
    pages = {path: read(path) for pattern in PAGES for path in sorted(ROOT.glob(pattern))}
    found = list(faults(pages))
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    sys.stdout.write(
        f"{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links, {len(found)} faults\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
