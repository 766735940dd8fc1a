"""A place to type completions and see what each rule set pays for them."""

import html

import ipywidgets

from medr1_lib.course.chapters.chapter_03 import ANSWER, OPTIONS, BenchRow
from medr1_lib.data import styles
from medr1_lib.rl.rewards import RULES, points

LAYOUT = {"width": "95%"}
HEADS = ("rules", "form", "answer", "reward")
LEFT = 'style="text-align: left; padding: 0 1em"'


class RewardTester(ipywidgets.VBox):
    """Type a completion, or take one from the bench, and read its points under every rule set.

    Attributes:
        row: Dropdown; a row of the bench, whose style and completion are taken over.
        style: Dropdown; the form that the prompt asked for.
        said: Text field; the completion.
        view: The points, and what evaluation reads.

    Example:
        >>> from medr1_lib.course.chapters.chapter_03 import load_bench
        >>> tester = RewardTester(load_bench())
        >>> tester.said.value = "<answer>C</answer>"
        >>> "evaluation reads C" in tester.view.value
        True
    """

    def __init__(self, rows: list[BenchRow]) -> None:
        listed = [(f"{row.kind}: {row.completion!r}", row) for row in rows]
        self.row = ipywidgets.Dropdown(description="bench", options=listed, layout=LAYOUT)
        self.style = ipywidgets.Dropdown(description="style", options=list(styles.STYLES))
        self.said = ipywidgets.Textarea(description="completion", rows=3, layout=LAYOUT)
        self.view = ipywidgets.HTML()
        self.row.observe(self._take, "value")
        for control in (self.style, self.said):
            control.observe(self._show, "value")
        self._take()
        super().__init__([self.row, self.style, self.said, self.view])

    def _take(self, change: object = None) -> None:
        self.style.value, self.said.value = self.row.value.style, self.row.value.completion

    def _show(self, change: object = None) -> None:
        self.view.value = verdict(self.said.value, self.style.value)


def verdict(completion: str, style: str) -> str:
    """What one completion earns under every rule set, as an HTML table.

    Example:
        >>> "evaluation reads nothing" in verdict("no idea", "no_think")
        True
    """
    rows = []
    for rules in RULES:
        form, accuracy = points(completion, ANSWER, style, rules)
        cells = (rules, f"{form:g}", f"{accuracy:g}", f"{form + accuracy:g} of 2")
        rows.append(f"<tr>{''.join(f'<td {LEFT}>{cell}</td>' for cell in cells)}</tr>")
    choices = html.escape(styles.listed(OPTIONS))
    letter = styles.read(completion, OPTIONS)
    return (
        f"<p>{choices}; right is {ANSWER}; evaluation reads {letter or 'nothing'}</p>"
        f"<table><tr>{''.join(f'<th {LEFT}>{head}</th>' for head in HEADS)}</tr>"
        f"{''.join(rows)}</table>"
    )
