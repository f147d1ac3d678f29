"""A month's billing run of 100,000 approved time entries over 200 contracts, from the database to drafts in it.

Ours   `time_to_billing.bill`: facts read, priced by rate lines, caps kept, every minute moved in the bucket ledger, a
       charge with its trace and an allocation for each, drafts with lines and tax, their commands to the ERP
Limit  the same rows read by the fastest reader (COPY as CSV into Polars), joined and multiplied there, and the same
       numbers of rows written by COPY into tables of the same shapes, indexes included, one commit
"""

import io
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from random import Random

import polars as pl
import psycopg

from ground import Ground, close, ground
from measure import Figure, p50
from trueup.kernel.ids import derive
from trueup.pipeline.house import House
from trueup.processes.time_to_billing import bill
from trueup.store import objects
from trueup.store.objects import Held

ENTRIES = 100_000
CONTRACTS = 200
ENTRIES_OF_A_PERSON = 60
"""In the month: more would be days of over 24 hours, and brakes would hold what they are on."""
TIMES = 3
ROLES = ("Partner", "Principal", "Consultant", "Analyst")
COUNTRIES = ("DE", "FR", "US")
PERIOD, ENTITY = "2026-08", "DE01"
FIRST = date(2026, 8, 3)
WRITTEN = ("moves", "charges", "allocations")


def measure() -> Iterator[Figure]:
    """Bill in a fresh copy of the same month each time, and the bare way in the same copy after it."""
    ours, bare = [], []
    with ground() as site:
        house = site.house()
        month(house)
        close(house)
        for turn in range(TIMES):
            site.copy("trueup", f"turn_{turn}")
            house = site.house(f"turn_{turn}")
            began = time.perf_counter()
            figures = bill(house, PERIOD, ENTITY, "benchmark")
            ours.append(time.perf_counter() - began)
            rows = check(house, figures["invoices"])
            close(house)
            bare.append(bare_run(site, f"turn_{turn}", rows))
            site.drop(f"turn_{turn}")
    note = f"{CONTRACTS} drafts, {sum(rows.values()):,} rows written"
    yield Figure("billing_hundred_thousand", "s", p50(ours), p50(bare), note)
    yield Figure("billing_rate", "entries/s", ENTRIES / p50(ours), ENTRIES / p50(bare), "the same, as a rate")


def month(house: House, count: int = ENTRIES, contracts: int = CONTRACTS) -> None:
    """Make up a month of a large firm, the same every time: a third of the contracts is capped, 4 % is not billable.

    Entries and their approvals are made inside the database: a million of them in seconds.
    """
    draw = Random(7)
    for start in range(0, contracts, 1000):
        numbers = range(start, min(start + 1000, contracts))
        with house.database.transaction() as tx:
            objects.save(tx, [fact for number in numbers for fact in _deal(number, draw)])
    for start in range(0, count, 200_000):
        with house.database.transaction() as tx:
            tx.run(
                ENTERED,
                {
                    "first": start, "last": min(start + 200_000, count) - 1, "people": count // ENTRIES_OF_A_PERSON, "entity": ENTITY,
                    "projects": [derive("project", "bench", f"B{number:03d}") for number in range(contracts)],
                    "contracts": contracts, "roles": list(ROLES), "day": FIRST,
                },
            )  # fmt: skip
            tx.run(APPROVED, {"first": start, "last": min(start + 200_000, count) - 1})
    with house.database.transaction() as tx:
        tx.run("analyze")


ENTERED = """
    insert into time_entries (gid, version, status, resource, project, role, worked_on, minutes, billable, notes, sheet,
        legal_entity, source_order)
    select 'tim_' || substr(md5(n::text) || md5('b' || n), 1, 26), 1, 'approved',
        'res_' || substr(md5('r' || h %% %(people)s) || 'aaaaaa', 1, 26),
        p.gid, (%(roles)s::text[])[1 + (h / 11) %% 4], %(day)s::date + (h / 13 %% 28)::int, (1 + h / 17 %% 8)::int * 15,
        h / 19 %% 25 <> 0, 'Interviews with the claims team', 'P001-2026-W32', %(entity)s, n
    from (select n, abs(hashint8(n))::bigint as h from generate_series(%(first)s::bigint, %(last)s::bigint) n) made
    join unnest(%(projects)s::text[]) with ordinality p (gid, place)
        on p.place = 1 + (h / 7) %% %(contracts)s
"""
APPROVED = """
    insert into moves (key, fact, fact_version, unit, from_bucket, to_bucket, quantity, reason, actor)
    select gid || '/1/approval', gid, 1, 'minute', 'source', 'unbilled', minutes, 'approved', 'time_entry'
    from time_entries where source_order between %(first)s and %(last)s
"""


def _deal(number: int, draw: Random) -> list[Held]:
    code = f"B{number:03d}"
    customer, contract = derive("customer", "bench", code), derive("contract", "bench", code)
    country = COUNTRIES[number % 3]
    line = {
        "key": f"{code}-L1", "package": "ADV-TM", "billing_method": "time_and_materials", "amount": "500000.00",
        "legal_entity": ENTITY, "currency": "EUR", "bill_to": customer, "cap": "450000.00" if number % 3 == 0 else None,
        "estimated_hours": None, "monthly_fee": None, "included_hours": None, "overage_rate": None,
        "markup_share": None,
    }  # fmt: skip
    bodies: list[tuple[str, str, dict[str, object]]] = [
        ("customer", customer, {
            "name": f"Customer {code}", "country": country, "tax_id": f"{country}{number}", "currency": "EUR",
            "payment_terms_days": 30, "status": "active"}),
        ("contract", contract, {
            "code": code, "name": f"Deal {code}", "customer": customer, "contract_type": "new", "amends": None,
            "value": "500000.00", "currency": "EUR", "starts_on": "2026-01-01", "ends_on": None,
            "signed_on": "2026-01-01", "lines": [line], "status": "active"}),
        ("project", derive("project", "bench", code), {
            "code": f"{code}-{ENTITY}", "name": f"Deal {code}", "contract": contract, "customer": customer,
            "legal_entity": ENTITY, "currency": "EUR", "budget": "500000.00", "status": "active"}),
    ]  # fmt: skip
    for role in ROLES:
        for valid_from in ("2026-01-01", "2026-08-15"):
            rate = str(Decimal(draw.randrange(100, 400)) + Decimal("0.50"))
            rate_line = derive("rate_line", "bench", code, role, valid_from)
            bodies.append(("rate_line", rate_line, {
                "contract": contract, "role": role, "rate": rate, "currency": "EUR", "valid_from": valid_from,
                "valid_to": None, "status": "active"}))  # fmt: skip
    return [Held(gid, kind, 1, body, ENTITY if kind == "project" else None, fresh=True) for kind, gid, body in bodies]


def check(house: House, drafts: int) -> dict[str, int]:
    """Return how many rows the run wrote into each table; stops when minutes were lost."""
    with house.database.transaction() as tx:
        minutes = tx.value("select sum(minutes) from time_entries")
        kept = tx.value("select sum(quantity) from buckets where bucket <> 'source'")
        moved = tx.value("select count(*) from moves where reason <> 'approved'")
        rows = {"moves": moved, "charges": tx.value("select count(*) from charges"),
                "allocations": tx.value("select count(*) from allocations")}  # fmt: skip
        entries = tx.value("select count(*) from time_entries")
        contracts = tx.value("select count(*) from objects where kind = 'contract'")
    if minutes != kept or drafts != contracts or moved < entries:
        raise SystemExit(f"billing: {minutes} minutes, {kept} in buckets, {drafts} drafts, {rows}")
    return rows


def bare_run(site: Ground, database: str, rows: dict[str, int]) -> float:
    """Read, join, multiply and write by the shortest way there is; return the seconds it took."""
    with psycopg.connect(site.at(database)) as connection:
        for table in WRITTEN:
            connection.execute(f"create table bare_{table} (like {table} including all)")
        connection.commit()
        began = time.perf_counter()
        entries = _read(connection, "select gid, project, role, worked_on, minutes, billable from time_entries")
        projects = _read(
            connection, "select gid as project, body ->> 'contract' as contract from objects where kind = 'project'"
        )
        rates = _read(
            connection,
            "select body ->> 'contract' as contract, body ->> 'role' as role, (body ->> 'valid_from')::date as valid_from, "
            "((body ->> 'rate')::numeric * 1000000)::bigint as rate from objects where kind = 'rate_line'",
        )
        priced = (
            entries.join(projects, on="project")
            .sort("worked_on")
            .join_asof(
                rates.sort("valid_from"), left_on="worked_on", right_on="valid_from", by=["contract", "role"],
                strategy="backward", check_sortedness=False,
            )
            .with_columns(amount=(pl.col("minutes") * pl.col("rate") + 300_000) // 600_000 * 10_000)
        )  # fmt: skip
        for table, columns in _shapes(priced).items():
            frame = priced.head(rows[table]).select(**columns)
            with connection.cursor().copy(f"copy bare_{table} ({', '.join(columns)}) from stdin (format csv)") as into:
                into.write(frame.write_csv(include_header=False).encode())
        connection.commit()
        return time.perf_counter() - began


def _read(connection: psycopg.Connection[tuple[object, ...]], query: str) -> pl.DataFrame:
    with connection.cursor().copy(f"copy ({query}) to stdout (format csv, header)") as out:
        return pl.read_csv(io.BytesIO(b"".join(bytes(part) for part in out)), try_parse_dates=True)


def _shapes(priced: pl.DataFrame) -> dict[str, dict[str, pl.Expr]]:
    """Return what the bare way writes: the columns of each table that our run fills."""
    key = pl.concat_str("gid", pl.lit("/1/0-"), "minutes")
    document = pl.col("project").str.replace("prj", "inv")
    line = pl.concat_str(pl.lit("1-time-"), "role", pl.lit("-"), pl.col("rate").cast(pl.String))
    text = pl.lit
    return {
        "moves": {
            "key": pl.concat_str(text(f"{PERIOD}/{ENTITY}/billing/"), key, text("/unbilled")), "fact": pl.col("gid"),
            "fact_version": text(1), "unit": text("minute"), "from_bucket": text("unbilled"),
            "to_bucket": text("on_draft"), "quantity": pl.col("minutes"), "charge": key, "document": document,
            "line_key": line, "reason": text("billing run"), "actor": text("billing"),
        },
        "charges": {
            "key": key, "fact": pl.col("gid"), "fact_version": text(1), "kind": text("time"),
            "project": pl.col("project"), "contract": pl.col("contract"), "legal_entity": text(ENTITY),
            "currency": text("EUR"), "minutes": pl.col("minutes"), "rate": pl.col("rate"), "amount": pl.col("amount"),
            "bucket": text("on_draft"), "document": document, "line_key": line, "service_on": pl.col("worked_on"),
            "period": text(PERIOD), "run": text(f"{PERIOD}/{ENTITY}/billing"),
            "trace": pl.struct(rule=text("rate in force"), minutes="minutes", rate="rate").struct.json_encode(),
        },
        "allocations": {
            "charge": key, "document": document, "line_key": line, "minutes": pl.col("minutes"),
            "amount": pl.col("amount"),
        },
    }  # fmt: skip
