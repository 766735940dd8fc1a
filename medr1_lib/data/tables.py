"""One table in: questions or labels in rows, and their images in a folder, a zip or the table."""

import ast
import base64
import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import yaml

from medr1_lib import files
from medr1_lib.data import importing
from medr1_lib.data.question import ALL_LETTERS, Question, canonical
from medr1_lib.data.source import Item, cell, image_id, image_path, letter_of, opened
from medr1_lib.errors import DROP, InputError, refusing

# What a column is called in the wild; the first counts.
_FILE = Path(__file__).with_name("columns.yaml")
NAMES: dict[str, list[str]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
LETTERED = ("{}", "option_{}", "choice_{}")  # columns of single options, by their letter
DISTRACTORS = 3  # beside the right label, where a modality has more
YES_NO = ("yes", "no")
_SPLITS = {"train": "train", "val": "val", "dev": "val", "test": "test"}  # by their beginning
_SPLITS |= {"freeform": "train", "para": "train"}  # as VQA-RAD calls what is not `test_...`
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{200,}={0,2}\s*")
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm")
DAMAGED = "cannot be read", "save it again"

Row = dict[str, Any]
Rows = list[tuple[str, Row]]  # each with the place where it stands


def import_data(
    table: Path,
    root: Path,
    out: Path,
    columns: Mapping[str, str] | None = None,
    modality: str = "unknown",
    question: str = "",
    settings: importing.ImportSettings = importing.DEFAULT,
) -> dict[str, Any]:
    """Import a table of questions or of labels as a data set; see `read` and `importing.write`.

    The images lie in the folder or zip file `root`. `columns` gives what the table calls the names
    of `NAMES`, if none in that list; `modality` and `question` are those of rows without.
    """
    rows = read(table)
    found = _columns(table.name, rows, columns or {})
    with opened(root) as source:
        reader = _Reader(table.name, rows, found, modality, question)
        items, bad = reader.items()
        source.pictures |= reader.pictures
        rule = "the table's own split" if any(item.split == "test" for item in items) else ""
        about = {"table": table.name, "columns": found, "open_questions": reader.left_open}
        names = dict.fromkeys(name for _, row in rows for name in row if name)
        about["unused"] = [name for name in names if name not in found.values()]
        return importing.write(source, items, bad, out, rule, about, settings)


def read(path: Path) -> Rows:
    """The rows of a csv, tsv, json, jsonl or parquet file, or of a folder.

    It holds a folder of pictures for each label, `metadata.csv`, parquet files, or what `datasets`
    saved.
    """
    if not path.exists():
        raise InputError(path, "does not exist", "name a file or folder with a table")
    parts: list[tuple[str, Rows]] = []
    if path.is_file():
        parts = [("", _file_rows(path))]
    elif (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file():
        with refusing(path, *DAMAGED):
            loaded = datasets.load_from_disk(str(path))
            for split, data in (loaded if isinstance(loaded, dict) else {"": loaded}).items():
                data.data.validate(full=True)
                for name, kind in data.features.items():
                    if isinstance(kind, datasets.Image):
                        data = data.cast_column(name, datasets.Image(decode=False))
                numbered = enumerate(data.to_list(), start=1)
                rows = [(f"{path.name}, {split} row {n}", row) for n, row in numbered]
                parts.append((split, _with_names(rows, data.features)))
    elif found := sorted([*path.rglob("metadata.csv"), *path.rglob("metadata.jsonl")]):
        for file in found:
            below, part = file.parent.relative_to(path), _file_rows(file)
            for _, row in part:  # its file name starts at the root and not at a folder below it
                row["file_name"] = (below / str(row.get("file_name", ""))).as_posix()
            parts.append((below.parts[0] if below.parts else "", part))
    elif found := sorted(path.rglob("*.parquet")):  # as the hub has them: data/train-00000-...
        parts = [(file.stem.partition("-")[0], _file_rows(file)) for file in found]
    else:  # a folder of pictures for each label; the folder above that may be a split
        for file in sorted(path.rglob("*")):
            inner = file.relative_to(path)
            if file.suffix.lower() in _PICTURES and len(inner.parts) > 1:
                split = _split_of(inner.parts[0]) if len(inner.parts) > 2 else None
                row = {"image": inner.as_posix(), "label": inner.parts[-2]}
                parts.append((split or "", [(inner.as_posix(), row)]))
    rows = [(at, {"split": s, **row} if s else row) for s, part in parts for at, row in part]
    if not rows:
        raise InputError(path, "holds no row", "name a table with rows")
    return rows


def _file_rows(path: Path) -> Rows:
    word = {".parquet": "row", ".json": "record"}.get(path.suffix, "line")
    rows = [(f"{path.name}, {word} {number}", row) for number, row in files.read_rows(path)]
    if path.suffix == ".parquet":
        with refusing(path, *DAMAGED):
            return _with_names(rows, datasets.Features.from_arrow_schema(pq.read_schema(path)))
    return rows


def _with_names(rows: Rows, features: datasets.Features) -> Rows:
    for name, kind in features.items():
        if isinstance(kind, datasets.ClassLabel):
            for _, row in rows:
                row[name] = None if row[name] is None else kind.int2str(row[name])
    return rows


def _columns(where: str, rows: Rows, own: Mapping[str, str]) -> dict[str, str]:
    """Which column is what: `image`, `question` ... and the letters of options."""
    head = list(dict.fromkeys(name for _, row in rows for name in row if name))
    plain = {re.sub(r"[\s\-]+", "_", str(name).strip().lower()): name for name in reversed(head)}
    letters = {letter: [form.format(letter.lower()) for form in LETTERED] for letter in ALL_LETTERS}
    known = NAMES | letters
    for key, name in own.items():
        if key not in known or name not in head:
            problem = f"cannot take {name!r} for {key!r}; its columns are {', '.join(head)}"
            remedy = f"say --columns with {', '.join(NAMES)} or A to H"
            raise InputError(where, problem, remedy)
    found = {key: plain[n] for key, names in known.items() for n in names[::-1] if n in plain}
    found |= own
    told = f"it has {', '.join(head)}"
    if "image" not in found:
        raise InputError(where, f"has no image column ({told})", "name it by --columns image=NAME")
    asks = "question" in found and "answer" in found
    if asks == ("label" in found):
        if asks and plain.get("label") != found["label"] and "label" not in own:
            del found["label"]  # such as `class`, which is no label beside an answer
            return found
        problem = "has both answers and labels" if asks else "has neither labels nor answers"
        remedy = "name a label, or question and answer, by --columns; leave the other out"
        raise InputError(where, f"{problem} ({told})", remedy)
    return found


def _split_of(said: str) -> str | None:
    low = said.strip().lower()
    return next((split for start, split in _SPLITS.items() if low.startswith(start)), None)


class _Reader:
    """Makes records of the rows of one table."""

    def __init__(
        self, name: str, rows: Rows, columns: Mapping[str, str], modality: str, stem: str
    ) -> None:
        self._name, self._rows, self._columns = name, rows, columns
        self._modality = canonical("modality", cell({"--modality": modality}, "--modality"))
        self._stem = stem and cell({"--question": stem}, "--question")
        self.pictures: dict[str, bytes] = {}  # those that the table holds itself
        self.left_open = 0  # questions whose answer is free text, which nothing here can score
        self._labels: dict[str, dict[str, str]] = defaultdict(dict)  # modality, plain: as spelled
        if "label" in columns:
            if "question" not in columns and not stem:
                raise InputError(name, "asks nothing", 'say --question "What is shown?"')
            for _, row in rows:
                if (label := self._told(row, "label", "")) and (of := self._modality_of(row)):
                    self._labels[of].setdefault(label.casefold(), label)
            for of, labels in self._labels.items():
                if len(labels) < 2:
                    problem = f"has one label only in modality {of}: {[*labels.values()]}"
                    raise InputError(name, problem, "leave it out, or name two or more")

    def items(self) -> tuple[list[Item], list[InputError]]:
        """The sound records, and what is wrong with the others."""
        items, bad = list[Item](), list[InputError]()
        known = dict[tuple[str, Hashable], tuple[str, str]]()
        for where, row in self._rows:
            try:
                if item := self._item(where, row):
                    pair, text = (item.image, item.question.question), item.question.answer_text
                    for what, met in (("image and question", pair), ("id", item.question.id)):
                        first, said = known.setdefault((what, met), (where, text))
                        if first != where:
                            other = f", but {text!r}, not {said!r}" * (met is pair and text != said)
                            raise InputError(where, f"has the {what} of {first}{other}", DROP)
                    items.append(item)
            except InputError as error:
                bad.append(InputError(where, error.problem, error.remedy))
        if not items and not bad:
            remedy = "name the columns of options by --columns choices=NAME or A=NAME,B=NAME"
            raise InputError(self._name, "has only answers in free text", remedy)
        return items, bad

    def _told(self, row: Row, key: str, default: str | None = None) -> str:
        """The cell of a row; where there is no such column, or the cell may be empty, `default`."""
        name = self._columns.get(key)
        if default is not None and (name is None or row.get(name) in (None, "")):
            return default
        return cell(row, name or key)

    def _modality_of(self, row: Row) -> str:
        return canonical("modality", self._told(row, "modality", self._modality))

    def _item(self, where: str, row: Row) -> Item | None:
        image = self._image(row)
        modality = self._modality_of(row)
        stem = self._told(row, "question", self._stem)
        if "label" in self._columns:
            options, letter = self._of_label(cell(row, self._columns["label"]), modality, image)
        else:
            options = self._options(row)
            answer = self._told(row, "answer")
            if not options:
                closed = answer.strip(" .").lower() in YES_NO
                if not closed or self._told(row, "open", "").upper() == "OPEN":
                    self.left_open += 1
                    return None
                options, answer = _shuffled(YES_NO, image + stem), answer.strip(" .")
            letter = letter_of(answer, options)
        kind = canonical("question_type", self._told(row, "question_type", "unknown"))
        source = self._told(row, "source", Path(self._name).stem)
        labels = modality, kind, image_id(image), source
        asked = Question(stem, options, letter, *labels, id=self._told(row, "id", ""))
        patient = self._told(row, "patient") if "patient" in self._columns else ""
        said = self._told(row, "split") if "split" in self._columns or "split" in row else ""
        split = _split_of(said) if said else "train"
        if split is None:
            raise InputError(where, f"its split {said!r} is none of train, val, test", DROP)
        return Item(asked, image, where, patient, split)

    def _image(self, row: Row) -> str:
        """Where the image lies, or the name of the picture in the cell, which is kept apart."""
        named = self._columns["image"]
        value, content = row.get(named), None
        with refusing("row", f"its {named} holds no picture", DROP):
            if isinstance(value, dict):  # as `datasets` holds an image
                content, value = value.get("bytes"), value.get("path")
            elif isinstance(value, str) and _BASE64.fullmatch(value):
                content = base64.b64decode(value)
            digest = hashlib.sha256(content or b"").hexdigest()
        if not content:
            return image_path({named: value}, named)
        name = f"in the table, {digest[:16]}"
        self.pictures.setdefault(name, content)
        row[named] = None  # not in the memory twice
        return name

    def _of_label(self, label: str, modality: str, image: str) -> tuple[tuple[str, ...], str]:
        """The label among others of its modality, in an order that says nothing."""
        known = self._labels[modality]
        others = [name for plain, name in sorted(known.items()) if plain != label.casefold()]
        wrong = _shuffled(others, image)[:DISTRACTORS]
        right = known[label.casefold()]
        options = _shuffled([right, *wrong], image + right)
        return options, ALL_LETTERS[options.index(right)]

    def _options(self, row: Row) -> tuple[str, ...]:
        if "choices" in self._columns and row.get(self._columns["choices"]):
            given = row[self._columns["choices"]]
            if isinstance(given, str):
                with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                    given = ast.literal_eval(given)
            given = [*given.values()] if isinstance(given, dict) else given
            if not isinstance(given, list | tuple):
                raise InputError("row", f"its choices {given!s:.60} are no list", DROP)
        else:
            cells = [row.get(self._columns.get(letter, "")) for letter in ALL_LETTERS]
            given = [one for one in cells if one not in (None, "")]
        told = [cell({"option": one}, "option") for one in given]
        marked = [re.fullmatch(r"([A-H])\s*[:.)]\s*(.+)", one, re.DOTALL) for one in told]
        if all(mark and mark[1] == one for mark, one in zip(marked, ALL_LETTERS, strict=False)):
            told = [mark[2] for mark in marked if mark]  # PMC-VQA writes ` A: kidney `
        return tuple(told)


def _shuffled(names: Sequence[str], key: str) -> tuple[str, ...]:
    return tuple(random.Random(key).sample([*names], len(names)))
