"""One text for one executed notebook: executing it again gives the same bytes."""

import base64
import copy
import io
import json
import re
from typing import Any

import nbformat
from nbformat import NotebookNode
from PIL import Image

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
ADDRESS = re.compile(r"(?<= at 0x)[0-9a-f]{6,16}\b")
MODEL = re.compile(r"IPY_MODEL_([0-9a-f]{32})")


def text(notebook: NotebookNode) -> str:
    """The notebook as JSON, without what differs between two executions of the same cells.

    Memory addresses are blanked, the random ids of widgets numbered in the order in which a reader
    meets them, and widgets that no stored output shows left out. Pictures keep 256 colours, which
    the eye does not miss and which halves what students download.
    """
    notebook = copy.deepcopy(notebook)
    for data in (output.get("data", {}) for output in _outputs(notebook)):
        if "image/png" in data:
            data["image/png"] = _light(data["image/png"])
    notebook.metadata["language_info"] = {"name": "python"}  # the kernel adds its version
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    shown = _shown(notebook, state)
    for model in set(state) - set(shown):
        del state[model]
    if not state:
        notebook.metadata.pop("widgets", None)
    raw = ADDRESS.sub("0", nbformat.writes(notebook, version=4))
    for number, model in enumerate(shown):
        raw = raw.replace(model, f"{number:032x}")
    renamed = nbformat.reads(raw, as_version=4)
    return nbformat.writes(renamed, version=4).rstrip("\n") + "\n"  # sorts the new names


def _outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _light(png: str) -> str:
    """A picture with a palette; one that has a palette stays as it is."""
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if picture.mode == "P":
        return png
    kept = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    small = io.BytesIO()
    kept.save(small, "png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def _shown(notebook: NotebookNode, state: dict[str, Any]) -> list[str]:
    """Ids of the models behind the stored views, and of the links between them."""
    views = [
        output["data"][VIEW]["model_id"]
        for output in _outputs(notebook)
        if VIEW in output.get("data", {})
    ]
    order: list[str] = []
    for view in views:
        _visit(view, state, order)
    links = {model: _parts(state[model]) for model in state if model not in order}
    between = [m for m, ends in links.items() if ends and set(ends) <= set(order)]
    return order + sorted(between, key=lambda m: [order.index(end) for end in links[m]])


def _visit(model: str, state: dict[str, Any], order: list[str]) -> None:
    if model in state and model not in order:
        order.append(model)
        for part in _parts(state[model]):
            _visit(part, state, order)


def _parts(model: dict[str, Any]) -> list[str]:
    return MODEL.findall(json.dumps(model, sort_keys=True))
