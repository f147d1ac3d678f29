"""Planted bugs: what a promise must not survive is put into a copy of the code, and a rig has to notice.

A bug is planted together with what switches the neighbouring layers off: a bug that another layer hides teaches
nothing about the oracle. What is planted is text for text; a text that is not there makes the entry stale, and a
stale entry counts as not caught.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trueup.kernel.errors import Broken

SOURCE = Path(__file__).resolve().parents[2]
FILE = SOURCE.parents[1] / "tests" / "mutants.yaml"
LONGEST_SECONDS = 1200
PROGRAM = "from trueup.entrypoints.cli.main import main; main()"
Verdict = Literal["caught", "survived", "stale", "broken"]


class Change(BaseModel):
    """A text in a file of ours and what stands there instead; `or` is another one for code of another time."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    file: str = Field(alias="in")
    find: str
    put: str
    other: "Change | None" = Field(default=None, alias="or")


class Mutant(BaseModel):
    """One planted bug.

    kills  the entry of the promise's list it stands for
    rig    the command line that must notice
    plant  the bug; off: what switches off the layers that would hide it, and why
    needs, unless  files of ours: without the one, or beside the other, there is nothing to plant it in
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    promise: str
    kills: str
    rig: str
    plant: list[Change]
    off: list[Change] = []
    off_why: str = ""
    needs: str = ""
    unless: str = ""
    sample: bool = False

    def fits(self) -> bool:
        """Say whether the code is there that the bug is planted in."""
        here = not self.needs or (SOURCE / self.needs).exists()
        return here and not (self.unless and (SOURCE / self.unless).exists())


class Unplanted(BaseModel):
    """An entry of a promise's list that no rig is shown, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    promise: str
    kills: str
    why: str


class Ledger(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    mutants: list[Mutant]
    unplanted: list[Unplanted] = []


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one planted bug."""

    id: str
    promise: str
    kills: str
    verdict: Verdict
    said: str
    seconds: float


def load(file: Path = FILE) -> Ledger:
    """Read the ledger of planted bugs.

    Raises    Broken naming what is wrong with it, or when the file is not there: it is part of the source, not of the package.
    """
    try:
        return Ledger.model_validate(YAML(typ="safe", pure=True).load(file.read_text("utf-8")))
    except (OSError, YAMLError, ValidationError) as wrong:
        raise Broken(f"{file.name}: {wrong}") from wrong


def planted(mutant: Mutant, folder: Path) -> str:
    """Copy our code into a folder and plant a bug in it; return why it cannot be planted, or nothing."""
    shutil.copytree(SOURCE, folder / "trueup", ignore=shutil.ignore_patterns("__pycache__"))
    for change in (*mutant.plant, *mutant.off):
        wrong = _put(change, folder / "trueup")
        if wrong:
            return wrong
    return ""


def _put(change: Change, folder: Path) -> str:
    file = folder / change.file
    text = file.read_text("utf-8") if file.exists() else ""
    if text.count(change.find) != 1:
        if change.other is not None:
            return _put(change.other, folder)
        return f"{change.file} has this {text.count(change.find)} times: {change.find.strip().splitlines()[0][:80]}"
    file.write_text(text.replace(change.find, change.put), "utf-8")
    return ""


def tried(mutant: Mutant, folder: Path) -> Tried:
    """Plant one bug and let its rig run over it: the rig's exit code 1 says that it was noticed."""
    began = time.monotonic()

    def end(verdict: Verdict, said: str) -> Tried:
        shutil.rmtree(folder, ignore_errors=True)
        return Tried(mutant.id, mutant.promise, mutant.kills, verdict, said, round(time.monotonic() - began, 1))

    wrong = planted(mutant, folder)
    if wrong:
        return end("stale", wrong)
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", PROGRAM, *mutant.rig.split()]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment, cwd=folder, timeout=LONGEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return end("broken", f"no end after {LONGEST_SECONDS} s")
    verdicts: dict[int, Verdict] = {0: "survived", 1: "caught"}
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return end(verdicts.get(done.returncode, "broken"), _telling(lines))


def _telling(lines: Sequence[str]) -> str:
    """Return the line that says what was noticed: the first that names a violation, else the last."""
    named = [line for line in lines if line.startswith(("seed ", "killed at", "webhook:", "poll:", "deliver"))]
    return (named or list(lines) or [""])[0 if named else -1][:200]


def figures(results: Sequence[Tried], unplanted: Sequence[Unplanted]) -> dict[str, Any]:
    """Return the kill table and the survivors."""
    missed = [one for one in results if one.verdict != "caught"]
    return {
        "planted": len(results),
        "caught": len(results) - len(missed),
        "failures": len(missed),
        "survivors": [f"{one.id}: {one.verdict}: {one.said}" for one in missed],
        "unplanted": [f"{one.promise}: {one.kills}: {one.why}" for one in unplanted],
        "table": [
            {"id": one.id, "promise": one.promise, "kills": one.kills, "verdict": one.verdict, "said": one.said,
             "seconds": one.seconds} for one in results
        ],
    }  # fmt: skip
