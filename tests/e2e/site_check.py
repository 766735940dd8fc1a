"""Open every page of the built site in Chromium and fail on whatever a reader would trip over.

Not part of pytest. In an environment of its own (playwright is no dependency of the course):

    python3.11 -m venv /tmp/e2e && /tmp/e2e/bin/pip install playwright==1.65.2
    /tmp/e2e/bin/python tests/e2e/site_check.py _output/book/_build/html --shots _output/shots

Each page is loaded wide and 420 px narrow, light and dark. Faults: a request to another host, a
failed request, an error in the page or its console, a formula that was not typeset, a widget that
does not show, an image without alt text, a page that scrolls sideways.
"""

import argparse
import functools
import http.server
import itertools
import shutil
import sys
import threading
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
VIEWS = {"wide": (1300, 900), "phone": (420, 860)}
COUNTS = """() => {
    const all = (selector) => [...document.querySelectorAll(`article ${selector}`)];
    return {
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


def serve(site: Path) -> tuple[http.server.ThreadingHTTPServer, str]:
    """Serve a folder on a free local port; return the server and its address."""
    handler = functools.partial(_Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/"


def listen(page: Page, base: str, faults: list[str]) -> None:
    """Note every fault that the browser reports while the page is open."""

    def request(made: Request) -> None:
        if not made.url.startswith((base, "data:", "blob:", "about:")):
            faults.append(f"asked an outside host: {made.url}")

    def response(got: Response) -> None:
        if got.status >= 400 and not got.url.endswith("/favicon.ico"):
            faults.append(f"HTTP {got.status}: {got.url}")

    def console(message: ConsoleMessage) -> None:
        if message.type == "error" and "favicon.ico" not in str(message.location):
            faults.append(f"console: {message.text}")

    page.on("request", request)
    page.on("response", response)
    page.on("requestfailed", lambda made: faults.append(f"failed: {made.url}"))
    page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
    page.on("console", console)


def judge(counts: dict[str, Any]) -> list[str]:
    """Turn what was counted in a page into faults."""
    faults = [f"image without alt text: {source}" for source in counts["unlabelled"]]
    if counts["typeset"] < counts["formulas"] or counts["wrong"]:
        faults.append("{typeset} of {formulas} formulas typeset, {wrong} wrong".format(**counts))
    if counts["shown"] < counts["widgets"]:
        faults.append("{shown} of {widgets} widgets shown".format(**counts))
    if counts["sideways"] > 0:
        faults.append("scrolls sideways by {sideways} px".format(**counts))
    return faults


def check(browser: Browser, base: str, path: str, view: str, mode: str, shots: Path) -> list[str]:
    """Load one page in one view and colour scheme; return its faults and leave a screenshot."""
    width, height = VIEWS[view]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=mode)
    page.add_init_script(f"localStorage.setItem('mode', '{mode}')")
    faults: list[str] = []
    listen(page, base, faults)
    page.goto(base + path, wait_until="networkidle")
    seen = judge(page.evaluate(COUNTS))
    for _ in range(PATIENCE):  # formulas and widgets are drawn after the page has loaded
        if not seen:
            break
        page.wait_for_timeout(500)
        seen = judge(page.evaluate(COUNTS))
    faults += seen
    page.screenshot(path=shots / f"{path.replace('/', '-')}-{view}-{mode}.png", full_page=True)
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
    options = parser.parse_args()
    options.shots.mkdir(parents=True, exist_ok=True)
    found = (page.relative_to(options.site).as_posix() for page in options.site.rglob("*.html"))
    pages = sorted(page for page in found if not page.startswith("_static/"))
    server, base = serve(options.site)
    total = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.browser, args=FLAGS)
        for path, view, mode in itertools.product(pages, VIEWS, ("light", "dark")):
            faults = check(browser, base, path, view, mode, options.shots)
            print(f"{path} {view} {mode}:", *(faults or ["ok"]), sep="\n    " if faults else " ")
            total += len(faults)
        browser.close()
    server.shutdown()
    print(f"{len(pages)} pages, {total} faults; screenshots in {options.shots}")
    return int(total > 0 or not pages)


if __name__ == "__main__":
    sys.exit(main())
