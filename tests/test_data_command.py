import json

import pytest
from layouts import picture, qa_record, split_record, write_qa, write_splits

from medr1_lib.cli import OPTIONS, TYPES, main
from medr1_lib.data import dataset, images, phantom_vqa
from medr1_lib.data.question import CIRCULAR, CONTROLS, DOMAINS
from medr1_lib.data.styles import ALL_STYLES, STYLES


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["data", "--help"])
    assert "{build,import,export,audit}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["build"],
        ["import", "--out", "x"],
        ["import", "--root", "x", "--out", "y", "--by", "organ"],
        ["import", "--root", "x", "--out", "y", "--size", "0"],
        ["build", "--out", "x", "--per-cell", "-1"],
        ["audit"],
        ["audit", "x", "--splits", "y"],
    ],
)
def test_wrong_arguments_show_the_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["data", *arguments])
    assert "usage: " in capsys.readouterr().err


def test_import_ends_with_a_table_and_writes_the_same_as_json(tmp_path, capsys):
    records = [qa_record(n) for n in range(5)] + [qa_record(5, gt_answer="Foot")]
    write_qa(tmp_path / "data", records)
    (tmp_path / "data/Images/Toy/3.png").write_bytes(b"")
    out, report = tmp_path / "out", tmp_path / "report.json"
    command = ["data", "import", "--root", str(tmp_path / "data"), "--out", str(out)]
    assert main([*command, "--json", str(report)]) == 1
    printed, written = capsys.readouterr(), json.loads(report.read_text())
    assert written["records"] == {"train": 3, "test": 1}
    assert written["images"] == 4
    assert f"{out}: 3 train, 1 test" in printed.out
    assert "records skipped (mend them and repeat the command with --again): 2\n" in printed.out
    for entry, what in zip(written["skipped"], ("'Foot'", "zero bytes"), strict=True):
        assert f"{entry['where']}: {entry['problem']}; {entry['remedy']}" in printed.out
        assert what in entry["problem"]
    assert [entry["where"][-8:] for entry in written["skipped"]] == ["record 6", "record 4"]
    assert dataset.read(out).num_rows == written["records"]


def test_a_long_list_of_skipped_records_is_cut_on_the_screen_only(tmp_path, capsys):
    write_qa(tmp_path / "data", [qa_record(0)] + [qa_record(n, question="") for n in range(1, 31)])
    out = tmp_path / "out"
    assert main(["data", "import", "--root", str(tmp_path / "data"), "--out", str(out)]) == 1
    assert "... and 10 more, all of them in card.json" in capsys.readouterr().out
    assert len(json.loads((out / dataset.CARD).read_text())["skipped"]) == 30


def test_audit_prints_what_it_writes(tmp_path, capsys):
    write_splits(tmp_path, [split_record(n) for n in range(6)])
    report = tmp_path / "audit.json"
    assert main(["data", "audit", "--splits", str(tmp_path), "--json", str(report)]) == 0
    written = json.loads(report.read_text())
    (found,) = written["files"].values()
    assert written["records"] == found["records"] == 6
    assert set(found["baselines"]) == {
        "uniform",
        "letter_majority",
        "most_frequent_text",
        "option_ratio",
    }
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("Splits/"))
    numbers = line.removeprefix("Splits/modality/test/X-Ray_test.json").split()
    assert numbers[:5] == ["6", "25.0", "100.0", "100.0", "100.0"]
    assert numbers[5:7] == ["-", "-"]


def test_build_passes_its_options_on_and_reports_the_counts(tmp_path, monkeypatch, capsys):
    asked = {}

    def build(out, **arguments):
        asked.update(arguments)
        return type("Built", (), {"num_rows": {"train": 4, "test": 1}})

    monkeypatch.setattr(phantom_vqa, "build", build)
    command = ["data", "build", "--out", str(tmp_path / "out"), "--seed", "3"]
    assert main([*command, "--per-cell", "32", "--leaky"]) == 0
    assert asked == {"seed": 3, "per_cell": 32, "leaky": 0.95, "domain": "medical"}
    assert "4 train, 1 test" in capsys.readouterr().out
    assert main([*command, "--leaky", "0.5"]) == 0
    assert asked == {"seed": 3, "per_cell": 64, "leaky": 0.5, "domain": "medical"}


def test_what_was_asked_for_is_on_the_card(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_vqa, "draw", lambda scene: picture(size=(2, 2)))
    command = ["data", "build", "--out", str(tmp_path / "x"), "--per-cell", "1"]
    assert main([*command, "--domain", "general"]) == 0
    card = json.loads((tmp_path / "x" / dataset.CARD).read_text())
    asked = {"seed": 0, "per_cell": 1, "leaky": 0.0, "domain": "general"}
    assert {name: card[name] for name in asked} == asked


def test_the_table_of_options_says_what_the_library_takes():
    build, asked = OPTIONS["data build"], OPTIONS["evaluate"]
    assert build["--domain"]["choices"] == [*DOMAINS]
    assert build["--per-cell"]["default"] == phantom_vqa.PER_CELL
    assert OPTIONS["data import"]["--size"]["default"] == images.SIDE
    assert asked["--controls"]["choices"] == [*CONTROLS, CIRCULAR]
    assert asked["--style"]["choices"] == [*ALL_STYLES]
    assert OPTIONS["ask"]["--style"]["choices"] == [*STYLES]
    for command in OPTIONS:
        for name, told in OPTIONS[command].items():
            assert told["help"], name
            read = TYPES.get(told.get("metavar"))
            assert read or "choices" in told or "action" in told or told["metavar"].isupper(), name
