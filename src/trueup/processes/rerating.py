"""Re-rating: a backdated price finds the entries it changes, and only those; old, new and difference before anything moves.

Starts on   a person's question about a changed rate line
Held by     the second person, as every adjustment
Ends with   deltas on the next bill, credits for the difference, or credit and rebill; posted facts stay as they are
Undo        `undo` while nothing is billed; afterwards the next re-rating
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import polars as pl

from trueup.billing.run import plan_run
from trueup.kernel.errors import Refused
from trueup.kernel.money import from_units
from trueup.kernel.periods import last_day, month_of
from trueup.kernel.strict_json import digest
from trueup.pipeline.house import House
from trueup.processes import corrections
from trueup.processes.drafts import carry_out
from trueup.processes.facts import facts_as_new, run_facts
from trueup.store import acts, adjustments, ledger, objects
from trueup.store.database import Tx

Policy = Literal["delta_next", "credit_partial", "credit_full_rebill"]
_BY_CHARGE = itemgetter("fact", "charge")
POLICIES: tuple[Policy, ...] = ("delta_next", "credit_partial", "credit_full_rebill")


def find(tx: Tx, house: House, since: date, contract: str | None = None) -> list[dict[str, Any]]:
    """Return billed charges whose price is another one now.

    since     first service date to look at
    contract  identifier of one contract; None for all
    Returns   fact, charge, document, line_key, project, contract, legal_entity, currency, minutes, service_on, version,
              old_rate, new_rate, rate_line, old, new, difference (units); a fact that has no rate now is left to its hold
    """
    rows = _affected(tx, since, contract)
    found: list[dict[str, Any]] = []
    for entity in sorted({row["legal_entity"] for row in rows}):
        ours = [row for row in rows if row["legal_entity"] == entity]
        found += _priced(tx, house, entity, ours)
    return [row for row in found if row["difference"]]


def _affected(tx: Tx, since: date, contract: str | None) -> list[dict[str, Any]]:
    """Read the charges that were made before a rate line of theirs changed; those of other lines are not touched.

    `offset 0` keeps each look-up by itself, so that the index answers it whatever the planner believes of the rest.
    """
    rows = tx.rows(
        """
        with changed as (
            select gid, body ->> 'contract' as contract, body ->> 'role' as role, updated_at,
                greatest((body ->> 'valid_from')::date, %(since)s) as valid_from,
                coalesce((body ->> 'valid_to')::date, 'infinity') as valid_to
            from objects
            where kind = 'rate_line' and (%(contract)s::text is null or body ->> 'contract' = %(contract)s)
                and coalesce((body ->> 'valid_to')::date, 'infinity') >= %(since)s),
        of_contract as (
            select c.fact from changed r cross join lateral (
                select fact, service_on from charges
                where contract = r.contract and created_at < r.updated_at and kind = 'time' and document is not null
                offset 0) c
            where c.service_on between r.valid_from and r.valid_to),
        of_line as (
            select c.fact from changed r cross join lateral (
                select fact, service_on from charges
                where rate_line = r.gid and created_at < r.updated_at and kind = 'time' and document is not null
                offset 0) c
            where c.service_on >= %(since)s)
        select fact from of_contract union select fact from of_line order by fact
        """,
        {"since": since, "contract": contract},
    )
    return [row for row in _standing(tx, [row["fact"] for row in rows]) if row["service_on"] >= since]


def _standing(tx: Tx, facts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the priced time of facts on documents, each charge with the deltas that were billed for it."""
    stands = [row for row in ledger.standing(tx, facts=facts) if row["minutes"] > 0 and row["kind"] == "time"]
    priced = {
        row["charge"]: row
        for row in tx.rows(
            """
            select key as charge, coalesce(sum(d.more), 0)::bigint as more, max(d.rate) as rate from charges c
            left join lateral (
                select x.amount - coalesce((select sum(amount) from reopenings where charge = x.key), 0) as more, x.rate
                from charges x where x.fact = c.fact and x.kind = 'delta' and x.trace ->> 'charge' = c.key) d on true
            where c.key = any(%s) group by c.key
            """,
            ([row["charge"] for row in stands],),
        )
    }
    return [{**row, "amount": row["amount"] + priced[row["charge"]]["more"]} for row in stands]


def _priced(tx: Tx, house: House, entity: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Price the facts as new and share what each is worth over its charges, so that the shares add up."""
    month = month_of(max(row["service_on"] for row in rows))
    facts = facts_as_new(tx, house.firm, entity, sorted({row["fact"] for row in rows}), month)
    plan = plan_run(facts, last_day("9998-12"), month)
    worth = {
        row["fact"]: row
        for row in plan.charges.filter(pl.col("kind") == "time")
        .group_by("fact")
        .agg(
            pl.col("amount", "minutes").sum(), pl.col("rate", "rate_line", "fact_version").first(),
            free=(pl.col("bucket") == "on_draft").all(),
        )
        .iter_rows(named=True)
    }  # fmt: skip
    found = []
    for fact, group in groupby(sorted(rows, key=_BY_CHARGE), itemgetter("fact")):
        parts, now = list(group), worth.get(fact)
        if now is None or now["rate"] is None or not now["free"]:
            continue
        minutes, old = sum(row["minutes"] for row in parts), sum(row["amount"] for row in parts)
        new = now["amount"] if minutes == now["minutes"] else ledger.share(now["amount"], minutes, now["minutes"])
        seen = given = 0
        for row in parts:
            seen += row["minutes"]
            upto = ledger.share(new, seen, minutes)
            found.append(
                {
                    **{name: row[name] for name in (
                        "fact", "charge", "document", "line_key", "project", "contract", "legal_entity", "currency",
                        "minutes", "service_on",
                    )},
                    "version": now["fact_version"], "old_rate": row["rate"], "new_rate": now["rate"],
                    "rate_line": now["rate_line"], "old": row["amount"], "new": upto - given,
                    "difference": upto - given - row["amount"],
                }
            )  # fmt: skip
            given = upto
        assert given == new, old
    return found


def preview(house: House, since: date, contract: str | None = None, policy: Policy = "delta_next") -> dict[str, Any]:
    """Say what a re-rating would change, and do nothing: entries, invoices, totals by currency, the documents to make."""
    with house.database.transaction() as tx:
        return _shown(tx, find(tx, house, since, _contract(tx, contract)), policy)


def _contract(tx: Tx, code: str | None) -> str | None:
    if not code:
        return None
    found = objects.by_field(tx, "contract", "code", [code])
    if code not in found and not objects.load(tx, [code] if code.startswith("con_") else []):
        raise Refused(f"there is no contract {code}", "unknown")
    return found.get(code, code)


def _shown(tx: Tx, rows: Sequence[Mapping[str, Any]], policy: Policy) -> dict[str, Any]:
    invoices = objects.load(tx, {row["document"] for row in rows})
    documents: dict[str, dict[str, Any]] = {}
    totals: dict[str, dict[str, int]] = {}
    for row in rows:
        code = invoices[row["document"]].body["code"]
        one = documents.setdefault(
            code, {"invoice": code, "currency": row["currency"], "old": 0, "new": 0, "difference": 0}
        )
        total = totals.setdefault(row["currency"], {"old": 0, "new": 0, "difference": 0})
        for name in ("old", "new", "difference"):
            one[name] += row[name]
            total[name] += row[name]
    money = ("old", "new", "difference")
    return {
        "policy": policy,
        "entries": [
            {**row, "invoice": invoices[row["document"]].body["code"], "service_on": row["service_on"].isoformat(),
             **{name: _text(row[name], row["currency"]) for name in (*money, "old_rate", "new_rate")}}
            for row in rows
        ],
        "invoices": [
            {**one, **{name: _text(one[name], one["currency"]) for name in money}, "document": _document(policy, one)}
            for one in documents.values()
        ],
        "totals": {c: {name: _text(units, c) for name, units in total.items()} for c, total in sorted(totals.items())},
    }  # fmt: skip


def _text(units: int | None, currency: str) -> str | None:
    return None if units is None else format(from_units(units, currency), "f")


def _document(policy: Policy, one: Mapping[str, Any]) -> str:
    if policy == "credit_full_rebill":
        return "a credit of all that stands, and a new draft"
    if policy == "credit_partial" and one["difference"] < 0:
        return "a credit of the difference"
    return "a line on the next bill"


@acts.looks_again
def propose(
    house: House, since: date, contract: str | None = None, policy: Policy = "delta_next", *, by: str, reason: str
) -> dict[str, Any]:
    """Propose in a transaction of its own; see `propose_in`."""
    with house.database.transaction() as tx:
        acts.look(tx)
        return propose_in(tx, house, since, contract, policy, by=by, reason=reason)


def propose_in(
    tx: Tx,
    house: House,
    since: date,
    contract: str | None = None,
    policy: Policy = "delta_next",
    *,
    by: str,
    reason: str,
) -> dict[str, Any]:
    """Propose a re-rating, one decision a legal entity; asked again for the same change it is the same decision.

    The transaction has begun with `acts.look`.

    Returns   the preview, with the numbers of the decisions
    """
    if policy not in POLICIES:
        raise Refused(f"the policy is one of {', '.join(POLICIES)}", "adjustment")
    one = _contract(tx, contract)
    more = {"by": by, "reason": reason}
    acts.note(tx, "rerating", (since, contract, policy, more), house.edition, about=[one] if one else ())
    rows = find(tx, house, since, one)
    numbers = [
        _propose(tx, entity, [row for row in rows if row["legal_entity"] == entity], policy, by, reason)
        for entity in sorted({row["legal_entity"] for row in rows})
    ]
    return {**_shown(tx, rows, policy), "adjustments": numbers}


def name_edits(tx: Tx, house: House, entity: str) -> int | None:
    """Propose the differences of entries that were given another price by an edit after they were billed.

    A changed role or day of work moves no minute, so nothing else would say that the bill is another one now.

    Returns   the decision's number, None when no price changed
    """
    facts = adjustments.take_edits(tx, entity)
    rows = _standing(tx, facts) if facts else []
    rows = [row for row in _priced(tx, house, entity, rows) if row["difference"]] if rows else []
    return (
        _propose(tx, entity, rows, "delta_next", "billing", "the entry was edited after it was billed")
        if rows
        else None
    )


def _propose(tx: Tx, entity: str, rows: Sequence[Mapping[str, Any]], policy: Policy, by: str, reason: str) -> int:
    lines = objects.load(tx, {row["rate_line"] for row in rows if row["rate_line"]})
    versions = {gid: line.version for gid, line in lines.items()}
    change = [
        [row["charge"], row["version"], row["rate_line"], versions.get(row["rate_line"], 0), row["new"]] for row in rows
    ]
    key = f"re_rate/{entity}/{digest({'rows': change})[:24]}"
    facts = [
        {
            "fact": row["fact"], "charge": row["charge"], "fact_version": row["version"], "project": row["project"],
            "currency": row["currency"], "unit": "minute", "quantity": row["minutes"], "amount": row["difference"],
            "old_amount": row["old"], "new_amount": row["new"], "document": row["document"], "line_key": row["line_key"],
            "rate": row["new_rate"], "rate_line": row["rate_line"],
        }
        for row in rows
    ]  # fmt: skip
    made = adjustments.propose(
        tx,
        key=key,
        kind="re_rate",
        legal_entity=entity,
        reason=reason,
        by=by,
        two_people=True,
        facts=facts,
        policy=policy,
    )
    return made or int(tx.value("select number from adjustments where key = %s", (key,)))


def apply(tx: Tx, house: House, found: dict[str, Any], by: str) -> None:
    """Carry a re-rating out by its policy, once; falls become credits where the policy says so, rises the next bill.

    found   the decision with its facts, locked
    Raises  Refused when what stands on the documents has changed since it was proposed.
    """
    stands = {row["charge"]: row for row in ledger.standing(tx, facts=sorted({row["fact"] for row in found["facts"]}))}
    moved = [row for row in found["facts"] if stands.get(row["charge"], {"minutes": 0})["minutes"] != row["quantity"]]
    if moved:
        raise Refused(f"{moved[0]['fact']} was credited or edited since; reject this and re-rate anew", "changed")
    adjustments.decide(tx, found["number"], "applied", by)
    if found["policy"] == "delta_next":
        return
    if found["policy"] == "credit_full_rebill":  # before the first rebill, which would carry the others as deltas
        adjustments.settled(tx, found["number"], [row["charge"] for row in found["facts"]])
    by_invoice: dict[str, list[dict[str, Any]]] = {}
    for row in found["facts"]:
        by_invoice.setdefault(row["document"], []).append(row)
    for document, rows in sorted(by_invoice.items()):
        if found["policy"] == "credit_partial":
            falls = {row["charge"]: -row["amount"] for row in rows if row["amount"] < 0}
            if falls:
                corrections.reprice(
                    tx, house, document, falls, by=by, reason=found["reason"], key=f"A{found['number']}"
                )
                adjustments.settled(tx, found["number"], sorted(falls))
            continue
        _rebill(tx, house, document, found, by)


def _rebill(tx: Tx, house: House, document: str, found: dict[str, Any], by: str) -> None:
    """Credit what stands on one invoice and bill its entries anew, on a draft of their own, in an open month."""
    invoice = objects.load(tx, [document], lock=True)[document]
    facts = sorted({row["fact"] for row in ledger.standing(tx, documents=[document])})
    if invoice.status in ("draft", "submitted"):
        raise Refused(f"{invoice.body['code']} is {invoice.status}: void the draft and bill again", "not_posted")
    corrections.credit(tx, house, document, by=by, reason=found["reason"], again=True, key=f"A{found['number']}")
    month = corrections.open_month(tx, found["legal_entity"], invoice.body["period"])
    run = f"{month}/{invoice.body['code']}/rebill-{found['number']}"
    seen = run_facts(tx, house.firm, found["legal_entity"], last_day("9998-12"), month)
    ours = pl.col("gid").is_in(facts)
    seen = replace(
        seen,
        entries=seen.entries.filter(ours),
        expenses=seen.expenses.filter(ours),
        projects=seen.projects.filter(pl.col("project") == invoice.body["project"]),
    )
    carry_out(tx, house, plan_run(seen, last_day("9998-12"), month), run, by, found["legal_entity"], [])
