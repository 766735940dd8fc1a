"""Work through a chapter in JupyterLab as a student does, in Chromium, and fail on what disturbs.

`make e2e` runs it, at the replay tier. It opens a copy of the chapter, runs all cells, moves the
controls of the widget, types a wrong and a right answer to the first exercise, and looks at the
widget in the light and the dark theme. Faults: a cell that fails, a widget that does not follow, a
check that says the wrong thing, text of a widget that can hardly be read, an error in the console,
a request to an outside host.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from site_check import FLAGS, listen

ROOT = Path(__file__).parents[2]
CHAPTER = "03_write_the_rewards.ipynb"
PATIENCE = 300_000  # milliseconds that a chapter may take on a busy machine
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
ANSWERS = {  # to exercise 1, and what the check of it must say
    "a wrong answer": ("    return 1.0", "not right yet"),
    "a right answer": (
        '    block = re.search(r"<answer>(.*?)</answer>", completion)\n'
        "    return float((block[1] if block else completion).strip() == answer)",
        "Going on with yours",
    ),
}
EXERCISE = "def accuracy_published(completion, answer, style):\n"
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
    const texts = [...document.querySelectorAll(".jupyter-widgets :is(p, td, th, caption, label)")];
    return Math.min(...texts.map((node) => {
        const [low, high] = [light(getComputedStyle(node).color), light(behind(node))].sort();
        return (high + 0.05) / (low + 0.05);
    }));
}"""


class Lab:
    """A JupyterLab server on a free port, with settings and copies of its own."""

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
        environment |= {"MEDR1_TIER": "replay", "PYTHONPATH": str(ROOT)}
        (folder / "work").mkdir()
        shutil.copy(ROOT / "notebooks" / CHAPTER, folder / "work")
        told = (folder / "server.log").open("w")
        self._server = subprocess.Popen(
            [
                *(python, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--allow-root"),
                *("--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"),
                *("--LabApp.news_url=None", f"--ServerApp.root_dir={folder}"),
            ],
            env=environment,
            stdout=told,
            stderr=told,
        )

    def wait(self) -> None:
        """Until it answers; a server that ended is told at once."""
        for _ in range(240):
            if self._server.poll() is not None:
                raise SystemExit("JupyterLab ended before it answered")
            try:
                urllib.request.urlopen(f"{self.base}api/status", timeout=2).close()
            except OSError:
                time.sleep(0.5)
            else:
                return
        raise SystemExit("JupyterLab did not answer within two minutes")

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


def answer(page: Page, body: str, told: str) -> list[str]:
    """Type an answer over the stub of the exercise, run it, and read what its check says."""
    cell = page.locator(".jp-CodeCell", has_text=EXERCISE.strip()).first
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(EXERCISE + body)
    for _ in range(2):  # the answer, and the check below it
        command(page, "notebook:run-cell-and-select-next")
    page.wait_for_timeout(1000)
    said = outputs(page, "= checks.accuracy_published(")
    return [] if told in said else [f"the check does not say {told!r} but {said!r}"]


def move(page: Page) -> list[str]:
    """Move every control of the widget; a line for each that changes nothing."""
    panel = page.locator(".jupyter-widgets.widget-vbox", has=page.locator("textarea")).first
    view, faults = panel.locator(".widget-html-content").last, []
    panel.scroll_into_view_if_needed()

    def changed(name: str) -> None:
        nonlocal before
        page.wait_for_timeout(1500)
        if view.inner_text() == before:
            faults.append(f"{name} changes nothing")
        before = view.inner_text()

    before = view.inner_text()
    panel.locator("textarea").fill("<answer>C</answer><b>x</b>")
    changed("the completion")
    if view.locator("b").count():
        faults.append("typed text became markup")
    panel.locator("textarea").fill("<answer>C</answer>")
    page.wait_for_timeout(1500)
    before = view.inner_text()
    styles = panel.locator("select").nth(1)
    others = [x for x in styles.locator("option").all_inner_texts() if x != styles.input_value()]
    styles.select_option(label="no_think" if "no_think" in others else others[0])
    changed("the style")
    panel.locator("select").first.select_option(index=3)
    changed("the bench")
    blank = panel.locator("select").evaluate_all("all => all.filter((x) => !x.value).length")
    return faults + ([f"{blank} dropdowns are blank"] if blank else [])


def work_through(page: Page, base: str) -> list[str]:
    """One chapter, from opening it to the right answer, in both themes."""
    page.goto(f"{base}lab/tree/work/{CHAPTER}?reset")
    page.wait_for_function(
        "() => window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length"
    )
    ready = "() => jupyterapp.shell.currentWidget.sessionContext.ready.then(() => true)"
    page.evaluate(ready)
    command(page, "notebook:run-all-cells")
    faults = failed(page) + move(page)
    for theme in ("Light", "Dark"):
        command(page, "apputils:change-theme", f"{{theme: 'JupyterLab {theme}'}}")
        page.wait_for_timeout(2000)
        contrast = page.evaluate(CONTRAST)
        print(f"{theme}: the widget's weakest contrast is {contrast:.1f}")
        if contrast < 4.5:
            faults.append(f"{theme}: contrast {contrast:.1f} in the widget")
    for name, (body, told) in ANSWERS.items():
        faults += [f"{name}: {fault}" for fault in answer(page, body, told)]
    return faults


def main() -> int:
    """Work through the chapter; return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="the course's Python")
    parser.add_argument("--browser", default=shutil.which("chromium"), help="path of Chromium")
    parser.add_argument("--shot", type=Path, help="where a screenshot goes at the end")
    options = parser.parse_args()
    if not options.browser:
        print("skipped: there is no Chromium here (Debian: apt-get install chromium)")
        return 0
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(options.python.absolute(), Path(folder))
        try:
            lab.wait()
            browser = playwright.chromium.launch(executable_path=options.browser, args=FLAGS)
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.set_default_timeout(PATIENCE)
            listen(page, lab.base, faults)
            faults += work_through(page, lab.base)
            if options.shot:
                page.screenshot(path=options.shot)
            browser.close()
        finally:
            lab.stop()
    print(f"{CHAPTER} in JupyterLab:", *(faults or ["ok"]), sep="\n    " if faults else " ")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
