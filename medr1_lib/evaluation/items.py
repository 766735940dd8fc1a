"""What a model is asked: each question in each style, with its image or a control's."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from PIL import Image

from medr1_lib.data import dataset
from medr1_lib.data.question import CIRCULAR, Question, turns

CHUNK = 512  # items; their features fit into the memory of `VisionCache`
GREY = (128, 128, 128)  # of the control `blank`


def shuffled(image_ids: Sequence[str], modalities: Sequence[str], seed: int) -> list[int]:
    """For each item, one whose image stands in for its own: another image of the same modality.

    The images of a modality are put in a random circle and each takes the place of the next, so
    that every image is used and none stays where it was, unless it is `lone`. Built in chapter 02.

    Example:
        >>> shuffled(["a", "b", "b"], ["CT", "CT", "CT"], seed=0)
        [1, 0, 0]
    """
    first: dict[str, dict[str, int]] = defaultdict(dict)  # modality, image: an item that shows it
    for item, (image, modality) in enumerate(zip(image_ids, modalities, strict=True)):
        first[modality].setdefault(image, item)
    rng = np.random.default_rng(seed)
    stand_in = {}
    for modality in sorted(first):
        images = sorted(first[modality])
        circle = [images[i] for i in rng.permutation(len(images))]
        for image, other in zip(circle, circle[1:] + circle[:1], strict=True):
            stand_in[modality, image] = first[modality][other]
    return [stand_in[key] for key in zip(modalities, image_ids, strict=True)]


def lone(questions: Sequence[Question]) -> set[str]:
    """The modalities with one image only, of which the control `shuffled` cannot ask."""
    images = {(one.modality, one.image_id) for one in questions}
    return {name for name, n in Counter(name for name, _ in images).items() if n == 1}


@dataclass(frozen=True)
class EvalPrompt:
    """One thing to ask: a question in a reasoning style, with its own image or another."""

    item: int  # the question's place in the split
    shown: int | None  # the item whose image is shown; None for no image at all
    style: str
    control: str  # "none", one of `question.CONTROLS`, or "rotated 1" and so on


class EvalSet:
    """One split of a data set made by `data build` or `data import`.

    `questions` are in the order of the file; `sha256` changes whenever one or an image does.
    """

    def __init__(self, root: Path, split: str = "test") -> None:
        table = dataset.read_split(root, split)
        self._where, rows = f"{root}, {split}", table.remove_columns("image").to_list()
        # Once: of a `Dataset` for every record, the destructors could swallow a Ctrl-C.
        column = table.with_format("arrow")["image"][:]
        self._images = pc.struct_field(column, "bytes")
        self.questions = [Question.from_record(row) for row in rows]
        digest = hashlib.sha256(json.dumps(rows).encode())
        self._lengths = []  # roughly the tokens of prompts: 28 x 28 pixels or four characters each
        for item, asked in enumerate(self.questions):
            digest.update(self._images[item].as_py())
            width, height = self._open(item, pixels=False).size
            letters = sum(map(len, (asked.question, *asked.options)))
            self._lengths.append(width * height / 28**2 + letters / 4)
        self.sha256 = digest.hexdigest()

    def prompts(
        self, styles: tuple[str, ...], controls: tuple[str, ...], limit: int | None, seed: int
    ) -> list[EvalPrompt]:
        """Everything to ask, so ordered that neighbours have texts of similar length.

        All that is asked of 512 items comes before the next 512, so that few images are remembered.
        `controls` are asked beside the real image, `circular` in every other order of the options.
        `seed` is that of a draw of `limit` questions and of the shuffled control.
        """
        chosen = list(range(len(self.questions)))
        if limit is not None and limit < len(chosen):
            rng = np.random.default_rng(seed)
            chosen = sorted(rng.choice(len(chosen), limit, replace=False).tolist())
        shown: dict[str, Sequence[int | None]] = {"text": [None] * len(self.questions)}
        if "shuffled" in controls:
            names = [question.image_id for question in self.questions]
            modalities = [question.modality for question in self.questions]
            shown["shuffled"] = shuffled(names, modalities, seed)
        plain, turned = [one for one in controls if one != CIRCULAR], CIRCULAR in controls
        alone = lone(self.questions)
        prompts = [
            EvalPrompt(item, shown[control][item] if control in shown else item, style, control)
            for item in chosen
            for style in styles
            for control in ("none", *plain, *(self.questions[item].rotations if turned else ()))
            if control != "shuffled" or self.questions[item].modality not in alone
        ]
        by_length = sorted(chosen, key=self._lengths.__getitem__)
        rank = {item: place for place, item in enumerate(by_length)}
        return sorted(
            prompts,
            key=lambda one: (rank[one.item] // CHUNK, one.shown is None, one.style, rank[one.item]),
        )

    def question(self, prompt: EvalPrompt) -> Question:
        """What the model is asked, its options turned if the control says so."""
        return self.questions[prompt.item].rotated(turns(prompt.control))

    def image(self, prompt: EvalPrompt) -> Image.Image | None:
        """What the model is shown."""
        if prompt.shown is None:
            return None
        if prompt.control == "blank":
            return Image.new("RGB", self._open(prompt.shown, pixels=False).size, GREY)
        return self._open(prompt.shown)

    def _open(self, item: int, pixels: bool = True) -> Image.Image:
        where = f"{self._where} record {item} ({self.questions[item].image_id})"
        return dataset.open_image(self._images[item].as_py(), where, pixels)


def batches(prompts: list[EvalPrompt], size: int) -> Iterator[list[EvalPrompt]]:
    """Split the prompts into lists of `size`."""
    for start in range(0, len(prompts), size):
        yield prompts[start : start + size]
