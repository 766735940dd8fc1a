"""Small stand-ins for OmniMedVQA and Med-R1's splits, and where the real ones may lie."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason="the real test data is not beside the repository (../shared/real)"
)
XRAY = "Splits/modality/test/X-Ray_test.json"


def qa_record(number=0, **changes):
    record = {
        "dataset": "Toy",
        "question_id": f"Toy_{number:04}",
        "question_type": "Anatomy Identification",
        "question": "Which part of the body is this?",
        "gt_answer": "Chest",
        "image_path": f"Images/Toy/{number}.png",
        "option_A": "Hand",
        "option_B": "Chest",
        "option_C": "Skull",
        "option_D": "Knee",
        "modality_type": "X-Ray",
    }
    record.update(changes)
    return {key: value for key, value in record.items() if value is not None}


def split_record(number=0, **changes):
    record = {
        "image": f"Images/Toy/{number}.png",
        "problem": "Which part of the body is this? A)Hand, B)Chest, C)Skull, D)Knee",
        "solution": "<answer> B </answer>",
    }
    record.update(changes)
    return {key: value for key, value in record.items() if value is not ...}


def picture(seed=0, size=(40, 30)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_images(root, count):
    (root / "Images/Toy").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture(number).save(root / f"Images/Toy/{number}.png")


def write_qa(root, records):
    write_json(root / "QA_information/Open-access/Toy.json", records)
    write_images(root, len(records))
    return root


def write_splits(root, records, path=XRAY):
    write_json(root / path, records)
    return root
