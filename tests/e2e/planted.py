"""Plant each fault that `site_check` looks for in a page without any, and see that it is found.

Run by `make e2e` before the site is checked.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import site_check
from playwright.sync_api import sync_playwright
from site_check import FLAGS, Site, check, serve

CHAPTER, FRONT = "notebooks/00_a.html", "book/index.html"
SOUND = """<!doctype html><html lang="en"><head><title>Sound</title><link rel="icon" href="data:,">
<style>body { color: black; background: white }
div.math { width: 280px; overflow-x: auto } img { max-width: 100% }
a { display: inline-block; padding: 12px }</style></head><body><article>
<h1>Sound</h1><p id="text">Text.</p>
<div class="math"><mjx-container><mjx-math style="display: inline-block; width: 900px">k3</mjx-math>
</mjx-container></div>
<a href="figure.svg" style="display: block; overflow-x: auto">
<img alt="A figure" src="figure.svg" style="min-width: 675px"></a>
<div class="noUi-handle" role="slider" aria-label="step" aria-valuenow="1"></div>
<a href="01_b.html">next</a> <a href="glossary.html">1</a> <a href="troubleshooting.html">2</a>
<a href="references.html">3</a><table><tr><th>minutes to run</th></tr></table>
</article></body></html>"""
FIGURE = '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="20"></svg>'
# what is replaced, by what, the page, and a part of the fault that must be told
PLANTED = [
    ("overflow-x: auto }", "overflow: hidden }", CHAPTER, "cut off"),
    ("overflow-x: auto }", "display: flex; flex-direction: row-reverse }", CHAPTER, "cut off"),
    ("<mjx-container>", "<span>", CHAPTER, "formulas typeset"),
    ('aria-label="step"', "", CHAPTER, "sliders without a name"),
    ('alt="A figure"', 'alt="figure.png"', CHAPTER, "without alt text"),
    ('<a href="figure.svg"', "<div", CHAPTER, "does not open"),
    ("min-width: 675px", "", CHAPTER, "too small to read"),
    ("min-width: 675px", "width: 450px", CHAPTER, "too small to read"),
    ('<p id="text">', '<p style="width: 2000px">', CHAPTER, "scrolls sideways"),
    ('<link rel="icon" href="data:,">', "", CHAPTER, "no icon"),
    ("glossary.html", "#", CHAPTER, "no link to glossary.html"),
    ("01_b.html", "#", CHAPTER, "no link to 01_b.html"),
    ("troubleshooting.html", "#", CHAPTER, "no link to troubleshooting.html"),
    ("references.html", "#", CHAPTER, "no link to references.html"),
    ("minutes to run", "chapter", FRONT, "no minutes"),
    ("Text.", "<script>console.error('x')</script>", CHAPTER, "console: x"),
    ("Text.", "<script>throw Error('x')</script>", CHAPTER, "page error: x"),
    ("Text.", "<script src='gone.js'></script>", CHAPTER, "HTTP 404"),
    ("Text.", "<script src='http://localhost:1/x.js'></script>", CHAPTER, "outside host"),
    ('<p id="text">', '<p style="color: #999">', CHAPTER, "axe: 1 x color-contrast"),
    ("<article>", '<main style="color: #999">', FRONT, "x color-contrast"),
]


def main() -> int:
    """Plant one fault after the other; return 1 if one was not found, or a sound page has any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", default=shutil.which("chromium"), help="path of Chromium")
    parser.add_argument("--axe", type=Path, required=True, help="axe.min.js of axe-core")
    options = parser.parse_args()
    if not options.browser:
        print("skipped: there is no Chromium here (Debian: apt-get install chromium)")
        return 0
    missed, site_check.PATIENCE = 0, 1  # what is planted does not get better by waiting
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        for page in (CHAPTER, FRONT):
            Path(folder, page).parent.mkdir()
            Path(folder, page).with_name("figure.svg").write_text(FIGURE, encoding="utf-8")
        server, base = serve(Path(folder))
        browser = playwright.chromium.launch(executable_path=options.browser, args=FLAGS)
        site = Site(browser, base, [CHAPTER, "notebooks/01_b.html"], options.axe)
        for before, after, page, told in [("", "", CHAPTER, ""), ("", "", FRONT, ""), *PLANTED]:
            assert before in SOUND, before
            text = SOUND.replace(before, after) if before else SOUND
            Path(folder, page).write_text(text, encoding="utf-8")
            faults = check(site, page, "phone", "light")
            found = any(told in fault for fault in faults) if told else not faults
            missed += not found
            print("ok  " if found else "MISS", told or f"{page} is sound", "" if found else faults)
        browser.close()
        server.shutdown()
    print(f"{len(PLANTED)} faults planted, {missed} missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
