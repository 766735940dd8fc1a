"""What GRPO gains and what the gain is made of, beside rewards that know no answer and imitation.

    python -m medr1_lib data build --out _output/phantoms
    python -m benchmarks.study.learning --data _output/phantoms --out _output/learning \
        --base data/tiny-qwen2-vl

Every model is trained on questions of the train split and asked the same test questions, about the
real image, a blank one and another of the modality. The arms:

    grpo       the recipe
    format     the same with the format reward alone
    random     the same with the format reward and a random one
    sft        supervised fine-tuning on the letters (no reasons), as many updates
    sft-time   the same for as long as GRPO takes
    rft        the same on the base's own right rollouts (rejection sampling), as many updates
    rft-time   the same for as long as GRPO takes, with the time of sampling

and, if asked for, GRPO with a reward beside form and letter:

    claims     the share of true claims in the thought
    claims-n   the same, each reward normalized before they are summed (GDPO)
    counter    a point for a right letter that is another one about a wrong image

The two arms with the time of GRPO refuse runs that other work on the machine has slowed. With
several bases, the arms beside `grpo` are done on the first alone. Goes on where it was
interrupted. Writes to `--record` after each model: `learning.json` (every model, and the table) and
`answers.parquet` (every answer, with the probabilities of the letters). Models that are in the
record already and not named now stay there, so that arms and seeds can be added.
"""

import argparse
import json
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from tqdm import tqdm

from benchmarks.stamp import run_stamp
from benchmarks.study.counterfactual import CounterfactualReward
from benchmarks.study.rejection import own_replies
from benchmarks.study.runs import score, so_far, train_and_score, write_answers
from benchmarks.study.truth import claims_reward
from medr1_lib.analysis.gains import PARTS, change, read_all
from medr1_lib.analysis.recorded import ANSWERS
from medr1_lib.analysis.reliance import MEASURES, profile, reliance
from medr1_lib.analysis.stats import ITEM, mean_table
from medr1_lib.cli import exit_status
from medr1_lib.data.styles import STYLES
from medr1_lib.errors import InputError
from medr1_lib.evaluation.evaluate import Settings
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import one_writer, write_json
from medr1_lib.model.vision_cache import Features
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.rewards import RewardFunction
from medr1_lib.rl.run import Run, notes_in
from medr1_lib.rl.train import sft_target

ARMS = ("grpo", "format", "random", "sft", "rft", "sft-time", "rft-time")
FURTHER: dict[str, dict[str, str]] = {
    "claims": {},
    "claims-n": {"multi_objective_aggregation": "normalize_then_sum"},
    "counter": {},
}
LABELS = ["base", "arm", "style", "seed"]
RECORD = "learning.json"
KEPT = [*ITEM, "modality", "question_type", "control", "completion", "tokens", "parsed"]
KEPT += ["correct", "format_ok", "letter_probs"]
CONTROLS = ("blank", "shuffled")
TOKENS = 64  # of the longest completion
BUSY = 1.5  # median of a step to its quickest tenth; 1.1 where nothing else runs
CHANGES = "settings in place of the recipe's own, as in '{beta: 0.0}'"


def main(arguments: list[str]) -> int:
    asked = parsed(arguments)
    torch.set_num_threads(asked.threads)
    with one_writer(asked.record):  # a second command would write over what the first one adds
        study, plan = Study(asked), planned(asked)
        for number, (base, arm, style, seed) in enumerate(tqdm(plan, desc="models")):
            told = study.add(base, arm, style, seed)
            print(f"{number + 1}/{len(plan)} {json.dumps(told)}", flush=True)
    print(study.table().round(3).to_string(index=False))
    return 0


def planned(asked: argparse.Namespace) -> list[tuple[Path, str, str, int]]:
    """Base, arm, style and seed of every model to train."""
    return [
        (base, arm, style, seed)
        for seed, base, arm, style in product(asked.seeds, asked.base, asked.arms, asked.styles)
        if arm == "grpo" or base == asked.base[0]
    ]


class Study:
    """The models that are trained and scored so far."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.items = asked, EvalSet(asked.data)
        self.features = {base: Features() for base in asked.base}
        self.runs, self.answers = so_far(asked.record / RECORD, LABELS, self.same())
        for base, style in product(asked.base, asked.styles):
            self.ask_base(base, style)
        # What each question's answer changed, by model.
        self.moved = {key: self.compared(key) for key in self.answers if key[1] != "base"}

    def same(self) -> dict[str, Any]:
        """What all models of a record have in common."""
        names = ("recipe", "sft_recipe", "changes", "steps", "questions")
        return {name: getattr(self.asked, name) for name in names}

    def ask_base(self, base: Path, style: str) -> None:
        """Ask a base, before anything is trained on it."""
        out = self.asked.out / f"{base.name}-base-{style}"
        settings, features = self.settings(style), self.features[base]
        quantize = load_recipe(self.asked.recipe).replace(**self.asked.changes).quantize
        answers = score(base, quantize, self.items, settings, out, features)
        self.keep((base.name, "base", style, -1), answers, {})

    def add(self, base: Path, arm: str, style: str, seed: int) -> dict[str, Any]:
        """Train and score one model, or take it up, and write down everything so far."""
        key = base.name, arm, style, seed
        run, answers = self.trained(base, arm, style, seed)
        took = {"minutes": minutes(run), "threads": notes_in(run.folder)["threads"]}
        told = self.keep(key, answers, {"steps": len(run.log)} | took)
        self.moved[key] = self.compared(key)
        gain = self.moved[key][[*PARTS]].mean().round(4).replace({np.nan: None})
        told["gain"] = {str(part): value for part, value in gain.items()}
        self.record()
        return told

    def compared(self, key: tuple[Any, ...]) -> pd.DataFrame:
        """What a model's training changed in each question, in the parts of the gain and beside."""
        base, _, style, _ = key
        before, after = self.answers[base, "base", style, -1], self.answers[key]
        changes = change(read_all(before), read_all(after))
        for control in CONTROLS:
            there, here = (reliance(of, control).set_index("item") for of in (before, after))
            for name in MEASURES:
                column = name if control == "shuffled" else f"{name} {control}"
                changes[column] = changes["item"].map(here[name] - there[name])
        return changes.assign(**dict(zip(LABELS, key, strict=True)))

    def keep(
        self, key: tuple[Any, ...], answers: pd.DataFrame, told: dict[str, Any]
    ) -> dict[str, Any]:
        """Remember the answers of a model, and what is told of it, which is returned."""
        label = dict(zip(LABELS, key, strict=True))
        self.answers[key] = answers[KEPT].assign(**label)
        self.runs[key] = {"date": time.strftime("%Y-%m-%d")} | label | told | summary(answers)
        return self.runs[key]

    def settings(self, style: str) -> Settings:
        """What the answers of every model in this style depend on."""
        return Settings((style,), CONTROLS, self.asked.questions, max_new_tokens=TOKENS)

    def trained(self, base: Path, arm: str, style: str, seed: int) -> tuple[Run, pd.DataFrame]:
        """The run of one arm, and the answers of its model."""
        asked, method = self.asked, arm.split("-")[0]
        out = asked.out / f"{base.name}-{arm}-{style}-{seed}"
        own = {"style": style, "seed": seed, "model": str(base), "data": str(asked.data)}
        recipe = load_recipe(asked.recipe).replace(max_steps=asked.steps, **asked.changes | own)
        target, spent, extra = sft_target, 0.0, list[RewardFunction]()
        if arm in FURTHER:
            recipe = recipe.replace(**FURTHER[arm])
            extra.append(CounterfactualReward(recipe) if arm == "counter" else claims_reward)
        if method in ("format", "random"):
            recipe = recipe.replace(rules=method)
        if method in ("sft", "rft"):
            if method == "rft":
                replies = own_replies(recipe, asked.out / f"{base.name}-replies-{style}-{seed}")
                own, target, spent = (
                    own | {"data": str(replies.data)},
                    replies.target,
                    replies.seconds,
                )
            else:
                target = letters_only
            steps = asked.steps
            if arm.endswith("-time"):
                grpo, short = (self.trained(base, one, style, seed)[0] for one in ("grpo", method))
                refuse_busy(grpo)
                refuse_busy(short)
                left = usual(grpo) * asked.steps - spent
                steps = max(1, round(left / usual(short)))
            recipe = load_recipe(asked.sft_recipe).replace(max_steps=steps, **own)
        recipe = recipe.replace(save_steps=asked.save_steps)
        scoring = self.items, self.settings(style), target, self.features[base]
        return train_and_score(recipe, out, *scoring, force=True, extra_rewards=extra)

    def table(self) -> pd.DataFrame:
        """The parts of the gain and the change of image reliance of each arm, in each style.

        Every arm has rows about the first base, which all arms share: the interval is over pictures
        and seeds. An arm on several bases has further rows, over pictures and bases; the seeds of
        one base count as one model there, so that each base weighs the same.
        """
        moved = pd.concat(self.moved.values())
        columns = [*PARTS, *(name for name in map(str, moved) if name.split()[0] in MEASURES)]
        rows = []
        for (style, arm), group in moved.groupby(["style", "arm"], sort=False):
            shared = group[group["base"] == self.asked.base[0].name]
            for unit, own in (("seed", shared), ("base", group)):
                if own.empty or (unit == "base" and own["base"].nunique() == 1):
                    continue
                each = own.groupby([unit, "item", "image_id"])[columns].mean().reset_index()
                each = each.rename(columns={unit: "model"})
                models = len(own[LABELS].drop_duplicates())
                head: dict[str, Any] = {"style": style, "arm": arm, "models": models, "over": unit}
                found = mean_table(each, columns).rename_axis("part")
                rows.append(found.reset_index().assign(**head))
        return pd.concat(rows)[["style", "arm", "models", "over", "part", "value", "low", "high"]]

    def record(self) -> None:
        """Write down everything so far."""
        asked = self.asked
        asked.record.mkdir(parents=True, exist_ok=True)
        head: dict[str, Any] = run_stamp(asked.threads) | self.same()
        head["seeds"] = sorted({run["seed"] for run in self.runs.values()} - {-1})
        table = self.table().replace({np.nan: None}).to_dict("records")
        told = {"table": table, "runs": [*self.runs.values()]}
        write_json(asked.record / RECORD, head | told)
        write_answers(self.answers.values(), asked.record / ANSWERS)


def letters_only(style: str, answer: str, question_type: str, scene: str | None) -> str:
    """The letter alone, in the form of the style: its reasoning is empty."""
    return STYLES[style].completion(answer)


def refuse_busy(run: Run) -> None:
    """Refuse a run that other work on the machine has slowed; its time is not its method's."""
    quick, median = run.log["seconds"].quantile([0.1, 0.5])
    if median > BUSY * quick:
        problem = f"a step took {median:.2f} s, the quickest tenth {quick:.2f} s or less"
        raise InputError(run.folder, problem, "delete it, and train it again on an idle machine")


def usual(run: Run) -> float:
    """The median seconds of a step, which other work on the machine moves less than the mean."""
    return float(run.log["seconds"].median())


def minutes(run: Run) -> float:
    return round(usual(run) * len(run.log) / 60, 2)


def summary(answers: pd.DataFrame) -> dict[str, Any]:
    """How the model was read: form, readers, letters and image reliance."""
    real = answers[answers["control"] == "none"]
    return {"n": len(real), "form": float(real["format_ok"].mean())} | profile(answers)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True)
    add("--out", type=Path, required=True, help="a folder for each model goes here")
    add("--base", type=Path, action="append", required=True, help="give it once for each base")
    add("--record", type=Path, default=Path("data/recorded/learning"))
    add("--arms", nargs="+", choices=(*ARMS, *FURTHER), default=list(ARMS))
    add("--styles", nargs="+", choices=STYLES, default=list(STYLES))
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--questions", type=int, default=1280, help="of the test split, drawn at random")
    add("--steps", type=int, default=150)
    add("--recipe", default="course", help="of GRPO: a preset or a YAML file")
    add("--sft-recipe", default="course-sft")
    add("--changes", type=yaml.safe_load, default={}, metavar="YAML", help=CHANGES)
    add("--save-steps", type=int, default=10)
    add("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    if len({base.name for base in asked.base}) < len(asked.base):
        parser.error("two bases are folders of one name")
    return asked


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
