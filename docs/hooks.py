"""Files of other folders, which become pages of the site as well.

Links between files of the repository, as they work in its own view, become links between pages.
"""

from __future__ import annotations

import os.path
import pathlib
import re
from typing import Any

from mkdocs.structure.files import File, Files

DOCS = pathlib.Path(__file__).parent
ROOT = DOCS.parent
PAGES = {
    "index.md": ROOT / "README.md",
    "benchmarks.md": ROOT / "benchmarks/README.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    **{
        f"experiments/{path.parent.name}.md": path
        for path in sorted((ROOT / "experiments").glob("*/README.md"))
    },
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of other folders."""
    for uri, path in PAGES.items():
        files.append(File.generated(config, uri, content=path.read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turns links to files into links to pages; a file that is on no page is named instead."""
    uri = page.file.src_uri
    source = PAGES.get(uri, DOCS / uri)
    places = {path.resolve(): name for name, path in PAGES.items()}

    def link(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups(default="")
        path = (source.parent / target).resolve()
        if path not in places and not path.is_relative_to(DOCS):
            return text if image else f"{text} (`{os.path.relpath(path, ROOT)}`)"
        place = places.get(path) or path.relative_to(DOCS).as_posix()
        new = os.path.relpath(place, os.path.dirname(uri) or ".")
        return f"{image}[{text}]({new}{anchor})"

    return LINK.sub(link, markdown)
