"""What the rigs have found, kept as JSON in the repository, and the page of promises that is made of it."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trueup import __version__
from trueup.kernel import clock


def commit() -> str:
    """Return the commit of the code that runs, with a plus when files differ from it; the version where there is no git."""
    here = Path(__file__).resolve().parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", ":/src"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def stamped(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures with the day and the commit they were found at."""
    return {**figures, "date": clock.today().isoformat(), "commit": commit()}


def record(file: Path, name: str, figures: Mapping[str, Any]) -> None:
    """Put one run's figures into the record, in the place of earlier ones of the same name."""
    known = read(file)
    known[name] = dict(figures)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", "utf-8")


def read(file: Path) -> dict[str, Any]:
    """Return the record, empty when there is none yet."""
    return dict(json.loads(file.read_text("utf-8"))) if file.exists() else {}
