#!/bin/sh
# Makes the virtual environment: any Python from 3.11 on, packages pinned by hash, this project editable.
set -eu

venv=${1:-.venv}

suits() {
    "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null
}

choose() {
    # PYTHON, when it is set, is the only candidate. A version manager's shim may exist and not run: so each is run.
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
        if command -v "$candidate" >/dev/null 2>&1 && suits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "setup: Python 3.11 or newer is needed and none was found; install one, or name it: make setup PYTHON=..." >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

create() {
    python=$(choose)
    echo "setup: making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv" >/dev/null 2>&1 && return
    # Debian and Ubuntu keep pip for new environments in a package of its own.
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing $package"
        as_root apt-get install -y -q "$package" >/dev/null 2>&1 ||
            { as_root apt-get update -q >/dev/null 2>&1 && as_root apt-get install -y -q "$package" >/dev/null 2>&1; } || true
    fi
    "$python" -m venv --clear "$venv" || {
        echo "setup: $python cannot make a virtual environment; install $package (or your system's venv package)" >&2
        exit 1
    }
}

if [ ! -x "$venv/bin/python" ] || ! suits "$venv/bin/python"; then
    create
fi

# The lists are complete, so nothing has to be resolved; what is not in them, or differs by a bit, is refused.
lists='-r requirements/build.txt -r requirements/runtime.txt -r requirements/dev.txt'
echo "setup: installing packages (a minute or two, once)"
# shellcheck disable=SC2086
if ! { command -v uv >/dev/null 2>&1 &&
    uv pip install --quiet --python "$venv/bin/python" --require-hashes --no-deps $lists 2>/dev/null; }; then
    "$venv/bin/python" -m pip install -q -q --disable-pip-version-check --no-input --require-hashes --no-deps $lists
fi
"$venv/bin/python" -m pip install -q -q --disable-pip-version-check --no-input --no-deps --no-build-isolation --editable .
touch "$venv/.ready"
echo "setup: ready"
