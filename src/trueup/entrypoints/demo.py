"""The demo firm: starts its simulators, its workspace and the hub, and lets its people live three months.

The simulators are a process of their own, as vendors are: a killed hub does not take them along, and the next start
finds them where they were.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from trueup import engine
from trueup.entrypoints import bootstrap
from trueup.entrypoints.worker import Workers
from trueup.kernel.errors import Broken, Busy, Trouble
from trueup.kernel.money import from_units
from trueup.pipeline.house import House
from trueup.pipeline.reconcile import tie_out
from trueup.processes import month_end, time_to_billing
from trueup.reporting.books import books
from trueup.sandbox.control import Control
from trueup.sandbox.host import TAKEN
from trueup.sandbox.verdict import duplicates, judge
from trueup.settings import Settings, load
from trueup.store import embedded
from trueup.store.database import Database

Tell = Callable[[str], None]
LATE_COMMIT_SECONDS = 3.0
"""A simulator's late write comes within two seconds; a real account's may take minutes."""
POLL_SECONDS = 2.0
START_SECONDS = 20.0
SETTLE_SECONDS = 900.0

_STARTED: list[subprocess.Popen[bytes]] = []
"""Simulators this process has started: they are meant to outlive it."""


def start_sandbox(folder: Path, seed: int, faults: Sequence[str], tell: Tell) -> Control:
    """Find the folder's simulators running, or start them; they go on from their journals."""
    found = _running(folder)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        log = (folder / "sandbox.log").open("ab")
        words = [sys.executable, "-m", "trueup.sandbox.host", "--dir", str(folder), "--seed", str(seed), "--port", "0"]
        server = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=dict(os.environ)
        )
        log.close()
        ends = time.monotonic() + START_SECONDS
        while (found := _running(folder)) is None:
            # Those of a hub that was killed while it started them are on their way, too: they have the folder.
            if server.poll() not in (None, TAKEN) or time.monotonic() > ends:
                raise Broken(f"the simulators did not start; see {folder.name}/sandbox.log")
            time.sleep(0.05)
        if (folder / "sandbox.pid").read_text("utf-8") == str(server.pid):
            _STARTED.append(server)
        else:
            server.kill()
            server.wait()
    if found.state()["seed"] != seed:
        raise Broken(f"this folder holds the firm of seed {found.state()['seed']}; use another folder or --reset")
    if sorted(found.state()["faults"]) != sorted(faults):
        found.faults(list(faults))
    tell("simulators: " + ", ".join(found.systems))
    return found


def _running(folder: Path) -> Control | None:
    """Return the switchboard of the simulators, when they answer."""
    if not (folder / "credentials.json").exists():
        return None
    try:
        control = Control(folder)
        control.state()
    except (Trouble, OSError, ValueError, KeyError):
        return None
    return control


def write_workspace(folder: Path, firm: Mapping[str, Any], control: Control, listen: str) -> Path:
    """Write the firm's workspace as its integration engineer would: rules in files, secrets by reference."""
    workspace = folder / "workspace"
    (workspace / "entities").mkdir(parents=True, exist_ok=True)
    yaml = YAML()
    for entity in firm["entities"]:
        with (workspace / "entities" / f"{entity['code']}.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(
                {
                    "code": entity["code"],
                    "name": entity["name"],
                    "country": entity["country"],
                    "currency": entity["currency"],
                    "sells_to": list(entity["nexus"]),
                    "letterhead": dict(entity["letterhead"]),
                },
                file,
            )
    departments = dict(zip(firm["practices"], firm["departments"], strict=True))
    kept = json.loads((folder / "sandbox" / "credentials.json").read_text("utf-8"))
    systems = {}
    for name in control.systems:
        at = f"secret://file/../sandbox/credentials.json#systems.{name}"
        systems[name] = {
            "connector": name,
            "base_url": kept["systems"][name]["base_url"],
            "token_url": kept["systems"][name]["token_url"],
            "credentials": {key: f"{at}.credentials.{key}" for key in kept["systems"][name]["credentials"]},
            "webhook_secret": f"{at}.webhook_secret",
            "poll_seconds": POLL_SECONDS,
            "per_second": 500,  # simulators bear more than the accounts they stand for
            "concurrency": 6,
            "late_commit_seconds": LATE_COMMIT_SECONDS,
        }
    document = {
        "company": firm["name"],
        "database": "embedded",
        "listen": listen,
        "packages": {
            package["code"]: {
                "name": package.get("name", package["code"]),
                "practice": package["practice"],
                "department": departments.get(package["practice"]),
                "billing_methods": [package["billing_method"]],
                "revenue_method": package["revenue_method"],
                "phases": list(package.get("phases", [])),
            }
            for package in firm["packages"]
        },
        "systems": systems,
        "owners": {
            "RATE_MISSING": "Finance operations",
            "APPROVAL_MISSING": "Project managers",
            "TAX_UNDETERMINED": "Tax",
            "RECEIPT_MISSING": "Employee",
            "CAP_EXCEEDED": "Account manager",
            "SIGNOFF_MISSING": "Project manager",
        },
    }
    with (workspace / "trueup.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    return workspace


class Demo:
    """A running demo: simulators, database, hub."""

    def __init__(self, folder: Path, *, seed: int = 1, faults: Sequence[str] = (), listen: str, tell: Tell) -> None:
        self.folder = folder
        self.seed = seed
        self.tell = tell
        self.control = start_sandbox(folder / "sandbox", seed, faults, tell)
        self.firm = self.control.firm()
        workspace = write_workspace(folder, self.firm, self.control, listen)
        self.settings: Settings = load(workspace, {})
        self.database: Database = bootstrap.open_database(self.settings, tell)
        tell("database ready")
        self.house: House = bootstrap.build(self.settings, self.database)
        self.workers: Workers | None = None
        self.engine = engine.Engine(self.database)

    def work(self) -> Workers:
        """Start the hub's workers."""
        self.workers = Workers(self.house, self.engine, poll_seconds=POLL_SECONDS).start()
        return self.workers

    def live(self) -> None:
        """Let the firm's people do stage after stage, each when the hub is quiet; goes on where it was."""
        if self.workers is None:
            raise Broken("the workers do not run")
        state = self.control.state()
        stages = list(state["stages"])
        if state["stage"] is None:
            self.tell("opening: the firm's people, customers and open deals")
            state = self.control.advance()
        while True:
            stage = self.control.state()["stage"]
            self.follow(stage)
            if stage == stages[-1]:
                return
            following = stages[stages.index(stage) + 1]
            self.tell(f"{following.replace('_', ' ')}")
            self._advance()

    def _advance(self) -> None:
        for _ in range(5):
            try:
                self.control.advance()
            except Busy:
                time.sleep(0.5)
            else:
                return
        self.control.advance()

    def follow(self, stage: str) -> None:
        """Do the hub's part of a stage: take everything in, and bill or close the month where the stage says so."""
        self.settle()
        months = {month: self.firm["months"][i] for i, month in enumerate(("august", "september", "october"))}
        name, _, posted = stage.partition("_")
        if name not in months:
            return
        start = month_end.start if posted else time_to_billing.start
        with self.database.transaction() as tx:
            for entity in self.settings.entities:
                start(tx, months[name], entity)
        self.tell(f"{'month end' if posted else 'billing run'} {months[name]}")
        self.settle()

    def settle(self) -> None:
        """Wait until the vendors have nothing more to say and the hub has nothing more to do."""
        assert self.workers is not None
        ends = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < ends:
            if not self.workers.settle(ends - time.monotonic()):
                break
            state = self.control.state()
            if not state["hub"] or not state["pending_webhooks"]:
                return
            time.sleep(0.1)
        raise Broken(f"the hub did not come to rest: {self.workers.open_work()}")

    def stop(self) -> None:
        """Stop the hub's workers."""
        if self.workers is not None:
            self.workers.stop()
            self.workers = None

    def close_all(self) -> None:
        """Stop simulators and database too; all data stay in the folder."""
        self.database.close()
        self.control.stop()
        embedded.stop(self.settings.home)


def reset(folder: Path) -> None:
    """Stop what runs for a demo folder and remove its data."""
    sandbox = _running(folder / "sandbox")
    if sandbox is not None:
        sandbox.stop()
    if folder.exists():
        embedded.destroy(folder / "workspace" / ".trueup")
        shutil.rmtree(folder)


def outcome(demo: Demo, seconds: float) -> dict[str, Any]:
    """Tie all systems out and hold the end against the oracle; returns the figures of `demo --once --json`."""
    tied = tie_out(demo.house, "demo/final")
    with demo.database.transaction() as tx:
        held = books(tx)
        open_breaks = [
            {**row, "amount": _break_amount(row)}
            for row in tx.rows("select * from breaks where closed_at is null order by number")
        ]
        failed = engine.failed(tx)
    dump = demo.control.dump()
    verdict = judge(demo.firm, dump, held, open_breaks)
    doubles = duplicates(dump)
    totals = held["revenue"]["currencies"]
    last = {currency: months[max(months)] for currency, months in totals.items()}
    journals = list(held["journals"].values())
    return {
        "systems": len(demo.control.systems),
        **held["counts"],
        "billed": {currency: month["billed_to_date"] for currency, month in last.items()},
        "held": held["held"],
        "payments": held["payments"]["currencies"],
        "recognised": {currency: month["recognised_to_date"] for currency, month in last.items()},
        "deferred": {currency: month["deferred"] for currency, month in last.items()},
        "unbilled": {currency: month["unbilled"] for currency, month in last.items()},
        "journals": len(journals),
        "journals_balanced": all(_balanced(journal) for journal in journals) and not failed,
        "tie_out": {
            "compared": tied["compared"],
            "breaks": len(open_breaks),
            "planted": verdict["planted"],
            "unplanned": verdict["unplanned"],
        },
        "duplicate_effects": len(doubles),
        "duplicates": doubles[:20],
        "oracle_equal": verdict["equal"],
        "differences": verdict["differences"][:40],
        "seconds": round(seconds, 1),
    }


def _break_amount(row: Mapping[str, Any]) -> str:
    return format(from_units(row["amount"], row["currency"]), "f") if row["currency"] else str(row["amount"])


def _balanced(journal: Mapping[str, Any]) -> bool:
    debit = sum(Decimal(line["debit"]) for line in journal["lines"])
    return debit == sum(Decimal(line["credit"]) for line in journal["lines"])
