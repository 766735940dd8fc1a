"""Supervised fine-tuning through TRL's own trainer, on completions that are true."""

from collections.abc import Callable

import datasets

from medr1_lib.data.phantom_vqa import ATTRIBUTES
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.rationale import rationale
from medr1_lib.data.styles import STYLES
from medr1_lib.errors import InputError
from medr1_lib.rl.examples import Rows, questions, reader
from medr1_lib.rl.recipe import Recipe

# style, right letter, question type and scene (JSON, if known) -> what the model is taught to reply
Target = Callable[[str, str, str, str | None], str]


def target(style: str, answer: str, question_type: str, scene: str | None) -> str:
    """The completion that a model is taught.

    Args:
        style: Where the reasoning stands in it.
        answer: The right letter.
        question_type: What the question is about.
        scene: What the image shows, as JSON; only a style without reasoning can do without it.

    Example:
        >>> target("no_think", "B", "Disease Diagnosis", None)
        '<answer>B</answer>'
    """
    reasons = rationale(Scene.from_json(scene), ATTRIBUTES[question_type]) if scene else ""
    return STYLES[style].completion(answer, reasons)


def demonstrations(recipe: Recipe, target: Target = target) -> datasets.Dataset:
    """Rows with `prompt`, `image` and `completion`, for `SFTTrainer`.

    By default a completion holds the letter and, in a style with reasoning, what the phantom truly
    shows.

    Raises:
        InputError: As `examples.questions`; or if the style needs rationales and nobody knows them.
    """
    asked, table = recipe.style, questions(recipe)
    if "<think>" in STYLES[asked].form and None in table["scene"]:
        problem = f"nobody knows what its images show, so {recipe.style} has no true rationale"
        raise InputError(recipe.data, problem, "use --style no_think, or phantoms")

    def completions(rows: Rows) -> Rows:
        known = zip(rows["answer"], rows["question_type"], rows["scene"], strict=True)
        texts = (target(asked, *row) for row in known)
        return {"completion": [[{"role": "assistant", "content": text}] for text in texts]}

    return table.with_transform(reader(recipe, completions))
