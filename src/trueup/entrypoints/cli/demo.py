"""`trueup demo`: a consulting firm at month end, with five systems that are not really there."""

import json
import secrets
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.entrypoints.cli.output import DIFFERS, OK, answers, console, say

if TYPE_CHECKING:
    from trueup.entrypoints.demo import Demo

SCOPES = (
    "objects:read", "objects:write", "process:run", "events:read", "money:read", "cost:read", "work:read", "ops:read",
    "ops:act", "act", "admin",
)  # fmt: skip


def demo(
    once: Annotated[bool, typer.Option("--once", help="Run the whole scenario, print the figures, stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON on stdout.")] = False,
    seed: Annotated[int, typer.Option(help="Which firm is made.")] = 1,
    faults: Annotated[str, typer.Option(help="dup,ooo,drop,unk,429,5xx,slow")] = "",
    folder: Annotated[Path, typer.Option("--dir", help="Where the demo keeps its data.")] = Path(".trueup/demo"),
    address: Annotated[str, typer.Option("--listen", help="HOST:PORT of the pages.")] = "127.0.0.1:8787",
    fresh: Annotated[bool, typer.Option("--reset", help="Forget what the folder holds and begin again.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="With --once: leave database and simulators running.")] = False,
) -> None:
    """Start the demo firm, its five simulated systems and the hub, and let three months happen."""
    with answers(as_json):
        from trueup.entrypoints import logs
        from trueup.entrypoints.api.app import create, listen, running
        from trueup.entrypoints.demo import Demo, reset

        logs.configure()

        began = time.monotonic()
        folder = folder.resolve()
        host, _, port = address.rpartition(":")
        if not once:
            listen(host or "127.0.0.1", int(port)).close()  # somebody else's port is better known before all starts
        if fresh:
            reset(folder)

        def tell(text: str) -> None:
            say(f"{time.monotonic() - began:7.1f} s  {text}")

        chosen = [name for name in faults.split(",") if name]
        made = Demo(folder, seed=seed, faults=chosen, listen=address, tell=tell)
        app = create(made.house)
        with running(app, 0 if once else int(port), host or "127.0.0.1") as url:
            made.control.hub(url)
            if once:
                _once(made, began, as_json, keep)
            else:
                _stay(made, url, tell)


def _once(made: "Demo", began: float, as_json: bool, keep: bool) -> None:
    from trueup.entrypoints.demo import outcome

    made.work()
    try:
        made.live()
        figures = outcome(made, time.monotonic() - began)
    finally:
        made.stop()
    if as_json:
        sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    else:
        _print(figures)
    if not keep:
        made.close_all()
    good = figures["oracle_equal"] and not figures["duplicate_effects"] and figures["journals_balanced"]
    raise typer.Exit(OK if good else DIFFERS)


def _stay(made: "Demo", url: str, tell: Any) -> None:
    from trueup.entrypoints.demo import outcome

    token = _token(made)
    console.rule("the demo firm is open")
    say(f"pages   {url}/sign-in   (token below)")
    say(f"token   {token}")
    say(f"api     curl -H 'Authorization: Bearer {token}' {url}/v1/events")
    say("stop    Ctrl-C; start again and it goes on where it was")
    made.work()
    ended = threading.Event()

    def live() -> None:
        try:
            made.live()
            figures = outcome(made, 0.0)
            tell("the story has ended; the hub goes on working")
            _print(figures)
        except Exception as fault:
            tell(f"the story stopped: {fault}")
        finally:
            ended.set()

    threading.Thread(target=live, name="story", daemon=True).start()
    # A script's `trueup demo &` inherits an ignored SIGINT, and could not be ended politely at all.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        while True:
            time.sleep(0.5)
    except KeyboardInterrupt:
        say("stopping")
    finally:
        made.stop()
        made.close_all()


def _token(made: "Demo") -> str:
    """Return the demo's own token, the same after a restart."""
    from trueup.store import access

    path = made.folder / "token"
    if not path.exists():
        path.write_text("tu_" + secrets.token_urlsafe(24), "utf-8")
        path.chmod(0o600)
    token = path.read_text("utf-8").strip()
    with made.database.transaction() as tx:
        access.issue(tx, "demo", SCOPES, token=token)
    return token


def _print(figures: dict[str, Any]) -> None:
    say("")
    for name in ("opportunities_won", "projects", "time_entries", "expenses", "invoices", "journals"):
        say(f"{name.replace('_', ' '):>20}  {figures[name]:,}")
    for name in ("billed", "recognised", "unbilled", "deferred"):
        amounts = "   ".join(f"{amount} {currency}" for currency, amount in sorted(figures[name].items()))
        say(f"{name:>20}  {amounts}")
    for code, held in figures["held"].items():
        amounts = "   ".join(f"{amount} {currency}" for currency, amount in held["amounts"].items())
        say(f"{'held':>20}  {code}: {held['count']} items   {amounts}")
    tied = figures["tie_out"]
    say(
        f"{'tie-out':>20}  {tied['compared']:,} objects compared, {tied['breaks']} breaks, all planted: {not tied['unplanned']}"
    )
    for name, sentence in tied["planted"].items():
        say(f"{'planted':>20}  {name} -> {sentence or 'NOT FOUND'}")
    say(f"{'duplicate effects':>20}  {figures['duplicate_effects']}")
    say(f"{'equals the oracle':>20}  {figures['oracle_equal']}")
    for difference in figures["differences"]:
        say(f"{'difference':>20}  {difference}")
