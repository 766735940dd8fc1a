"""A result that the text of a chapter quotes is one that the chapter prints."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted(
    path for path in (ROOT / "notebooks").glob("*.ipynb") if int(path.name[:2]) in range(6, 13)
)
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)
RESULT = re.compile(r"(?<![\w.,])(\d[\d,]*(?:\.\d+)?) ?(?:%|percent\b|points?\b)")
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
GIVEN = {25.0, 95.0, 99.0, 100.0}  # chance and levels of confidence are no results


def numbers(pattern, text):
    return [(found, float(found.replace(",", ""))) for found in pattern.findall(text)]


def quoted(notebook):
    """The percentages and points in the prose."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    prose = "\n".join(text for text in cells if not text.startswith("## Quiz"))  # made-up cases
    found = numbers(RESULT, FOLDED.sub("", prose))
    return [(text, value) for text, value in found if value not in GIVEN]


def printed(notebook):
    """Every number in outputs and code."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    texts = [cell.source for cell in cells]
    texts += [output.get("text", "") for output in outputs]
    texts += [output.get("data", {}).get("text/plain", "") for output in outputs]
    return [value for _, value in numbers(NUMBER, "\n".join(texts))]


def unsupported(notebook):
    """Quoted numbers that no printed number, as a share or as it is, rounds to."""
    known = printed(notebook)
    missing = []
    for text, value in quoted(notebook):
        digits = len(text.partition(".")[2])
        if not any(value in (round(x, digits), round(100 * x, digits)) for x in known):
            missing.append(text)
    return missing


def test_the_text_agrees_with_the_numbers():
    found = {path.stem: unsupported(nbformat.read(path, 4)) for path in CHAPTERS}
    assert {chapter: missing for chapter, missing in found.items() if missing} == {}


@pytest.mark.parametrize(
    ("prose", "output", "missing"),
    [
        ("It gained 12 points.", "gain +12.3", []),
        ("It gained 12 points.", "gain +13.3", ["12"]),
        ("So 61.5 % were right.", "accuracy 0.615", []),
        ("So 61.5 % were right.", "accuracy 0.614", ["61.5"]),
        ("Chance is 25 %.", "", []),
        ("All 3,200 questions, 1.5 percent of them", "1.57", ["1.5"]),
    ],
)
def test_can_it_fail(prose, output, missing):
    stream = nbformat.v4.new_output("stream", text=output)
    code = nbformat.v4.new_code_cell("x", outputs=[stream])
    cells = [nbformat.v4.new_markdown_cell(prose), code]
    assert unsupported(nbformat.v4.new_notebook(cells=cells)) == missing
