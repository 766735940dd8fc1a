"""Tables as people send them: what each line holds, and one line of complaint with its number."""

import json

import pandas as pd
import pytest

from medr1_lib.errors import InputError
from medr1_lib.files import read_rows

ROWS = [{"id": "1", "reply": "one;\ntwo, three"}, {"id": "2", "reply": "é"}]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize(("name", "cut"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
def test_a_text_table_is_read_whatever_wrote_it(tmp_path, name, cut, mark, ending):
    text = pd.DataFrame(ROWS).to_csv(index=False, sep=cut, lineterminator=ending)
    (tmp_path / name).write_bytes(mark + text.encode())
    assert [row for _, row in read_rows(tmp_path / name)] == ROWS
    assert [line for line, _ in read_rows(tmp_path / name)] == [3, 4]  # the first reply has two


def test_jsonl_and_parquet_hold_the_same(tmp_path):
    lines = "".join(json.dumps(row) + "\n\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    pd.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.jsonl") == [(1, ROWS[0]), (3, ROWS[1])]
    assert read_rows(tmp_path / "a.parquet") == [(1, ROWS[0]), (2, ROWS[1])]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"id,a\n1,2\n1\n", "a.csv, line 3: has another number of cells"),
        ("a.csv", b"id,a\n1,2,3\n", "a.csv, line 2: has another number of cells"),
        ("a.csv", "id\né".encode("latin-1"), "cannot be read ('utf-8' codec"),
        ("a.jsonl", b"{}\n[]\n", "a.jsonl, line 2: is no JSON object"),
        ("a.jsonl", b'{"a": 1\n', "a.jsonl, line 1: is no JSON object"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl, line 1: is no JSON object"),
        ("a.parquet", b"x", "a.parquet: cannot be read ("),
        ("a.xlsx", b"", "is no table; name a csv, tsv, json, jsonl or parquet file"),
        ("no.csv", None, "cannot be read (No such file"),
    ],
)
def test_what_is_no_table_is_told_by_line(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_rows(tmp_path / name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
