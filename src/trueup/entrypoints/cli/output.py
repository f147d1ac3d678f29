"""What every command shares: data on stdout, talk on stderr, exit codes that are a contract."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from trueup.kernel.errors import Broken, Busy, Held, Refused, Trouble
from trueup.kernel.strict_json import plain
from trueup.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from trueup.pipeline.house import House

OK, DIFFERS, USAGE, AWAY, FORBIDDEN, CONFLICT, ANOTHER_PERSON, INTERNAL = 0, 1, 2, 3, 4, 5, 6, 70
"""0 done · 1 finished, some items failed or differ · 2 usage or configuration · 3 a system or the database is away ·
4 not allowed · 5 conflict · 6 needs another person · 70 internal error"""

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Talk to the person on stderr."""
    console.print(text, markup=False, soft_wrap=True)


def show(data: Any, as_json: bool, human: Callable[[Any], None] | None = None) -> None:
    """Write data on stdout: JSON when asked for, else as the command's own table or text."""
    data = flat(data)
    if as_json or human is None:
        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    else:
        human(data)


def flat(value: Any) -> Any:
    """Turn rows and decimals into JSON-plain values."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): flat(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [flat(item) for item in value]
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    return plain(value) if not isinstance(value, float) else value


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table on stdout; numbers right aligned."""
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    made = Table(title=title, title_justify="left", box=None, header_style="bold")
    for column in columns:
        right = column.strip("#") != column
        made.add_column(column.strip("#"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*("" if cell is None else str(cell) for cell in row))
    out.print(made)


def workspace_folder(given: Path | None) -> Path:
    """Return the workspace: the option, `TRUEUP_WORKSPACE`, this folder, or the demo's."""
    if given is not None:
        return given
    if os.environ.get("TRUEUP_WORKSPACE"):
        return Path(os.environ["TRUEUP_WORKSPACE"])
    here = Path.cwd()
    demo = here / ".trueup" / "demo" / "workspace"
    return demo if not (here / "trueup.yaml").is_file() and demo.is_dir() else here


def settings(given: Path | None) -> Settings:
    """Load the workspace's settings."""
    return load(workspace_folder(given))


def house_of(given: Path | None) -> "House":
    """Open the database and build the house of a workspace."""
    from trueup.entrypoints import bootstrap  # here, because a command that needs no house starts faster without

    chosen = settings(given)
    return bootstrap.build(chosen, bootstrap.open_database(chosen, say, size=6, name="trueup-cli"))


@contextmanager
def answers(as_json: bool = False) -> Iterator[None]:
    """Turn every trouble into one sentence on stderr and its exit code; never a traceback."""
    try:
        yield
    except SettingsError as wrong:
        leave(USAGE, str(wrong), as_json)
    except Busy as away:
        leave(AWAY, str(away), as_json, retryable=True)
    except Refused as no:
        leave(FORBIDDEN if no.status in (401, 403) or no.code == "sign_in" else CONFLICT, str(no), as_json)
    except Held as waits:
        leave(ANOTHER_PERSON, str(waits), as_json)
    except Broken as wrong:
        leave(USAGE, str(wrong), as_json)
    except Trouble as trouble:
        leave(DIFFERS, str(trouble), as_json)


@contextmanager
def acts(as_json: bool) -> Iterator[None]:
    """Answer troubles as every command does; what does not fit the state is a conflict, not a second person."""
    with answers(as_json):
        try:
            yield
        except Held as waits:
            if waits.code == "ANOTHER_PERSON":
                raise
            leave(CONFLICT, str(waits), as_json, hold=waits.code)


def leave(code: int, text: str, as_json: bool = False, **more: Any) -> NoReturn:
    """End the command with a sentence and a code."""
    if as_json:
        sys.stdout.write(json.dumps({"error": text, "exit_code": code, **more}) + "\n")
    else:
        say(text)
    raise typer.Exit(code)
