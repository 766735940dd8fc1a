"""What the site makes of the text of its pages: numbers, minutes and links, and the reference.

No part of Sphinx is needed here; `course.py` calls these while it reads a page.
"""

import ast
import json
import re
from pathlib import Path

# Never changed inside of: code, links, headings, HTML tags, formulas.
APART = re.compile(
    r"(^```.*?^```|`[^`]*`|\[[^\]]*\]\([^)]*\)|^#.*?$|<[^>]*>|\$[^$]*\$)", re.DOTALL | re.MULTILINE
)
PAGES = {"glossary": "Glossary", "troubleshooting": "Troubleshooting", "references": "References"}
ROW = re.compile(r"^\| \[(.*?)\]\((\.\./notebooks/(\d\d)_\S+)\) \|", re.MULTILINE)


def timed(page: str, minutes: dict[str, float]) -> str:
    """The front page, with a number and the minutes of a run for each chapter in its table.

    Example:
        >>> timed("| [Ask](../notebooks/02_ask.ipynb) | score |", {"02": 1.1})
        '| [02 Ask](../notebooks/02_ask.ipynb) | 1.1 | score |'
    """
    page = page.replace("| chapter |", "| chapter | minutes to run |").replace(
        "|---|---|", "|---|--:|---|", 1
    )
    return ROW.sub(
        lambda row: f"| [{row[3]} {row[1]}]({row[2]}) | {minutes.get(row[3], '-')} |", page
    )


def linked(text: str, own: str, names: dict[str, str]) -> str:
    """A cell's prose in which other chapters, papers on arXiv and the page of troubles are links.

    Example:
        >>> linked("See chapter 02, `chapter 02`, arXiv 2402.03300.", "01", {"02": "02_ask.ipynb"})
        'See [chapter 02](02_ask.ipynb), `chapter 02`, [arXiv 2402.03300](https://arxiv.org/abs/2402.03300).'
    """

    def chapter(found: re.Match[str]) -> str:
        name = names.get(found[1])
        return f"[{found[0]}]({name})" if name and found[1] != own else found[0]

    parts = APART.split(text)
    for place in range(0, len(parts), 2):
        part = re.sub(r"[Cc]hapter\s(\d\d)\b", chapter, parts[place])
        part = re.sub(r"arXiv[\s:]+(\d{4}\.\d{4,5})", r"[\g<0>](https://arxiv.org/abs/\1)", part)
        parts[place] = part.replace(
            "*Troubleshooting*", "[Troubleshooting](../book/troubleshooting.md)"
        )
    return "".join(parts)


def onward(own: str, names: dict[str, str]) -> str:
    """Where a reader goes from a chapter: to the next one, and to the pages that help with all."""
    later = sorted(number for number in names if number > own)
    ways = [f"- next: [chapter {later[0]}]({names[later[0]]})"] if later else []
    ways += [f"- [{title}](../book/{page}.md)" for page, title in PAGES.items()]
    return "\n".join([":::{admonition} Where to go from here", ":class: seealso", "", *ways, ":::"])


def chapter(text: str, own: str, names: dict[str, str]) -> str:
    """A notebook's text with links in its prose, figures in their size and the way onward.

    Figures are stored with twice the pixels that they are shown at, so they are sharp everywhere.
    """
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = linked("".join(cell["source"]), own, names)
        for output in cell.get("outputs", []):
            if shown := output.get("metadata", {}).get("image/png"):
                image = cell["metadata"].setdefault("mystnb", {}).setdefault("image", {})
                image["width"] = f"{shown['width']}px"
    end = {"cell_type": "markdown", "id": "onward", "metadata": {}, "source": onward(own, names)}
    return json.dumps(notebook | {"cells": [*notebook["cells"], end]})


def reference(library: Path) -> str:
    """Signatures and docstrings of everything public in the library, module by module."""
    lines = []
    for path in sorted(library.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and ast.get_docstring(node)
        ]
        if public:
            name = ".".join(path.relative_to(library.parent).with_suffix("").parts)
            lines += [f"## {name}", prose((ast.get_docstring(tree) or "").partition("\n\n")[0])]
        for node in public:
            lines += entry(node)
    return "\n\n".join(lines)


def entry(node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    """One function or class: its signature, its first sentence, and the rest as it was written."""
    first, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
    head = f"class {node.name}"
    if isinstance(node, ast.FunctionDef):
        head = f"{node.name}({ast.unparse(node.args)})"
        head += f" -> {ast.unparse(node.returns)}" if node.returns else ""
    said = [f"```python\n{head}\n```", prose(first)]
    return [*said, f"```text\n{rest}\n```"] if rest else said


def prose(text: str) -> str:
    """A docstring's sentence as Markdown in which only backticks mean anything."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([\\*_$<\[{|~^#])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)
