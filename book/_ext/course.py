"""What the site adds to Jupyter Book: the table of recorded running times."""

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

COSTS = "data/recorded/course_costs.json"


def table(costs: dict[str, Any]) -> str:
    """The costs that `make course RECORD=1` wrote, as Markdown: minutes per chapter and tier."""
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
        path = Path(self.env.srcdir, COSTS)
        self.env.note_dependency(str(path))
        if not path.exists():
            return self.parse_text_to_nodes("No running times are recorded in this copy.")
        return self.parse_text_to_nodes(table(json.loads(path.read_text(encoding="utf-8"))))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive.

    Jupyter Book sets `comments_config` even where sphinx_comments, which declares it, is left out.
    """
    app.add_config_value("comments_config", {}, "html")
    app.add_directive("course-costs", CourseCosts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
