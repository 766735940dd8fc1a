#!/usr/bin/env bash
# The checks that need a browser, in an environment of their own; run by `make e2e`. `short` is what
# continuous integration runs: one chapter in JupyterLab.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v chromium > /dev/null; then
    echo "skipped: there is no Chromium here (Debian: apt-get install chromium)"
    exit 0
fi
own=.venv-e2e
test -d "$own" || .venv/bin/python -m venv "$own"
if ! "$own/bin/python" -m pip install --quiet playwright==1.65.2; then
    echo "skipped: playwright, which moves the browser, could not be installed"
    exit 0
fi
if [[ ${1:-} == short ]]; then
    exec "$own/bin/python" tests/e2e/lab_check.py --python .venv/bin/python --chapters 03
fi
npm install --silent --no-save --no-package-lock --prefix "$own" axe-core@4.14.1
axe=$own/node_modules/axe-core/axe.min.js
"$own/bin/python" tests/e2e/lab_check.py --python .venv/bin/python
"$own/bin/python" tests/e2e/planted.py --axe "$axe"
site=_output/book/_build/html
if [[ -d $site ]]; then
    "$own/bin/python" tests/e2e/site_check.py "$site" --axe "$axe"
else
    echo "skipped: there is no site here; \`make book\` builds it"
fi
