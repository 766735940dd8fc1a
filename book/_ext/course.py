"""What the site adds to Jupyter Book while it is built; the sources stay as JupyterLab shows them.

The front page gets the numbers of the chapters and the minutes they run, every chapter gets links,
`book/api.md` the docstrings of the library, and `{course-costs}` is the table of running times.
"""

import json
from pathlib import Path
from typing import Any

import pages
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

COSTS = "data/recorded/course_costs.json"


def costs(root: Path) -> dict[str, Any]:
    """What `make course RECORD=1` wrote, by tier; empty where nothing has been recorded."""
    path = root / COSTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def table(costs: dict[str, Any]) -> str:
    """The costs as Markdown: minutes per chapter and tier."""
    tiers = list(costs)
    chapters = sorted({chapter for course in costs.values() for chapter in course["minutes"]})
    rows = [
        [chapter, *(str(costs[tier]["minutes"].get(chapter, "-")) for tier in tiers)]
        for chapter in chapters
    ]
    header = ["chapter", *(f"`{tier}` (minutes)" for tier in tiers)]
    lines = [header, ["---"] + ["---:"] * len(tiers), *rows]
    measured = [f"`{tier}`: {costs[tier]['hardware']}, {costs[tier]['date']}." for tier in tiers]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n" + " ".join(measured)


class CourseCosts(SphinxDirective):
    """`{course-costs}`: the table, or one sentence where nothing has been recorded."""

    def run(self) -> list[nodes.Node]:
        """Parse the table in place."""
        self.env.note_dependency(str(Path(self.env.srcdir, COSTS)))
        found = costs(Path(self.env.srcdir))
        none = "No running times are recorded in this copy."
        return self.parse_text_to_nodes(table(found) if found else none)


def read(app: Sphinx, page: str, source: list[str]) -> None:
    """Add to a page what it gets, before it is parsed."""
    root = Path(app.srcdir)
    if page == "book/index":
        source[0] = pages.timed(source[0], costs(root).get("laptop", {}).get("minutes", {}))
    elif page == "book/api":
        source[0] += pages.reference(root / "medr1_lib")
    elif page.startswith("notebooks/"):
        names = {path.name[:2]: path.name for path in (root / "notebooks").glob("[0-9]*.ipynb")}
        source[0] = pages.chapter(source[0], Path(page).name[:2], names)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive and what is added to pages.

    Jupyter Book sets `comments_config` even where sphinx_comments, which declares it, is left out.
    """
    app.add_config_value("comments_config", {}, "html")
    app.add_directive("course-costs", CourseCosts)
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
