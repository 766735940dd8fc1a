"""Open every page of the built site in Chromium and fail on whatever a reader would trip over.

`make e2e` runs it in an environment of its own, for playwright is no dependency of the course:

    .venv-e2e/bin/python tests/e2e/site_check.py _output/book/_build/html --axe axe.min.js

Each page is loaded wide and 320 px narrow, light and dark, as by a reader who was never there.
Faults: a request to another host, a failed request, an error in the page or its console, a formula
that was not typeset or of which a part cannot be reached, a widget that does not show, a slider
without a name, an image without alt text, a figure that does not open in full size or is too small
to read on a phone, a page that scrolls sideways or has no icon, a chapter without links to the next
one and the reference pages, a front page without minutes, and with --axe what axe-core finds of
WCAG 2 A and AA. `planted.py` proves that each of them is found.
"""

import argparse
import functools
import http.server
import itertools
import shutil
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 20  # half seconds
SLOW = 300_000  # milliseconds that a page or a chapter may take on a busy machine
VIEWS = {"wide": (1300, 900), "phone": (320, 860)}
LINKED = ("glossary.html", "troubleshooting.html", "references.html")  # from every chapter
# Rules of axe-core that the theme, docutils and ipywidgets break, not the course.
THEIRS = {
    "aria-required-children",
    "aria-deprecated-role",
    "label-content-name-mismatch",
}
# The page of searches has no article.
AXE = """() => axe.run(document.querySelector("article") ?? document.querySelector("main"), {
    runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}).then(
    ({violations}) => violations.map(({id, nodes}) => [id, nodes.length, nodes[0].html]))"""
COUNTS = """() => {
    const all = (selector) => [...document.querySelectorAll(`article ${selector}`)];
    const figures = all("img").filter(({ src }) => !src.startsWith("data:"));
    const own = (image) => parseFloat(image.style.width) || image.naturalWidth;
    const beyond = (box) => {
        const formula = box.querySelector("mjx-math") ?? box;
        const scrolls = ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
        return formula.getBoundingClientRect().left < box.getBoundingClientRect().left - 1
            || box.scrollWidth > box.clientWidth + 1 && !scrolls;
    };
    return {
        cut: all("div.math").filter(beyond).length,
        nameless: all(".noUi-handle:not([aria-label])").length,
        closed: figures.filter((image) => !image.closest("a")).map(({ src }) => src),
        tiny: figures.filter((image) => own(image) > 400)
            .filter((image) => image.width < Math.min(0.7 * own(image), 650))
            .map(({ src }) => src),
        icon: !!document.querySelector("link[rel~=icon]"),
        links: all("a[href]").map((link) => link.pathname.split("/").pop()),
        heads: all("th").map((cell) => cell.textContent),
        formulas: all(".math").length,
        typeset: all(".math mjx-container").length,
        wrong: all("mjx-merror").length,
        widgets: all("script[type='application/vnd.jupyter.widget-view+json']").length,
        shown: all(".widget-subarea > *").length,
        unlabelled: all("img").filter((image) => !image.alt.includes(" ")).map(({ src }) => src),
        sideways: document.documentElement.scrollWidth - window.innerWidth,
    };
}"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing; the check reports what failed."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing of a page that was closed while it was loading; see above for the rest."""


def serve(site: Path) -> tuple[http.server.ThreadingHTTPServer, str]:
    """Serve a folder on a free local port; return the server and its address."""
    handler = functools.partial(_Quiet, directory=str(site))
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/"


def listen(page: Page, base: str, faults: list[str]) -> None:
    """Note every fault that the browser reports while the page is open."""

    def request(made: Request) -> None:
        if not made.url.startswith((base, "data:", "blob:", "about:")):
            faults.append(f"asked an outside host: {made.url}")

    def response(got: Response) -> None:
        if got.status >= 400:
            faults.append(f"HTTP {got.status}: {got.url}")

    def failed(made: Request) -> None:
        if made.failure != "net::ERR_ABORTED":  # by a page that leads to another one
            faults.append(f"failed: {made.url}")

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(f"console: {message.text}")

    page.on("request", request)
    page.on("response", response)
    page.on("requestfailed", failed)
    page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
    page.on("console", console)


def judge(counts: dict[str, Any], path: str, later: str = "") -> list[str]:
    """Turn what was counted in a page into faults; `later` is the page of the next chapter."""
    faults = [f"image without alt text: {source}" for source in counts["unlabelled"]]
    faults += [f"figure that does not open: {source}" for source in counts["closed"]]
    faults += [f"figure too small to read: {source}" for source in counts["tiny"]]
    if path.startswith("notebooks/"):
        wanted = [name for name in (*LINKED, later) if name and name not in counts["links"]]
        faults += [f"no link to {name}" for name in wanted]
    if path == "book/index.html" and not any("minutes" in head for head in counts["heads"]):
        faults.append("no minutes on the front page")
    if not counts["icon"]:
        faults.append("no icon")
    if counts["cut"]:
        faults.append("{cut} formulas that are cut off".format(**counts))
    if counts["nameless"]:
        faults.append("{nameless} sliders without a name".format(**counts))
    if counts["typeset"] < counts["formulas"] or counts["wrong"]:
        faults.append("{typeset} of {formulas} formulas typeset, {wrong} wrong".format(**counts))
    if counts["shown"] < counts["widgets"]:
        faults.append("{shown} of {widgets} widgets shown".format(**counts))
    if counts["sideways"] > 0:
        faults.append("scrolls sideways by {sideways} px".format(**counts))
    return faults


@dataclass(frozen=True)
class Site:
    """What is checked, and with what."""

    browser: Browser
    base: str
    pages: list[str]
    axe: Path | None = None
    shots: Path | None = None


def check(site: Site, path: str, view: str, mode: str) -> list[str]:
    """Load one page in one view and colour scheme; return its faults and leave a screenshot."""
    width, height = VIEWS[view]
    page = site.browser.new_page(viewport={"width": width, "height": height}, color_scheme=mode)
    page.set_default_timeout(SLOW)
    faults: list[str] = []
    listen(page, site.base, faults)
    page.goto(site.base + path, wait_until="networkidle")
    chapters = [one for one in site.pages if one.startswith("notebooks/")]
    later = next((Path(one).name for one in chapters if one > path), "")
    seen = judge(page.evaluate(COUNTS), path, later)
    for _ in range(PATIENCE):  # formulas and widgets are drawn after the page has loaded
        if not seen:
            break
        page.wait_for_timeout(500)
        seen = judge(page.evaluate(COUNTS), path, later)
    faults += seen
    if site.axe:
        page.add_script_tag(path=site.axe)
        found = page.evaluate(AXE)
        faults += [f"axe: {n} x {rule}: {html}" for rule, n, html in found if rule not in THEIRS]
    if site.shots:
        name = f"{path.replace('/', '-')}-{view}-{mode}.png"
        page.screenshot(path=site.shots / name, full_page=True)
    page.close()
    return faults


def main() -> int:
    """Check every page; return 1 if any has a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("site", type=Path, help="the folder with the built pages")
    parser.add_argument("--shots", type=Path, default=Path("_output/shots"), help="for screenshots")
    parser.add_argument("--browser", default=shutil.which("chromium"), help="path of Chromium")
    parser.add_argument("--axe", type=Path, help="axe.min.js of the npm package axe-core")
    parser.add_argument("--only", default="", help="check the pages with this in their path")
    options = parser.parse_args()
    if not options.browser:
        print("skipped: there is no Chromium here (Debian: apt-get install chromium)")
        return 0
    options.shots.mkdir(parents=True, exist_ok=True)
    found = (page.relative_to(options.site).as_posix() for page in options.site.rglob("*.html"))
    pages = sorted(page for page in found if not page.startswith("_static/"))
    server, base = serve(options.site)
    total, wanted = 0, [page for page in pages if options.only in page]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.browser, args=FLAGS)
        site = Site(browser, base, pages, options.axe, options.shots)
        for path, view, mode in itertools.product(wanted, VIEWS, ("light", "dark")):
            faults = check(site, path, view, mode)
            print(f"{path} {view} {mode}:", *(faults or ["ok"]), sep="\n    " if faults else " ")
            total += len(faults)
        browser.close()
    server.shutdown()
    print(f"{len(wanted)} pages, {total} faults; screenshots in {options.shots}")
    return int(total > 0 or not wanted)


if __name__ == "__main__":
    sys.exit(main())
