"""What a program can check of the house's own law."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "trueup"
MODULES = sorted(SOURCE.rglob("*.py"))
VENDORS = ("salesforce", "kantata", "mavenlink", "bamboohr", "concur", "netsuite", "suiteql")
MAY_NAME_VENDORS = ("connectors/", "sandbox/", "entrypoints/demo.py", "entrypoints/cli/scaffold.py")
FORBIDDEN_NAMES = {
    "utils",
    "common",
    "helpers",
    "misc",
    "manager",
    "handler",
    "service",
    "base",
    "impl",
    "factory",
    "data",
    "info",
}
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\n")


def test_the_storeys_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(lint), "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_public_name_says_what_it_is_for(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), "the module has no first sentence"
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_vendors_are_named_in_their_own_folder_only():
    found = []
    for path in MODULES:
        place = str(path.relative_to(SOURCE))
        if place.startswith(MAY_NAME_VENDORS):
            continue
        text = path.read_text("utf-8").lower()
        found += [f"{place}: {vendor}" for vendor in VENDORS if re.search(rf"\b{vendor}\b", text)]
    assert found == []


def test_no_file_has_a_name_that_says_nothing():
    assert [str(path) for path in MODULES if path.stem.strip("_") in FORBIDDEN_NAMES] == []


def test_no_registry_no_machine_and_no_lock_of_another_tool_stands_in_the_tree():
    hosts = re.compile(
        "|".join(("py" + "pi.org", "python" + "hosted.org", "registry.npm" + "js.org", "deb." + "debian.org")),
        re.IGNORECASE,
    )
    machine = "/wo" + "rk/ma" + "in"
    wrong = []
    for name in filter(None, TRACKED):
        path = ROOT / name
        if path.suffix in (".png", ".woff2", ".ico") or not path.is_file():
            continue
        text = path.read_text("utf-8", "replace")
        wrong += [name] if hosts.search(text) or machine in text else []
    assert wrong == []
    assert "uv.lock" not in TRACKED
