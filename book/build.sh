#!/usr/bin/env bash
# Build the course site from the stored outputs of the notebooks; run by `make book`.
# EDITION=solutions builds the instructors' edition, with every solution in its place, EDITION=class one
# without any, in its downloads too; each in a folder of its own.
# The first run needs PyPI and npm; later ones need no network.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${EDITION:-} in
    "") edition=book notebooks=notebooks ;;
    solutions) edition=book-solutions notebooks=notebooks/solutions ;;
    class) edition=book-class notebooks=_output/handouts ;;
    *) echo "EDITION=$EDITION: say class, solutions or nothing" >&2; exit 2 ;;
esac
out=$PWD/_output/$edition
venv=.venv-book

if ! cmp -s book/requirements.lock "$venv/requirements.lock"; then
    rm -rf "$venv"
    "${PYTHON:-python3.11}" -m venv "$venv"
    "$(echo "$venv"/[bS]*)/python" -m pip install --quiet -r book/requirements.lock
    cp book/requirements.lock "$venv/"
fi
bin=$(echo "$venv"/[bS]*)  # bin, or Scripts on Windows
"$bin/python" book/vendor.py

if [[ ${EDITION:-} == class ]]; then  # copies without solutions, made in the course's environment
    rm -rf "$notebooks"
    "$(echo .venv/[bS]*)/python" -m notebooks.tools.build --no-solutions
fi
rm -rf "$out/source"
mkdir -p "$out/source/notebooks"
cp -R book "$out/source/"
cp "$notebooks"/[0-9]*.ipynb "$out/source/notebooks/"
if [[ ${EDITION:-} == class ]]; then  # lesson plans hold answers
    rm "$out"/source/book/instructor/chapter_*.md
    grep -v instructor/chapter_ book/_toc.yml > "$out/source/book/_toc.yml"
fi
for path in data/README.md data/figures data/sample data/recorded/course_costs.json \
    medr1_lib; do
    if [[ -e $path ]]; then
        mkdir -p "$(dirname "$out/source/$path")"
        cp -R "$path" "$out/source/$path"
    fi
done

"$bin/jupyter-book" build -W -n --keep-going --path-output "$out" \
    --config book/_config.yml --toc "$out/source/book/_toc.yml" "$out/source"

# The page that leads to the first one has no icon of its own, and browsers would ask for one.
echo '<link rel="icon" href="_static/favicon.svg">' >> "$out/_build/html/index.html"
