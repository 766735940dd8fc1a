"""The doctor: what it finds here, and that each thing that can be wrong is told."""

import json
import sys
from importlib import metadata
from types import SimpleNamespace

import jupyter_client.kernelspec
import pytest
import torch

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
    assert {"Python", "packages", "GPU", "torch and bitsandbytes at work"} <= names


def test_the_status_says_that_the_laptop_tier_cannot_run(monkeypatch, capsys):
    bad = doctor.Check("memory", "FAIL", "1 GiB", ("laptop", "gpu"))
    monkeypatch.setattr(doctor, "examine", lambda: [bad])
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.endswith("can run: replay\n")


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 11, 0), "OK"), ((3, 13, 5), "OK"), ((3, 10, 9), "FAIL"), ((3, 14, 1), "FAIL")],
)
def test_python(version, status):
    item = doctor.machine(version)[0]
    assert (item.status, bool(item.stops)) == (status, status == "FAIL")


def test_packages_are_told_with_their_versions():
    item = doctor.packages()
    assert (item.status, item.stops) == ("OK", ())
    assert f"torch {metadata.version('torch')}" in item.detail


def test_a_package_that_is_missing_or_out_of_range_is_told(monkeypatch):
    said = SimpleNamespace(returncode=1, stdout="medr1 0.2 requires trl, which is\n", stderr="")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: said)
    item = doctor.packages()
    assert (item.status, item.stops) == ("FAIL", doctor.EVERY)
    assert item.detail == "medr1 0.2 requires trl, which is; run `make setup`"


def test_too_little_memory_or_disk_leaves_replay(monkeypatch):
    small = SimpleNamespace(total=2 * GIB, free=GIB)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: small)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: small)
    items = doctor.machine((3, 11, 7))[1:]
    assert [item.status for item in items] == ["FAIL", "FAIL"]
    assert doctor.runnable(items) == ["replay"]


def test_a_folder_that_cannot_be_written_stops_all_where_no_other_can(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    item = doctor.writable(tmp_path / "file" / "folder")
    assert (item.status, item.stops) == ("WARN", ())
    assert "choose another folder with --out" in item.detail
    monkeypatch.setattr(doctor.tempfile, "tempdir", str(tmp_path / "file"))
    item = doctor.writable(tmp_path / "file" / "folder")
    assert item.status == "FAIL"
    assert doctor.runnable([item]) == []


@pytest.mark.parametrize(
    ("own", "file"),
    [
        ("0::/\n", "memory.max"),
        ("0::/jobs/7\n", "jobs/7/memory.max"),
        ("0::/jobs/7\n", "jobs/memory.max"),
        ("12:memory:/x\n0::/\n", "memory/memory.limit_in_bytes"),
        (None, "memory.max"),
    ],
)
@pytest.mark.parametrize(("limit", "expected"), [("1048576000", 1048576000), ("max", 64 * GIB)])
def test_a_container_s_limit_is_its_memory(monkeypatch, tmp_path, own, file, limit, expected):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(f"{limit}\n")
    if own:
        (tmp_path / "own").write_text(own)
    monkeypatch.setattr(doctor, "GROUPS", tmp_path)
    monkeypatch.setattr(doctor, "OWN_GROUP", tmp_path / "own")
    machine = SimpleNamespace(total=64 * GIB)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: machine)
    assert doctor._memory() == expected
    status = doctor.machine((3, 11, 7))[1].status
    assert status == ("OK" if limit == "max" else "FAIL")


@pytest.mark.parametrize(
    ("program", "status"),
    [(sys.executable, "OK"), ("python", "OK"), ("/usr/bin/other-python", "FAIL")],
)
def test_the_kernel_has_to_be_this_python(monkeypatch, program, status):
    spec = SimpleNamespace(argv=[program])
    manager = jupyter_client.kernelspec.KernelSpecManager
    monkeypatch.setattr(manager, "get_kernel_spec", lambda self, name: spec)
    assert doctor.kernel().status == status


def seen(monkeypatch, memory=80 * GIB, power=(9, 0), count=1):
    """What the doctor says of such a card."""
    card = SimpleNamespace(name="A card", total_memory=memory, major=power[0], minor=power[1])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    return doctor.gpu()


def other_build(name):
    """The command for it; of the number alone, pip would say that it is installed already."""
    number = torch.__version__.partition("+")[0]
    index = f"https://download.pytorch.org/whl/{name}"
    return f"`pip install torch=={number}+{name} --index-url {index}`"


@pytest.mark.parametrize(
    ("power", "cuda", "told", "stops"),
    [
        ((7, 0), "13.0", f"has no kernels for it, {other_build('cu126')} has", ("gpu",)),
        ((7, 0), "12.6", "--recipe gpu-t4", ()),
        ((7, 5), "13.0", "--recipe gpu-t4", ()),
        ((8, 6), "13.0", "A card", ()),
    ],
)
def test_a_card_that_is_too_old_is_told(monkeypatch, power, cuda, told, stops):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    item = seen(monkeypatch, power=power)
    assert told in item.detail
    assert item.stops == stops
    assert "first of 2" in seen(monkeypatch, count=2).detail


@pytest.mark.parametrize(
    ("listed", "cuda", "visible", "told"),
    [
        ("T4, 550.54", "13.0", None, f"580; update the driver; or {other_build('cu126')}, for"),
        ("T4, 550.54", None, None, f"CPUs; update the driver; or {other_build('cu126')}, for"),
        ("A card, 580.65", None, None, f"for CPUs; {other_build('cu130')}"),
        ("A card, 580.65", "13.0", None, 'torch.cuda.init()"` says why'),
        ("No devices were found", "13.0", None, "none that torch can use"),
        ("T4, 550.54", "13.0", "", "hidden by CUDA_VISIBLE_DEVICES"),
    ],
)
def test_what_keeps_torch_from_a_gpu_is_told(monkeypatch, tmp_path, listed, cuda, visible, told):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho {listed}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    item = doctor.gpu()
    assert (item.status, item.stops) == ("WARN", ("gpu",))
    assert told in item.detail


@pytest.mark.parametrize(
    ("memory", "status"), [(80 * GIB, "OK"), (15 * GIB, "OK"), (8 * GIB, "WARN")]
)
def test_a_gpu_is_named_and_measured(monkeypatch, memory, status):
    item = seen(monkeypatch, memory)
    assert item.status == status
    assert f"A card, {memory // GIB} GiB" in item.detail
    assert ("gpu" in doctor.runnable([item])) == (status == "OK")


def test_a_torch_that_cannot_be_loaded_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    items = [doctor.at_work(), doctor.gpu()]
    assert [item.status for item in items] == ["FAIL", "WARN"]
    assert doctor.runnable(items) == ["replay"]


def test_a_checkout_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "distributions", list)
    item = doctor.packages()
    assert item.status == "FAIL"
    assert item.detail.startswith("not installed: medr1, torch")
    assert item.detail.endswith("; run `make setup`")


@pytest.mark.parametrize("lacking", [(), ("torch", "trl")])
def test_without_pip_as_in_an_environment_of_uv_only_what_is_missing_is_told(monkeypatch, lacking):
    there = [one for one in metadata.distributions() if one.name.lower() not in lacking]
    monkeypatch.setattr(doctor.metadata, "distributions", lambda: there)
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: pytest.fail("there is no pip"))
    item = doctor.packages()
    assert item.status == ("FAIL" if lacking else "OK")
    assert item.detail.startswith("not installed: torch, trl;" if lacking else "torch ")
