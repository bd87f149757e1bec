"""MkDocs hooks: links from the documentation into the repository work on the web site, too.

On GitHub and in an editor, a page may link to ``../config/wildhands.yaml`` or to a model card beside the weights.
MkDocs serves only what lies in ``docs``, so each file that is linked from there is added to the site under
``repository/``, and the link is rewritten.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "repository"

LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")
"""The path of a relative Markdown link or image."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the repository's files that pages link to, and those that they link to in turn."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for target in _linked_outside(page):
            name = f"{PREFIX}/{target}"
            if files.get_file_from_path(name) is None and (ROOT / target).is_file():
                files.append(File.generated(config, name, abs_src_path=str(ROOT / target)))
                if target.endswith(".md"):
                    waiting.append(name)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links that leave ``docs`` to the files added above."""

    def rewritten(match: re.Match[str]) -> str:
        target = _target(page.file.src_uri, match[1])
        inside = os.path.relpath(target, "docs") if target.startswith("docs/") else f"{PREFIX}/{target}"
        return posixpath.relpath(inside, posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(rewritten, markdown)


def _linked_outside(page: str) -> set[str]:
    targets = {_target(page, link) for link in LINK.findall((ROOT / _source(page)).read_text())}
    return {target for target in targets if not target.startswith(("docs/", "../"))}


def _source(page: str) -> str:
    """Path in the repository of a page of the site."""
    return page.removeprefix(f"{PREFIX}/") if page.startswith(f"{PREFIX}/") else f"docs/{page}"


def _target(page: str, link: str) -> str:
    """Path in the repository that a page's link leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(_source(page)), link))
