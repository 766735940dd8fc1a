"""The workflows call what there is; the service that runs them is not at hand here."""

import json
import re
from pathlib import Path

import pytest
import yaml

from notebooks.tools import kernel

WORKFLOWS = sorted((kernel.ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (kernel.ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.M))


def steps(path: Path) -> list[dict]:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_sound_and_calls_targets_that_exist(path):
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert loaded["name"] == path.stem
    assert loaded[True], "when it runs"  # YAML 1.1 reads `on` as a truth value
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used[0].startswith("actions/checkout@")
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", name) for name in used)
    commands = "\n".join(step.get("run", "") for step in steps(path))
    named = set(re.findall(r"\bmake ([a-z-]+)", commands))
    assert named <= TARGETS


def test_the_three_pythons_are_tested_and_the_whole_on_the_first():
    (path,) = (path for path in WORKFLOWS if path.stem == "tests")
    job = yaml.safe_load(path.read_text())["jobs"]["test"]
    ran = {row["python"]: row["target"] for row in job["strategy"]["matrix"]["include"]}
    assert ran == {"3.11": "test", "3.12": "check", "3.13": "check"}
    assert set(ran.values()) <= TARGETS


def test_the_weekly_run_opens_the_upper_bounds():
    """What its sed does, done here to the ranges of pyproject.toml."""
    (path,) = (path for path in WORKFLOWS if path.stem == "newest")
    script = next(s["run"] for s in steps(path) if "newest releases" in s.get("name", ""))
    pattern = re.search(r"s/(.*?)/\"/'", script)[1]
    project = (kernel.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    bounded = re.findall(r'^    "[\w-]+>=[\d.]+,<[\d.]+",', project, re.M)
    assert len(bounded) > 20
    assert [line for line in bounded if re.sub(pattern, '"', line).count("<")] == []


def test_a_release_carries_the_site_and_the_class_zip():
    (path,) = (path for path in WORKFLOWS if path.stem == "release")
    last = steps(path)[-1]["run"]
    assert "medr1-class.zip medr1-site.zip" in last


def test_the_development_container_makes_the_same_environment():
    found = json.loads((kernel.ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert found["postCreateCommand"] == "make setup"
    assert found["image"].endswith("python:3.11")
