"""From a deal's win in the CRM to its project in every system, with ids and status back in the CRM: the latency of one.

Ours   a hub of its own process beside the simulators: a webhook tells of the win, the record is fetched, kept, mapped and
       judged, the deal validated, its projects made, every write put into the ledger, sent in its order, confirmed
Limit  a bare durable process: one workflow of DBOS whose first step fetches the deal and whose further steps make the
       same writes, bodies and order, to the same records of the same simulators; nothing is kept, judged or looked up
"""

import time
from collections.abc import Iterator
from typing import Any

from dbos import DBOS, DBOSConfig

from ground import Ground, close, ground_with_simulators, hub
from measure import Figure, p50, p95
from trueup.pipeline.house import House
from trueup.sandbox.control import Control
from trueup.sandbox.desks.sales import deal_id

PATIENCE_SECONDS = 120.0
CALM_SECONDS = 0.4
POLL_SECONDS = 2.0
OPEN = """
    select (select count(*) from inbox where state = 'pending')
        + (select count(*) from deliveries
            where state in ('planned', 'due', 'sending', 'unknown', 'landed', 'processing'))
        + (select count(*) from dbos.workflow_status where status in ('ENQUEUED', 'PENDING', 'DELAYED'))
"""


def measure() -> Iterator[Figure]:
    """Win every deal of the demo firm, one after the other; then make the same calls barely."""
    with ground_with_simulators() as (site, control):
        house = site.house()
        control.advance()
        deals = [deal["code"] for deal in control.firm()["deals"] if deal["type"] == "new" and deal["stage"] == "won"]
        with hub(site.settings.workspace, site.at("trueup")) as (address, _):
            control.hub(address)
            calm(house, control)
            ours = [seconds for code in deals if (seconds := win(house, control, code)) is not None]
            writes = [made for code in deals if (made := written(house, code))]
        bare = barely(site, house, writes)
        close(house)
    note = f"{len(ours)} deals, {sum(map(len, writes)) / len(writes):.0f} writes each; median"
    yield Figure("deal_to_project", "s", p50(ours), p50(bare), note)
    yield Figure("deal_to_project_p95", "s", p95(ours), p95(bare), "the same, 95th percentile")


def calm(house: House, control: Control) -> None:
    """Wait until nobody has anything to do, and has had nothing for a moment."""
    ends = time.monotonic() + PATIENCE_SECONDS
    quiet_since: float | None = None
    known = len(control.firm()["people"])
    while time.monotonic() < ends:
        with house.database.transaction() as tx:
            busy = tx.value(OPEN) or tx.value("select count(*) from objects where kind = 'resource'") < known
        if busy or control.state()["pending_webhooks"]:
            quiet_since = None
        elif quiet_since is None:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > CALM_SECONDS:
            return
        time.sleep(0.02)
    raise SystemExit("deal_to_project: the hub does not come to rest")


def win(house: House, control: Control, code: str) -> float | None:
    """Let sales win one deal; return the seconds until its last write is confirmed, None for a deal that is held."""
    with house.database.transaction() as tx:
        last = tx.value("select coalesce(max(sequence), 0) from deliveries")
    began = time.time()
    control.act("salesforce", "edit", table="Opportunity", id=deal_id(code), changes={"StageName": "Closed Won"})
    ends = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends:
        with house.database.transaction() as tx:
            row = tx.row(
                """
                select count(*) as writes, count(*) filter (where d.state <> 'confirmed') as unsettled,
                    count(*) filter (where d.object = 'Opportunity') as told,
                    count(*) filter (where d.kind = 'project') as projects,
                    extract(epoch from max(d.settled_at)) as settled
                from deliveries d where d.sequence > %s
                """,
                (last,),
            )
        if row and row["told"] and not row["unsettled"]:
            calm(house, control)
            return float(row["settled"]) - began if row["projects"] else None
        time.sleep(0.01)
    raise SystemExit(f"deal_to_project: {code} has not arrived")


def written(house: House, code: str) -> list[dict[str, Any]]:
    """Return the writes of a deal's set-up in the order in which they were made; none when it was held."""
    with house.database.transaction() as tx:
        contract = tx.value("select gid from objects where kind = 'contract' and body ->> 'code' = %s", (code,))
        rows = tx.rows(
            """
            select d.system, d.object, d.gid, d.body, d.external_id, d.kind from deliveries d
            where d.state = 'confirmed' and d.body is not null and (d.gid = %(contract)s
                or d.gid in (select gid from objects where body ->> 'contract' = %(contract)s)
                or d.gid in (select t.gid from objects t join objects p on p.gid = t.body ->> 'project'
                             where p.body ->> 'contract' = %(contract)s))
            order by d.settled_at, d.sequence
            """,
            {"contract": contract},
        )
    return rows if any(row["kind"] == "project" for row in rows) else []


def barely(site: Ground, house: House, deals: list[list[dict[str, Any]]]) -> list[float]:
    """Make the same writes from a durable process that does nothing else; return the seconds of each deal."""
    site.copy("postgres", "bare")
    config: DBOSConfig = {
        "name": "bare",
        "system_database_url": site.at("bare").replace("postgresql://", "postgresql+psycopg://", 1),
        "log_level": "CRITICAL",
    }
    DBOS(config=config)

    @DBOS.workflow()
    def set_up(number: int) -> None:
        first = next(write for write in deals[number] if write["object"] == "Opportunity")
        crm = house.systems[first["system"]].client
        DBOS.run_step({"name": "fetch"}, lambda: bool(crm.get("Opportunity", first["external_id"])))
        for write in deals[number]:
            DBOS.run_step({"name": write["object"]}, lambda write=write: bool(_send(house, write)))

    DBOS.launch()
    took = []
    try:
        for number in range(len(deals)):
            began = time.perf_counter()
            set_up(number)
            took.append(time.perf_counter() - began)
    finally:
        DBOS.destroy()
    return took


def _send(house: House, write: dict[str, Any]) -> object:
    client = house.systems[write["system"]].client
    return client.send(write["object"], write["gid"], write["body"], write["external_id"])
