"""An approved time entry from a signed call to two subscribers: inbox, mapping, ownership, canonical store, CloudEvent out.

Ours    a hub with its workers in one process; 16 connections call it, a twentieth of the calls come twice
Limit   what Node-RED, which keeps nothing, passes on to two targets on such a machine: 650 events/s
Killed  the same with subscribers that take two seconds to answer, and the hub killed in the middle: every entry reaches
        both, no entry as two events. What was under way when it died goes out again under its own id, and is counted.
"""

import base64
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ground import call, close, free_port, hub, open_house
from measure import Figure, p50, p99
from trueup.connectors.sdk.webhook import sign
from trueup.kernel.ids import derive
from trueup.pipeline.house import House
from trueup.settings import load
from trueup.store import crosswalk, embedded, objects
from trueup.store.crosswalk import Link
from trueup.store.objects import Held

EVENTS = 10_000
PACED = 4_000
KILLED = 4_000
CONNECTIONS = 16
NODE_RED = 650.0
PEOPLE = 100
PATHS = ("/one", "/two")
SECRET = "two-targets-and-a-secret"
PATIENCE_SECONDS = 180.0


def measure() -> Iterator[Figure]:
    """As fast as it goes; then at half of that, for the time of one; then slow subscribers and a killed hub."""
    with _firm() as firm:
        with _targets(firm, 0.0) as targets, hub(firm.workspace, firm.database) as (address, _):
            _post(firm, address, 0, 500)  # warms up
            targets.wait({f"e0-{n}" for n in range(500)})
            sent = _post(firm, address, 1, EVENTS)
            codes = {f"e1-{n}" for n in range(EVENTS)}
            arrived = targets.wait(codes)
            rate = EVENTS / (max(max(times) for times in arrived.values()) - min(sent.values()))
            _once(targets, codes)
            sent = _post(firm, address, 2, PACED, rate / 2)
            arrived = targets.wait({f"e2-{n}" for n in range(PACED)})
            took = [(max(arrived[code]) - began) * 1000 for code, began in sent.items()]
        with _targets(firm, 2.0) as targets:
            repeated = _killed(firm, targets)
    yield Figure("event_to_two_targets", "events/s", rate, NODE_RED, f"{EVENTS:,} entries, 5 % of the calls twice")
    yield Figure(
        "event_to_two_targets_p50", "ms", p50(took), None, f"call to the later target at {rate / 2:,.0f} events/s"
    )
    yield Figure("event_to_two_targets_p99", "ms", p99(took), None, "the same, 99th percentile")
    note = f"of {2 * KILLED:,}: sent again under their own ids after the kill; 0 lost, 0 as two events"
    yield Figure("event_to_two_targets_killed", "repeats", repeated, None, note)


class _Firm:
    """A workspace with one time tool and two subscribers, and its database."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.ports = free_port()
        (self.workspace / "entities").mkdir(parents=True)
        (self.workspace / "connectors").symlink_to(Path(__file__).with_name("pushed"))
        key = f"whsec_{base64.b64encode(SECRET.encode() * 2).decode()}"
        (folder / "secrets.json").write_text(json.dumps({"hook": SECRET, "key": key}), "utf-8")
        (self.workspace / "entities" / "DE01.yaml").write_text(
            "{code: DE01, name: Bench GmbH, country: DE, currency: EUR, sells_to: [DE]}", "utf-8"
        )
        subscriber = {"secret": "secret://file/../secrets.json#key", "private_network": True, "types": ["timesheet.approved"],
                      "in_flight": 500, "timeout_seconds": 30}  # fmt: skip
        (self.workspace / "trueup.yaml").write_text(
            json.dumps(
                {
                    "company": "Bench", "packages": {},
                    "systems": {"timely": {"connector": "timely", "webhook_secret": "secret://file/../secrets.json#hook"}},
                    "subscribers": {
                        path[1:]: {**subscriber, "url": f"http://127.0.0.1:{self.ports}{path}"} for path in PATHS
                    },
                }
            ),
            "utf-8",
        )  # fmt: skip
        self.settings = load(self.workspace, {})
        self.database = embedded.start(self.settings.home)
        self.house = open_house(self.settings, self.database)
        _people_and_project(self.house)


@contextmanager
def _firm() -> Iterator[_Firm]:
    with tempfile.TemporaryDirectory(prefix="trueup-bench-") as name:
        firm = _Firm(Path(name))
        try:
            yield firm
        finally:
            close(firm.house)
            embedded.destroy(firm.settings.home)


def _people_and_project(house: House) -> None:
    project = derive("project", "bench", "0")
    held = [
        Held(project, "project", 1, {
            "code": "B000-DE01", "name": "Project", "legal_entity": "DE01", "currency": "EUR", "status": "active",
            "contract": derive("contract", "bench", "0"), "customer": derive("customer", "bench", "0")}, "DE01"),
        *(
            Held(derive("resource", "bench", str(n)), "resource", 1, {
                "worker_number": str(n), "name": f"Person {n}", "email": f"p{n}@bench.example", "legal_entity": "DE01",
                "role": "Consultant", "status": "active"}, "DE01")
            for n in range(PEOPLE)
        ),
    ]  # fmt: skip
    links = [Link("timely", "worker", f"w{n}", derive("resource", "bench", str(n))) for n in range(PEOPLE)]
    with house.database.transaction() as tx:
        objects.save(tx, held)
        crosswalk.put(tx, [*links, Link("timely", "project", "p0", project)])


class _Targets:
    """What two subscribers have been sent."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def calls(self) -> list[tuple[str, str, float, str]]:
        """Return every call: path, webhook-id, time of arrival, code."""
        lines = [line.split(" ") for line in self.log.read_text("utf-8").splitlines()]
        return [
            (path, number, float(at), code) for path, number, at, code in (line for line in lines if len(line) == 4)
        ]

    def wait(self, codes: set[str]) -> dict[str, list[float]]:
        """Wait until both targets have every code; return when each arrived first at each."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            first: dict[str, dict[str, float]] = {}
            for path, _, at, code in self.calls():
                if code in codes:
                    first.setdefault(code, {}).setdefault(path, at)
            whole = {code: list(times.values()) for code, times in first.items() if len(times) == len(PATHS)}
            if len(whole) == len(codes):
                return whole
            if time.monotonic() > ends:
                raise SystemExit(f"event_to_two_targets: {len(codes) - len(whole)} of {len(codes)} have not arrived")
            time.sleep(0.2)


@contextmanager
def _targets(firm: _Firm, seconds: float) -> Iterator[_Targets]:
    log = firm.workspace.parent / f"targets-{seconds}.log"
    program = [sys.executable, str(Path(__file__).with_name("endpoints.py")), str(firm.ports), str(seconds), str(log)]
    running = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    if running.stdout.readline() != "ready\n":
        raise SystemExit("the targets do not start")
    try:
        yield _Targets(log)
    finally:
        running.terminate()
        running.wait(20)


def _calls(firm: _Firm, turn: int, numbers: list[int]) -> list[tuple[str, dict[str, str], str]]:
    scheme = firm.house.systems["timely"].connector.manifest.webhook
    assert scheme is not None
    stamp = str(int(time.time()))
    made = []
    for n in numbers:
        key = f"e{turn}-{n}"
        entry = {"id": key, "at": f"{turn:04d}", "who": f"w{n % PEOPLE}", "project": "p0", "day": f"2026-08-{1 + n % 28:02d}",
                 "minutes": 60, "billable": True, "status": "approved"}  # fmt: skip
        body = json.dumps({"entry": entry})
        made.append((key, sign(scheme, SECRET, stamp, body.encode()), body))
    return made


def _post(firm: _Firm, address: str, turn: int, count: int, rate: float = 0) -> dict[str, float]:
    """Post entries, a twentieth of them twice; return when each was sent first."""
    numbers = [n for n in range(count) for _ in range(2 if n % 20 == 0 else 1)]
    done = call(f"{address}/hooks/timely", CONNECTIONS, _calls(firm, turn, numbers), rate)
    refused = [one for one in done if one[3] != 200]
    if refused:
        raise SystemExit(f"event_to_two_targets: {len(refused)} calls were not acknowledged: {refused[0]}")
    sent: dict[str, float] = {}
    for key, began, _, _ in done:
        sent[key] = min(began, sent.get(key, began))
    return sent


def _once(targets: _Targets, codes: set[str]) -> None:
    """Stop when an entry was told as two events, or one event twice without need."""
    told = [(path, number, code) for path, number, _, code in targets.calls() if code in codes]
    if len(told) != len(PATHS) * len(codes):
        raise SystemExit(f"event_to_two_targets: {len(told)} calls for {len(codes)} entries at two targets")


def _killed(firm: _Firm, targets: _Targets) -> int:
    """Kill the hub while it is called and tells; start it again, call again what was not answered; count repeats."""
    left = _calls(firm, 3, list(range(KILLED)))
    with hub(firm.workspace, firm.database) as (address, running):
        url = f"{address}/hooks/timely"
        plan = json.dumps({"url": url, "connections": CONNECTIONS, "calls": left, "rate": KILLED / 8})
        program = [sys.executable, str(Path(__file__).with_name("load.py"))]
        calling = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert calling.stdin is not None
        calling.stdin.write(plan.encode())
        calling.stdin.close()
        time.sleep(6)  # half of the calls are in, and the first ones are under way to targets that take their time
        running.kill()
        assert calling.stdout is not None
        answered = {key for key, _, _, status in json.loads(calling.stdout.read()) if status == 200}
        calling.wait(60)
    with hub(firm.workspace, firm.database) as (address, _):
        again = [one for one in left if one[0] not in answered]
        call(f"{address}/hooks/timely", CONNECTIONS, again)
        targets.wait({one[0] for one in left})
        time.sleep(5)
    numbers: dict[tuple[str, str], list[str]] = {}
    for path, number, _, code in targets.calls():
        numbers.setdefault((path, code), []).append(number)
    doubled = [key for key, ids in numbers.items() if len(set(ids)) > 1]
    if doubled or not answered or len(answered) == len(left):
        raise SystemExit(
            f"event_to_two_targets: {len(doubled)} told as two events; {len(answered)} answered before the kill"
        )
    return sum(len(ids) - 1 for ids in numbers.values())
