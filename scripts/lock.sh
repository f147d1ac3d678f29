#!/bin/sh
# Resolves the requirement lists anew, for every supported Python and platform, with hashes and without any address.
# `sh scripts/lock.sh --upgrade` takes newer releases; without it what is pinned stays where it can.
set -eu

venv=${VENV:-.venv}
if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    [ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
    uv=$venv/bin/uv
fi

compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-package trueup "$@"
}

compile pyproject.toml --output-file requirements/runtime.txt "$@"
compile --group pyproject.toml:dev --constraint requirements/runtime.txt --output-file requirements/dev.txt "$@"
printf 'hatchling\neditables\n' |
    compile - --constraint requirements/runtime.txt --output-file requirements/build.txt "$@"

if grep -nE '://|^-' requirements/*.txt; then
    echo "lock: a list names an address or an option; it must hold packages and hashes only" >&2
    exit 1
fi
