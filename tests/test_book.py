"""The sources of the book, without building it: `make book` turns warnings into errors itself."""

import hashlib
import json
import re
import runpy
import tarfile
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
PAGES = [*sorted(BOOK.rglob("*.md")), ROOT / "data" / "README.md"]
CHAPTERS = sorted(
    path for path in (ROOT / "notebooks").glob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
STAGED = ("book/", "notebooks/", "data/README.md", "data/figures/", "data/sample/")  # by build.sh
VENDOR = runpy.run_path(str(BOOK / "vendor.py"))
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def toc_entries() -> dict[str, list[str]]:
    """The files and the globs of the table of contents, relative to the repository."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text())
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return {
        "file": [toc["root"]] + [entry["file"] for entry in chapters if "file" in entry],
        "glob": [entry["glob"] for entry in chapters if "glob" in entry],
    }


def outside(path: Path) -> bool:
    """Whether the site has no copy of a file of the repository."""
    return not path.relative_to(ROOT).as_posix().startswith(STAGED)


def markdown(path: Path) -> str:
    """The prose of a page or a notebook, without code blocks."""
    if path.suffix == ".md":
        text = path.read_text(encoding="utf-8")
    else:
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.sub(r"^```\w*\n.*?^```|`[^`]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_table_of_contents_holds_every_chapter_and_page_and_nothing_else():
    entries = toc_entries()
    pages = {name(path.with_suffix("")) for path in PAGES}
    assert sorted(entries["file"]) == sorted(pages)
    globbed = [path for glob in entries["glob"] for path in ROOT.glob(f"{glob}.ipynb")]
    assert sorted(globbed) == CHAPTERS


def test_the_front_page_links_every_chapter():
    linked = {Path(target).name for target in LINK.findall(markdown(BOOK / "index.md"))}
    assert {path.name for path in CHAPTERS} <= linked


@pytest.mark.parametrize("page", sorted(BOOK.glob("instructor/chapter_*.md")), ids=lambda p: p.stem)
def test_a_lesson_plan_names_sections_that_its_chapter_has(page):
    text = page.read_text(encoding="utf-8")
    (source,) = (ROOT / "notebooks/_src").glob(f"{page.stem[-2:]}_*.py")
    headings = re.findall(r"^# ##+ (.+)$", source.read_text(encoding="utf-8"), re.M)
    named = re.findall(r"\*((?:\d+|Exercise \d:) [^*]+)\*", text)
    assert len(named) >= 3
    assert {" ".join(title.split()) for title in named} - set(headings) == set()
    if page.stem != "chapter_13":  # the capstone has a rubric in place of a lesson
        assert sum(map(int, re.findall(r"^\| (\d+) \|", text, re.M))) == 90
    assert 350 <= len(re.findall(r"\w[^\s|]*", text)) <= 550


def test_links_lead_to_files_that_the_site_has():
    links = [
        (name(page), target, (page.parent / target).resolve())
        for page in PAGES + CHAPTERS
        for target in LINK.findall(markdown(page))
        if "://" not in target
    ]
    assert len(links) >= len(CHAPTERS) // 2, "the front page alone links every chapter"
    assert [link for *link, file in links if not file.is_file() or outside(file)] == []


def test_terms_are_in_the_glossary_and_the_glossary_is_in_order():
    text = (BOOK / "glossary.md").read_text()
    terms = re.findall(r"^(\w.*)$", text.split("```{glossary}\n")[1], flags=re.MULTILINE)
    assert terms == sorted(set(terms), key=str.lower)
    used = re.findall(r"\{term\}`(?:[^`<]*<)?([^`>]+)>?`", "".join(p.read_text() for p in PAGES))
    assert {term.lower() for term in used} - {term.lower() for term in terms} - {"word"} == set()


def test_citations_are_in_the_bibliography():
    keys = re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text(), flags=re.MULTILINE)
    used = re.findall(r"\{cite:[pt]\}`(\w+)`", "".join(p.read_text() for p in PAGES))
    assert len(keys) == len(set(keys))
    assert set(used) - set(keys) - {"key"} == set()


def test_pages_load_nothing_from_an_outside_host():
    config = yaml.safe_load((BOOK / "_config.yml").read_text())["sphinx"]["config"]
    assert config["mathjax_path"].startswith("vendor/")
    assert list(config["nb_ipywidgets_js"]) == [
        "vendor/ipywidgets/require.js",
        "widgets.js",
        "vendor/ipywidgets/embed-amd.js",
    ]
    assert not {"sphinx_thebe", "sphinx_comments"} & set(config["extensions"])
    ours = [BOOK / "_config.yml", BOOK / "_toc.yml", *(BOOK / "_static").glob("*.*")]
    assert [path.name for path in ours if re.search("https?:", path.read_text())] == []
    scripts = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\\?[\"'](?:https?:)?//")
    assert [name(path) for path in PAGES + CHAPTERS if scripts.search(path.read_text())] == []


def test_what_the_browser_gets_is_pinned_to_the_byte():
    packages = json.loads((BOOK / "vendor.json").read_text())
    for package in packages:
        assert re.fullmatch(r"(@[\w-]+/)?[\w-]+@\d+\.\d+\.\d+", package["package"])
        assert re.fullmatch(r"[0-9a-f]{64}", package["sha256"])
        assert package["licence"]
    targets = {target for package in packages for target in package["files"].values()}
    assert {"mathjax/tex-mml-chtml.js", "ipywidgets/embed-amd.js"} <= targets


@pytest.fixture
def tarball(tmp_path):
    """A package with one file and one folder, and its sha256."""
    (tmp_path / "package" / "fonts").mkdir(parents=True)
    (tmp_path / "package" / "main.js").write_text("1;")
    (tmp_path / "package" / "fonts" / "a.woff").write_text("a")
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    return tmp_path / "p.tgz"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_package_is_unpacked_to_where_the_pages_look(tarball, tmp_path):
    files = {"main.js": "lib/main.js", "fonts": "lib/fonts"}
    VENDOR["unpack"](tarball, sha256(tarball), files, tmp_path / "out")
    found = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob("out/**/*.*"))
    assert found == ["out/lib/fonts/a.woff", "out/lib/main.js"]


def test_a_package_with_another_sum_is_refused_whole(tarball, tmp_path):
    right = sha256(tarball)
    tarball.write_bytes(tarball.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"p\.tgz: sha256 is .*, vendor\.json says"):
        VENDOR["unpack"](tarball, right, {"main.js": "main.js"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_package_without_a_file_we_need_is_refused(tarball, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.js"):
        VENDOR["unpack"](tarball, sha256(tarball), {"gone.js": "gone.js"}, tmp_path / "out")


def test_without_npm_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="copy book/_static/vendor from a machine"):
        VENDOR["pack"]("requirejs@2.3.8", tmp_path)


def test_the_build_environment_is_locked_and_has_no_torch():
    lines = (BOOK / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert "jupyter-book==1.0.4.post1" in pins
    assert not [pin for pin in pins if pin.startswith(("torch", "nvidia", "transformers"))]


WRITE = runpy.run_path(str(BOOK / "_ext" / "pages.py"))
NAMES = {"01": "01_look.ipynb", "02": "02_ask.ipynb"}


def test_the_front_page_gets_numbers_and_minutes():
    page = WRITE["timed"]((BOOK / "index.md").read_text(encoding="utf-8"), {"00": 0.2})
    assert "| chapter | minutes to run |" in page
    assert "| [00 Start here](../notebooks/00_start_here.ipynb) | 0.2 |" in page
    rows = re.findall(r"^\| \[(\d\d) .*?\]\(\S+?\) \| (\S+) \|", page, flags=re.MULTILINE)
    assert [number for number, _ in rows] == [path.name[:2] for path in CHAPTERS]
    assert {minutes for number, minutes in rows if number != "00"} == {"-"}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("See chapter 02.", "See [chapter 02](02_ask.ipynb)."),
        ("Chapter\n02 asks.", "[Chapter\n02](02_ask.ipynb) asks."),
        ("This is chapter 01, chapter 09 is none.", None),
        ("`chapter 02` and [chapter 02](x.md)", None),
        ("```\nchapter 02\n```", None),
        ("## After chapter 02", None),
        ("It follows $x_2$ (arXiv 2402.03300).", "(https://arxiv.org/abs/2402.03300)"),
        ("The page *Troubleshooting*", "The page [Troubleshooting](../book/troubleshooting.md)"),
    ],
)
def test_prose_is_linked_and_code_is_not(text, made):
    assert (made or text) in WRITE["linked"](text, "01", NAMES)


def test_a_chapter_leads_to_the_next_and_to_the_reference_pages():
    for path in CHAPTERS:
        names = {chapter.name[:2]: chapter.name for chapter in CHAPTERS}
        made = WRITE["chapter"](path.read_text(encoding="utf-8"), path.name[:2], names)
        *_, last = nbformat.reads(made, as_version=4).cells
        linked = LINK.findall(last.source)
        later = CHAPTERS[CHAPTERS.index(path) + 1 :][:1]
        pages = ["../book/glossary.md", "../book/troubleshooting.md", "../book/references.md"]
        assert linked == [*(chapter.name for chapter in later), *pages]
        assert all((path.parent / target).is_file() for target in linked)


def test_a_figure_has_the_width_it_was_drawn_for():
    figure = {"output_type": "display_data", "metadata": {"image/png": {"width": 371}}}
    cell = {"cell_type": "code", "metadata": {"mystnb": {"image": {"alt": "A line."}}}}
    plain = {"cell_type": "code", "metadata": {}, "outputs": [{"output_type": "stream"}]}
    cells = [cell | {"outputs": [figure]}, plain]
    made = json.loads(WRITE["chapter"](json.dumps({"cells": cells}), "01", {}))["cells"]
    assert made[0]["metadata"]["mystnb"]["image"] == {"alt": "A line.", "width": "371px"}
    assert made[1]["metadata"] == {}


def test_the_reference_has_what_is_public_and_keeps_markup_out(tmp_path):
    (tmp_path / "lib").mkdir()
    code = 'def f(a: int, *b: str) -> int:\n    """Give a*b_c and `a*b`.\n\n    More.\n    """\n'
    code += 'def _g():\n    """Own."""\ndef h(): ...\nclass K:\n    """Kept."""\n'
    (tmp_path / "lib" / "m.py").write_text(f'"""About m."""\n{code}')
    page = WRITE["reference"](tmp_path / "lib")
    assert "## lib.m\n\nAbout m." in page
    assert "```python\nf(a: int, *b: str) -> int\n```\n\nGive a\\*b\\_c and `a*b`." in page
    assert "class K" in page
    assert "_g" not in page
    assert "h()" not in page
