"""The doctor: what it finds here, and that each thing that can be wrong is told."""

import json
import sys
from types import SimpleNamespace

import jupyter_client.kernelspec
import pytest
import torch
from packaging.requirements import Requirement

from medr1_lib.cli import main
from medr1_lib.course import doctor
from medr1_lib.course.doctor import GIB


def test_this_machine_can_run_the_course(tmp_path, capsys):
    report = tmp_path / "report.json"
    assert main(["doctor", "--json", str(report)]) == 0
    told = capsys.readouterr().out
    found = json.loads(report.read_text())
    assert {"replay", "laptop"} <= set(found["tiers"])
    assert f"can run: {', '.join(found['tiers'])}" in told
    for item in found["items"]:
        assert f"{item['status']:<4}  {item['name']}: {item['detail']}" in told
    names = {item["name"] for item in found["items"]}
    assert {"Python", "torch", "trl", "GPU", "torch at work", "bitsandbytes at work"} <= names
    assert not {"pytest", "ruff"} & names, "developers' tools are not the course's"


def test_the_status_says_that_the_laptop_tier_cannot_run(monkeypatch, capsys):
    bad = doctor.Item("memory", "FAIL", "1 GiB", ("laptop", "gpu"))
    monkeypatch.setattr(doctor, "examine", lambda: [bad])
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.endswith("can run: replay\n")


@pytest.mark.parametrize(
    ("version", "status"), [((3, 11, 0), "OK"), ((3, 10, 9), "FAIL"), ((3, 12, 1), "FAIL")]
)
def test_python(version, status):
    item = doctor.python(version)
    assert (item.status, bool(item.stops)) == (status, status == "FAIL")


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        ("2.5.0", "OK", "2.5.0"),
        ("2.5.0+cpu", "OK", "2.5.0+cpu"),
        ("2.6.0", "WARN", "tested with 2.5.0"),
        ("3.0.0", "FAIL", "run `make setup`"),
    ],
)
def test_packages_are_judged_by_lock_and_range(found, status, words):
    item = doctor.package(Requirement("demo>=2,<3"), found, {"demo": "2.5.0"})
    assert item.status == status
    assert words in item.detail


def test_a_package_that_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["no-such-package>=1"])
    (item,) = doctor.packages()
    assert (item.status, item.stops) == ("FAIL", doctor.EVERY)


def test_too_little_memory_or_disk_leaves_replay(monkeypatch):
    small = SimpleNamespace(total=2 * GIB, free=GIB)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: small)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: small)
    items = [doctor.memory(), doctor.disk()]
    assert [item.status for item in items] == ["FAIL", "FAIL"]
    assert doctor.runnable(items) == ["replay"]


def test_a_folder_that_cannot_be_written_stops_all(tmp_path):
    (tmp_path / "file").write_text("")
    item = doctor.writable(tmp_path / "file" / "folder")
    assert item.status == "FAIL"
    assert doctor.runnable([item]) == []


@pytest.mark.parametrize(
    ("program", "status"),
    [(sys.executable, "OK"), ("python", "OK"), ("/usr/bin/other-python", "FAIL")],
)
def test_the_kernel_has_to_be_this_python(monkeypatch, program, status):
    spec = SimpleNamespace(argv=[program])
    manager = jupyter_client.kernelspec.KernelSpecManager
    monkeypatch.setattr(manager, "get_kernel_spec", lambda self, name: spec)
    assert doctor.kernel().status == status


def test_widgets_without_jupyterlab_s_part_are_a_warning(monkeypatch):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda name: [])
    item = doctor.widgets()
    assert (item.status, item.stops) == ("WARN", ())


@pytest.mark.parametrize(
    ("memory", "status"), [(80 * GIB, "OK"), (15 * GIB, "OK"), (8 * GIB, "WARN")]
)
def test_a_gpu_is_named_and_measured(monkeypatch, memory, status):
    card = SimpleNamespace(name="A card", total_memory=memory)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    item = doctor.gpu()
    assert item.status == status
    assert f"A card, {memory // GIB} GiB" in item.detail
    assert ("gpu" in doctor.runnable([item])) == (status == "OK")


def test_a_torch_that_cannot_be_loaded_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    items = [doctor.torch_works(), doctor.nf4(), doctor.gpu()]
    assert [item.status for item in items] == ["FAIL", "FAIL", "WARN"]
    assert doctor.runnable(items) == ["replay"]


def test_a_checkout_that_is_not_installed_is_told(monkeypatch):
    def missing(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", missing)
    assert [item.status for item in doctor.packages()] == ["FAIL"]
