"""Time from kept messages to canonical rows: translated, decided, written with its history and its bucket.

Ours   `ingest` over 20,000 kept messages of the PSA's time entry shape, in batches as the worker takes them; a row in
       `time_entries`, one in `changes`, one in `crosswalk`, and for approved time a move and a bucket
Limit  COPY, binary, of as many rows into a table of the same shape, indexes included, one commit
"""

import json
import multiprocessing
import time
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from typing import Any

import psycopg

from ground import Ground, close, ground, open_house
from measure import Figure, p50, seconds
from trueup.kernel.ids import derive
from trueup.pipeline.house import House
from trueup.pipeline.ingest import ingest
from trueup.settings import Settings
from trueup.store import crosswalk, inbox, objects
from trueup.store.crosswalk import Link
from trueup.store.inbox import Arrival
from trueup.store.objects import Held

ENTRIES = 20_000
PEOPLE = 100
PROJECTS = 50
PHASES = 5
TIMES = 3
DAY_ONE = date(2026, 8, 3)
ROLES = ("Partner", "Principal", "Senior Consultant", "Consultant", "Analyst")
COLUMNS = (
    "gid", "version", "status", "resource", "project", "task", "role", "worked_on", "minutes", "billable", "notes",
    "sheet", "legal_entity", "source_order",
)  # fmt: skip
TYPES = (
    "text", "int4", "text", "text", "text", "text", "text", "date", "int4", "bool", "text", "text", "text", "int8",
)  # fmt: skip


def measure() -> Iterator[Figure]:
    """Take turns: keep, take in with one process, COPY, take in with two."""
    with ground() as site:
        house = site.house()
        people_and_projects(house)
        keeping, alone, bare, together = [], [], [], []
        for turn in range(TIMES):
            arrivals = entries(turn * 2)
            keeping.append(ENTRIES / seconds(partial(keep, house, arrivals)))
            alone.append(ENTRIES / seconds(partial(drain, house)))
            bare.append(ENTRIES / copy(site, turn))
            keep(house, entries(turn * 2 + 1))
            together.append(ENTRIES / two_processes(site))
        check(house, ENTRIES * TIMES * 2)
        close(house)
    yield Figure("time_intake", "entries/s", p50(alone), p50(bare), "kept message to canonical row, one process")
    yield Figure("time_intake_two", "entries/s", p50(together), None, "the same work, two processes")
    yield Figure("time_keep", "entries/s", p50(keeping), None, "a page's records into the inbox, before intake")


def people_and_projects(house: House) -> None:
    """Put down what time entries point to, as if HR, CRM and PSA had told us."""
    held, links = [], []
    for number in range(PEOPLE):
        gid = derive("resource", "bench", str(number))
        body = {"worker_number": str(number), "name": f"Person {number}", "email": f"p{number}@nordlys.example",
                "legal_entity": "DE01", "role": ROLES[number % 5], "status": "active"}  # fmt: skip
        held.append(Held(gid, "resource", 1, body, "DE01"))
        links.append(Link("kantata", "user", user(number), gid))
    for number in range(PROJECTS):
        gid = derive("project", "bench", str(number))
        body = {"code": f"B{number:03d}-DE01", "name": f"Project {number}", "legal_entity": "DE01", "currency": "EUR",
                "contract": derive("contract", "bench", str(number)), "status": "active",
                "customer": derive("customer", "bench", str(number))}  # fmt: skip
        held.append(Held(gid, "project", 1, body, "DE01"))
        links.append(Link("kantata", "workspace", workspace(number), gid))
        for phase in range(PHASES):
            task = derive("task", "bench", str(number), str(phase))
            held.append(Held(task, "task", 1, {"project": gid, "name": f"Phase {phase}", "status": "open"}, "DE01"))
            links.append(Link("kantata", "story", story(number, phase), task))
    with house.database.transaction() as tx:
        objects.save(tx, held)
        crosswalk.put(tx, links)


def user(number: int) -> str:
    """Return the PSA's id of a person."""
    return str(9_000_000 + number)


def workspace(number: int) -> str:
    """Return the PSA's id of a project."""
    return str(41_000_000 + number)


def story(number: int, phase: int) -> str:
    """Return the PSA's id of a phase."""
    return str(81_000_000 + number * 10 + phase)


def entries(turn: int) -> list[Arrival]:
    """Return a turn's records as the PSA's connector keeps them: ten to a timesheet, one sheet in ten not approved."""
    return [_entry(turn, turn * ENTRIES + number) for number in range(ENTRIES)]


def _entry(turn: int, number: int) -> Arrival:
    sheet, day = divmod(number, 10)
    person, week = sheet % PEOPLE, sheet // PEOPLE
    project = (person * 7 + day) % PROJECTS
    approved = sheet % 10 != 0
    worked = DAY_ONE + timedelta(days=week % 20 * 7 + day // 2)
    stamp = f"2026-11-02T08:{turn:02d}:{number % 60:02d}-07:00"
    record: dict[str, Any] = {
        "time_entry": {
            "id": str(120_000_000 + number), "created_at": "2026-10-30T08:02:11-07:00", "updated_at": stamp,
            "date_performed": worked.isoformat(), "time_in_minutes": 15 + day * 30, "billable": day != 9,
            "approved": approved, "notes": f"Interviews with the claims team, part {day}", "rate_in_cents": 0,
            "cost_rate_in_cents": 0, "currency": "EUR", "currency_symbol": "€", "currency_base_unit": 100,
            "taxable": False, "is_invoiced": False, "location": None, "workspace_id": workspace(project),
            "story_id": story(project, day % PHASES), "user_id": user(person), "role_id": str(310_000 + person % 5),
            "active_submission_id": str(150_000_000 + sheet), "recent_submission_id": str(150_000_000 + sheet),
        },
        "role": {"id": str(310_000 + person % 5), "name": ROLES[person % 5]},
        "submission": {"id": str(150_000_000 + sheet), "title": f"P{person:03d}-{turn}-W{week:02d}",
                       "status": "approved" if approved else "pending", "type": "TimesheetSubmission"},
    }  # fmt: skip
    return Arrival("time_entry", str(120_000_000 + number), stamp, json.dumps(record, ensure_ascii=False).encode())


def keep(house: House, arrivals: list[Arrival]) -> None:
    """Keep records page by page, as polling does."""
    for start in range(0, len(arrivals), 200):
        with house.database.transaction() as tx:
            inbox.keep(tx, "kantata", arrivals[start : start + 200], origin="poll", lane="volume")


def drain(house: House) -> None:
    """Take in until nothing is open."""
    while ingest(house, "volume"):
        pass


def copy(site: Ground, turn: int) -> float:
    """COPY as many rows as a turn has into a table of the same shape; return the seconds it took."""
    shapes = [
        (1, "approved", derive("resource", "bench", str(number % PEOPLE)),
         derive("project", "bench", str(number % PROJECTS)), derive("task", "bench", str(number % PROJECTS), "0"),
         "Consultant", DAY_ONE, 15 + number % 10 * 30, True, "Interviews with the claims team", "P001-2026-W35",
         "DE01", number)
        for number in range(100)
    ]  # fmt: skip
    rows = [(derive("time_entry", "bare", str(turn), str(number)), *shapes[number % 100]) for number in range(ENTRIES)]
    with psycopg.connect(site.url) as connection:
        connection.execute("create table if not exists bare_time (like time_entries including all)")
        connection.commit()
        began = time.perf_counter()
        with connection.cursor().copy(f"copy bare_time ({', '.join(COLUMNS)}) from stdin (format binary)") as into:
            into.set_types(TYPES)
            for row in rows:
                into.write_row(row)
        connection.commit()
        return time.perf_counter() - began


def two_processes(site: Ground) -> float:
    """Take in what is kept with two processes; return the seconds from their common start to the end of the later."""
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(3)
    workers = [spawn.Process(target=_other_process, args=(site.settings, site.url, gate)) for _ in range(2)]
    for worker in workers:
        worker.start()
    gate.wait(60)
    began = time.perf_counter()
    gate.wait(600)
    took = time.perf_counter() - began
    for worker in workers:
        worker.join(30)
    return took


def _other_process(settings: Settings, url: str, gate: Any) -> None:
    house = open_house(settings, url)
    gate.wait(60)
    drain(house)
    gate.wait(600)
    close(house)


def check(house: House, wanted: int) -> None:
    """Stop when anything is missing: a quick way to a wrong end is no figure."""
    with house.database.transaction() as tx:
        found = tx.row(
            """
            select (select count(*) from time_entries) as entries,
                (select count(*) from inbox where state = 'applied') as applied,
                (select count(*) from changes) as changes,
                (select count(*) from crosswalk where object = 'time_entry') as links,
                (select sum(minutes) from time_entries where status = 'approved')
                    - (select sum(quantity) from buckets where bucket = 'unbilled') as adrift
            """
        )
    if found != {"entries": wanted, "applied": wanted, "changes": wanted, "links": wanted, "adrift": 0}:
        raise SystemExit(f"time_intake: expected {wanted} of each and nothing adrift, found {found}")
