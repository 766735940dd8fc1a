"""The numbers on the data card are those that were recorded."""

import json
import re
from pathlib import Path

import pytest

from medr1_lib.data import audit
from medr1_lib.data.source import opened

ROOT = Path(__file__).parents[1]

CARD = (ROOT / "data" / "README.md").read_text()
RECORDED = ROOT / "data" / "recorded"
PHANTOMS = json.loads((RECORDED / "phantoms.json").read_text())
AUDIT = json.loads((RECORDED / "omnimedvqa_audit.json").read_text())
SPLITS = ROOT.parent / "shared" / "real" / "omnimedvqa_splits"


@pytest.mark.parametrize("modality", PHANTOMS["glance"])
def test_the_table_of_glances_is_the_recorded_one(modality):
    shown = re.search(rf"^\| {modality} \|(.*)\|$", CARD, re.MULTILINE)[1]
    assert [float(cell) for cell in shown.split("|")] == [
        round(100 * share, 1) for share in PHANTOMS["glance"][modality].values()
    ]


def test_a_glance_does_not_tell_the_finding_in_the_record():
    assert max(glance["finding"] for glance in PHANTOMS["glance"].values()) < 0.40


def test_the_speed_and_the_machine_are_the_recorded_ones():
    speeds = PHANTOMS["images_per_second"].values()
    assert f"{min(speeds)} (dermoscopy) to {max(speeds)} (OCT)" in CARD
    assert PHANTOMS["hardware"] in CARD


def test_the_range_of_blind_answers_is_the_recorded_one():
    ratios = {
        path: found["baselines"]["option_ratio"]
        for path, found in AUDIT["files"].items()
        if "/modality/test/" in path
    }
    assert f"{100 * min(ratios.values()):.0f} % (ultrasound)" in CARD
    assert f"{100 * max(ratios.values()):.0f} % (OCT)" in CARD
    assert min(ratios, key=ratios.__getitem__).endswith("ultrasound_test.json")


@pytest.mark.skipif(not SPLITS.is_dir(), reason="the released test splits are not at hand")
def test_the_recorded_audit_is_what_the_command_finds():
    with opened(SPLITS) as source:
        assert audit.of_splits(source) == AUDIT
