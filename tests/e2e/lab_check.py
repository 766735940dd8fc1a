"""Work through chapters in JupyterLab as a student does, in Chromium, and fail on what disturbs.

`make e2e` runs it, at the replay tier. It opens a copy of each chapter, runs all cells, moves every
control of its widgets, types a wrong and the right answer to the first exercise, and looks at the
widgets in the light and the dark theme. Faults: a cell that fails, a control that changes nothing,
a dropdown that goes blank, a box over the notebook, a check that says the wrong thing, text of a
widget that can hardly be read, an error in the console, a request to an outside host.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright
from site_check import FLAGS, SLOW, listen

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
SOLUTIONS = NOTEBOOKS / "solutions"
CHAPTERS = "03,06,12"  # a text to type and dropdowns; a slider; a map of buttons
SETTINGS = {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}
EXERCISE = re.compile(r"^(\w+) = checks\.\1\(\1\)$")
STUB = "return ...  # your code instead of this line"
PANEL = ".jupyter-widgets.widget-vbox:not(.widget-vbox .widget-vbox)"
VIEWED = """(panel) => [...panel.querySelectorAll(".widget-html-content")]
    .map((part) => part.innerHTML).join()"""
FOLLOWS = 10_000  # milliseconds that a widget may take to follow
# Contrast of every line of the widget's view with the first background behind it, at its worst.
CONTRAST = """() => {
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (color) => parts(color).slice(0, 3).map((x) => x / 255)
        .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
        .reduce((sum, x, place) => sum + x * [0.2126, 0.7152, 0.0722][place], 0);
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const color = getComputedStyle(node).backgroundColor;
            if ((parts(color)[3] ?? 1) > 0) return color;
        }
        return "rgb(255, 255, 255)";
    };
    const texts = ".jupyter-widgets :is(p, td, th, caption, label, li, pre, button)";
    return Math.min(...[...document.querySelectorAll(texts)].map((node) => {
        const both = [light(getComputedStyle(node).color), light(behind(node))];
        return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    }));
}"""


class Lab:
    """What `make lab` starts, on a free port, with settings and copies of its own."""

    def __init__(self, python: Path, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base, own = f"http://127.0.0.1:{port}/", folder / "jupyter"
        for name, values in SETTINGS.items():
            path = own / "settings" / name.replace(":", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".jupyterlab-settings").write_text(json.dumps(values))
        places = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
        environment = os.environ | {f"JUPYTER_{place}": str(own) for place in places}
        environment |= {"JUPYTERLAB_SETTINGS_DIR": str(own / "settings"), "HF_HUB_OFFLINE": "1"}
        environment |= {"JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces")}
        environment |= {"PYTHONPATH": str(ROOT)}
        told = (folder / "server.log").open("w")
        self._server = subprocess.Popen(
            [
                *(python, "-m", "notebooks.tools.lab", "--tier=replay", "--work", folder / "work"),
                *("--no-browser", f"--port={port}", "--allow-root"),
                *("--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"),
            ],
            env=environment,
            stdout=told,
            stderr=told,
        )

    def wait(self) -> None:
        """Until it answers; a server that ended is told at once."""
        for _ in range(SLOW // 500):
            if self._server.poll() is not None:
                raise SystemExit("JupyterLab ended before it answered")
            try:
                urllib.request.urlopen(f"{self.base}api/status", timeout=2).close()
            except OSError:
                time.sleep(0.5)
            else:
                return
        raise SystemExit("JupyterLab did not answer within five minutes")

    def stop(self) -> None:
        """End it, and its kernels with it."""
        self._server.terminate()
        self._server.wait(timeout=30)


def command(page: Page, name: str, arguments: str = "{}") -> None:
    """Run one of JupyterLab's commands and wait until it is done."""
    page.evaluate(f"() => jupyterapp.commands.execute('{name}', {arguments}).then(() => null)")


def outputs(page: Page, holds: str) -> str:
    """The text below the cell whose source holds this line."""
    script = """(holds) => jupyterapp.shell.currentWidget.content.widgets
        .filter((cell) => cell.model.sharedModel.source.includes(holds))
        .map((cell) => cell.outputArea?.node.innerText ?? "").join("\\n")"""
    return str(page.evaluate(script, holds))


def failed(page: Page) -> list[str]:
    """A line for each cell that ended in an error, or wrote to stderr."""
    script = """() => jupyterapp.shell.currentWidget.content.widgets
        .flatMap((cell) => cell.outputArea?.model.toJSON() ?? [])
        .filter(({output_type, name}) => output_type === "error" || name === "stderr")
        .map(({ename, evalue, text}) => `a cell says ${ename ?? ""} ${evalue ?? text}`)"""
    return list(page.evaluate(script))


def first_exercise(chapter: Path) -> tuple[str, str, str]:
    """Name of a chapter's first exercise, its stub and its solution."""
    stored = [json.loads(path.read_text()) for path in (chapter, SOLUTIONS / chapter.name)]
    codes = [["".join(cell["source"]) for cell in one["cells"]] for one in stored]
    name = next(found[1] for code in codes[0] if (found := EXERCISE.match(code)))
    stub, solved = (next(one for one in code if one.startswith(f"def {name}(")) for code in codes)
    return name, stub, solved


def answer(page: Page, name: str, body: str, told: str) -> list[str]:
    """Type an answer over the stub of an exercise, run it, and read what its check says."""
    cell = page.locator(".jp-CodeCell", has_text=f"def {name}(").first
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(body)
    for _ in range(2):  # the answer, and the check below it
        command(page, "notebook:run-cell-and-select-next")
    page.wait_for_timeout(1000)
    said = outputs(page, f"= checks.{name}(")
    return [] if told in said else [f"the check does not say {told!r} but {said!r}"]


def follows(page: Page, panel: Locator, act: Callable[[], object]) -> bool:
    """Whether what a widget shows changes after this."""
    before = panel.evaluate(VIEWED)
    act()
    for _ in range(FOLLOWS // 100):
        page.wait_for_timeout(100)
        if panel.evaluate(VIEWED) != before:
            page.wait_for_timeout(300)  # until the rest has followed too
            return True
    return False


def move(page: Page, panel: Locator) -> list[str]:
    """Move every control of a widget; a line for each that changes nothing."""
    panel.scroll_into_view_if_needed()
    faults = blank(panel)
    for typed in panel.locator("textarea").all():
        if not follows(page, panel, lambda typed=typed: typed.fill("<answer>C</answer><b>x</b>")):
            faults.append("typing changes nothing")
        if panel.locator(".widget-html-content b", has_text="x").count():
            faults.append("typed text became markup")
        follows(page, panel, lambda typed=typed: typed.fill("<answer>C</answer>"))
    for control in reversed(panel.locator("select").all()):  # the first one sets the others
        now, many = (control.evaluate(f"node => node.{x}") for x in ("selectedIndex", "length"))
        others = [place for place in range(many) if place != now][:3]
        turns = (
            lambda place=place, control=control: control.select_option(index=place)
            for place in others
        )
        if not any(follows(page, panel, turn) for turn in turns):
            faults.append(f"a dropdown changes nothing: {control.inner_text()[:60]!r}")
    for handle in panel.locator(".noUi-handle").all():
        if not follows(page, panel, lambda handle=handle: handle.press("ArrowRight")):
            faults.append("a slider changes nothing")
    for button in reversed(panel.locator("button").all()):  # the first of a map is chosen already
        if not follows(page, panel, button.click):
            faults.append(f"a button changes nothing: {button.inner_text()!r}")
    return faults + blank(panel)


def blank(panel: Locator) -> list[str]:
    """A line if dropdowns of a widget show nothing, as those whose value is None."""
    found = panel.locator("select").evaluate_all("all => all.filter((x) => !x.value).length")
    return [f"{found} dropdowns are blank"] if found else []


def work_through(page: Page, base: str, chapter: Path, shots: Path | None) -> list[str]:
    """One chapter, from opening it to the right answer, in both themes."""
    page.goto(f"{base}lab/tree/{chapter.name}?reset")
    page.wait_for_function(
        "() => window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length"
    )
    ready = "() => jupyterapp.shell.currentWidget.sessionContext.ready.then(() => true)"
    page.evaluate(ready)
    command(page, "notebook:run-all-cells")
    panels = page.locator(PANEL).all()
    faults = failed(page) + ([] if panels else ["no widget is shown"])
    faults += [
        f"a box says {told!r}" for told in page.locator(".Toastify__toast").all_inner_texts()
    ]
    faults += [fault for panel in panels for fault in move(page, panel)]
    for theme in ("Light", "Dark"):
        command(page, "apputils:change-theme", f"{{theme: 'JupyterLab {theme}'}}")
        page.wait_for_timeout(2000)
        contrast = page.evaluate(CONTRAST)
        print(f"{chapter.stem}, {theme}: the widget's weakest contrast is {contrast:.1f}")
        if contrast < 4.5:
            faults.append(f"{theme}: contrast {contrast:.1f} in the widget")
        if shots:
            page.screenshot(path=shots / f"{chapter.stem}-{theme}.png")
    name, stub, solved = first_exercise(chapter)
    wrong = answer(page, name, stub.replace(STUB, "return None"), "not right yet")
    right = answer(page, name, solved, "Going on with yours")
    command(page, "notebook:shutdown-kernel")
    return faults + wrong + right


def main() -> int:
    """Work through the chapter; return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="the course's Python")
    parser.add_argument("--browser", default=shutil.which("chromium"), help="path of Chromium")
    parser.add_argument("--chapters", default=CHAPTERS, help=f"their numbers ({CHAPTERS})")
    parser.add_argument("--shots", type=Path, help="folder for screenshots")
    options = parser.parse_args()
    if not options.browser:
        print("skipped: there is no Chromium here (Debian: apt-get install chromium)")
        return 0
    numbers, every = options.chapters.split(","), sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    chapters, total = [path for path in every if path.name[:2] in numbers], 0
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(options.python.absolute(), Path(folder))
        try:
            lab.wait()
            browser = playwright.chromium.launch(executable_path=options.browser, args=FLAGS)
            for chapter in chapters:
                page, faults = browser.new_page(viewport={"width": 1400, "height": 1000}), []
                page.set_default_timeout(SLOW)
                listen(page, lab.base, faults)
                faults += work_through(page, lab.base, chapter, options.shots)
                page.close()
                print(f"{chapter.stem} in JupyterLab:", *(faults or ["ok"]), sep="\n    ")
                total += len(faults)
            browser.close()
        finally:
            lab.stop()
    return int(total > 0 or not chapters)


if __name__ == "__main__":
    sys.exit(main())
