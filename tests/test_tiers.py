"""Tiers: the right one or a clear error, a banner to compare, no torch where none is due."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

import medr1_lib
from medr1_lib.course import tiers
from medr1_lib.errors import InputError


def test_the_laptop_is_the_default():
    assert tiers.current() is tiers.TIERS["laptop"]


def test_the_variable_chooses(monkeypatch):
    monkeypatch.setenv("MEDR1_TIER", "replay")
    assert tiers.current().name == "replay"


@pytest.mark.parametrize("name", ["Laptop", "", "cpu"])
def test_a_wrong_name_is_an_error_that_lists_the_right_ones(monkeypatch, name):
    monkeypatch.setenv("MEDR1_TIER", name)
    with pytest.raises(InputError, match=r"MEDR1_TIER: no tier .*replay, laptop, gpu"):
        tiers.start(1)


def test_a_missing_gpu_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setenv("MEDR1_TIER", "gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match=r"needs an NVIDIA GPU.*MEDR1_TIER=laptop"):
        tiers.current()


def test_a_gpu_is_taken(monkeypatch):
    monkeypatch.setenv("MEDR1_TIER", "gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert tiers.current().name == "gpu"


@pytest.mark.parametrize(("visible", "first"), [(None, "0"), ("2,3", "2"), ("", "")])
def test_of_several_gpus_the_first_is_taken(monkeypatch, visible, first):
    monkeypatch.setenv("MEDR1_TIER", "gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(visible))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tiers.current()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == first


@pytest.mark.parametrize("name", ["replay", "laptop"])
def test_the_small_tiers_ask_the_tiny_model(monkeypatch, name):
    monkeypatch.delenv("MEDR1_MODEL", raising=False)
    tier = tiers.TIERS[name]
    assert tier.model_path == Path(__file__).parents[1] / "data" / "tiny-qwen2-vl"
    assert tier.quantize is None


def test_the_gpu_tier_has_to_be_told_its_model(monkeypatch):
    monkeypatch.delenv("MEDR1_MODEL", raising=False)
    with pytest.raises(InputError, match=r"MEDR1_MODEL: the gpu tier needs.*Qwen2-VL-2B-Instruct"):
        _ = tiers.TIERS["gpu"].model_path


@pytest.mark.parametrize("name", tiers.TIERS)
def test_every_tier_asks_the_model_that_is_named(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDR1_MODEL", "mine")
    assert tiers.TIERS[name].model_path == tmp_path.resolve() / "mine"


def test_start_prints_tier_cost_and_caution_and_sets_the_threads(monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    tier = tiers.start(1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("Chapter 01 at the laptop tier: ")
    assert lines[1].startswith("Running it all ")
    assert "not for clinical use" in lines[2]
    assert os.environ["OMP_NUM_THREADS"] == str(tier.threads) == "1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "", "a GPU that is there is left alone"


def test_a_cell_that_is_stopped_says_so_in_two_lines_and_fails(monkeypatch, capsys):
    shell = InteractiveShell(colors="nocolor")
    monkeypatch.setattr(tiers.IPython, "get_ipython", lambda: shell)
    tiers.start(1)
    capsys.readouterr()
    found = shell.run_cell("raise KeyboardInterrupt")
    said = capsys.readouterr().out.strip().splitlines()
    assert isinstance(found.error_in_exec, KeyboardInterrupt)  # or Run All would go on
    assert (said[0], said[-1]) == (
        "An exception has occurred, use %tb to see the full traceback.",
        "KeyboardInterrupt: the cell was stopped; to go on, run it again",
    )
    assert sum(map(bool, said)) == 2
    shell.run_cell("1 / 0")
    assert "Traceback" in capsys.readouterr().out  # of an error the reader wants to see where


@pytest.mark.parametrize("variable", ["", "1"])
def test_bars_are_hidden_where_that_is_asked_for(variable):
    code = (
        "from medr1_lib.course import tiers; from tqdm.notebook import tqdm_notebook;"
        "assert not tqdm_notebook(total=1, display=False).disable, 'it would not need us';"
        f"tiers.start(0); assert tqdm_notebook(total=1, display=False).disable is {bool(variable)}"
    )
    environment = os.environ | {"TQDM_DISABLE": variable}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_start_reaches_a_torch_that_is_loaded_already():
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        tiers.start(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_small_tiers_do_not_load_torch():
    code = (
        "import sys; from medr1_lib.course import checks, tiers, widgets; tiers.start(0);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_material_is_taken_from_the_folder_that_is_named(monkeypatch, tmp_path):
    assert (tiers.material("paper") / "headline.json").is_file()
    monkeypatch.setenv("MEDR1_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"data/paper: .* not there; set MEDR1_HOME"):
        tiers.material("paper")
    (tmp_path / "data" / "paper").mkdir(parents=True)
    assert tiers.material("paper") == tmp_path.resolve() / "data" / "paper"


def test_a_library_alone_says_that_the_material_is_missing(monkeypatch, tmp_path):
    monkeypatch.delenv("MEDR1_HOME", raising=False)
    monkeypatch.setattr(tiers, "PACKAGE", tmp_path / "site-packages" / "medr1_lib")
    with pytest.raises(InputError, match=r"reward_bench.json: .*set MEDR1_HOME to the folder"):
        tiers.material("reward_bench.json")


def test_every_package_is_in_the_wheel():
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    settings = project["tool"]["setuptools"]
    assert project["project"]["version"] == medr1_lib.__version__
    folders = {path.parent.relative_to(root) for path in root.glob("medr1_lib/**/__init__.py")}
    packages = {".".join(folder.parts) for folder in folders} | {"medr1_lib.material"}
    assert set(settings["packages"]) == packages


def test_own_data_are_named_by_a_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("MEDR1_DATA", raising=False)
    assert tiers.own_data() is None
    monkeypatch.setenv("MEDR1_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"MEDR1_DATA: .* is no data set; set it to the folder"):
        tiers.own_data()
    (tmp_path / "dataset_dict.json").write_text("{}")
    assert tiers.own_data() == tmp_path.resolve()


def test_the_pages_say_which_chapter_takes_own_data_and_what_the_tiny_model_knows():
    root = Path(__file__).parents[1]
    chapters = sorted(root.glob("notebooks/_src/[0-9]*.py"))
    (takes,) = [path.name[:2] for path in chapters if "own_data()" in path.read_text("utf-8")]
    assert tiers.GPU.data == f"PhantomMedVQA (yours in {takes})"
    page = " ".join((root / "book/troubleshooting.md").read_text("utf-8").split())
    assert f"`MEDR1_DATA` changes chapter {takes} only" in page
    assert f"[Chapter {takes}](" in (root / "README.md").read_text("utf-8")
    read = json.loads((root / "data/tiny-qwen2-vl/tokenizer.json").read_text("utf-8"))
    known = {*read["model"]["vocab"].values(), *(one["id"] for one in read["added_tokens"])}
    assert f"the tiny model knows drawings and {len(known)} tokens" in page
