"""The documentation as a site: `make docs`. The pages are read where they stand, as the repository shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parents[1]

project = "referral_stream"
version = re.findall(r'__version__ = "(.+)"', (ROOT / "referral_stream" / "__init__.py").read_text())[0]
extensions = ["myst_parser", "sphinx.ext.autodoc"]
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/**/*.md",
    "faust-batches/*.md",
    "examples/**/*.md",
    "faust-batches/docs/**/*.md",
    "changes.d/README.md",
]
root_doc = "docs/README"
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"referral_stream {version}"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

chapters = {
    "Begin": ("docs/start", "README", "docs/first-week", "examples/first_ask/README", "docs/pythons"),
    "Understand": ("docs/concepts", "docs/guarantees", "docs/opportunity", "docs/answers", "docs/architecture"),
    "Sending events": (
        "docs/producers",
        "docs/contracts",
        "docs/receiver",
        "docs/adapters",
        "docs/mapping",
        "docs/versions",
    ),
    "Setting the policy": ("docs/policy", "docs/cookbook", "docs/backtest", "docs/metrics"),
    "Sending messages, paying rewards": (
        "docs/workers",
        "examples/messaging_worker/README",
        "docs/testing-kit",
        "docs/rewards",
    ),
    "Running it": (
        "docs/operations",
        "docs/explain",
        "docs/console",
        "docs/read-models",
        "docs/audit",
        "docs/privacy",
        "SECURITY",
    ),
    "Evidence": ("docs/reliability", "docs/benchmarks", "docs/testing"),
    "Reference": ("docs/specification/*", "GLOSSARY"),
    "Contribute": (
        "CONTRIBUTING",
        "ARCHITECTURE",
        "changes.d/README",
        "CHANGELOG",
        "faust-batches/*",
        "faust-batches/docs/decisions/*",
    ),
    "Decisions": ("docs/decisions/*",),
}
"""Every page is in one of them; a page that is in none fails the build."""


class Anchors(SphinxTransform):
    """`<a id="I1.4">` is a place that links may name, as on every other host of Markdown."""

    default_priority = 100

    def apply(self, **_: Any) -> None:
        slugs = dict(getattr(self.document, "myst_slugs", {}))
        for raw in self.document.findall(nodes.raw):
            for name in re.findall(r'<a id="([^"]+)">', raw.astext()):
                slugs[name] = (raw.line or 0, name, name)
        self.document.myst_slugs = self.env.metadata[self.env.docname]["myst_slugs"] = slugs


class Folders(SphinxTransform):
    """A folder of the repository has no page here: its name is shown, and does not lead anywhere."""

    default_priority = 880  # when links are known as such, and before any is looked up

    def apply(self, **_: Any) -> None:
        page = ROOT / self.env.doc2path(self.env.docname)
        for link in list(self.document.findall(pending_xref)):
            target = str(link.get("reftarget", ""))
            if target.endswith("/") and (page.parent / target).is_dir():
                link.replace_self(link.children)


def table_of_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """The first page gets the table of contents; on other hosts it has its own table, by what a reader wants."""
    if page == root_doc:
        for chapter, pages in app.config.chapters.items():
            rows = "\n".join(f"/{each}" for each in pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {chapter}\n\n{rows}\n```\n"


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(Anchors)
    app.add_transform(Folders)
    app.add_config_value("chapters", {}, "env")  # what the first page is made of: a change reads it anew
    app.connect("source-read", table_of_contents)
    app.add_lexer("mermaid", TextLexer)  # a diagram elsewhere; here its text, which says the same
    return {"parallel_read_safe": True, "parallel_write_safe": True}
