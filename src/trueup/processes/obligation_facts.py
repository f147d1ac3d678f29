"""Turns the workspace's performance obligations, and what the systems say of them, into the frames of a month end."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import polars as pl

from trueup.billing.frames import ADVANCES, ESTIMATES, OBLIGATIONS, PERFORMED, REBATES, TERMS, Shape
from trueup.billing.obligations import Declaration, Declarations, Declared
from trueup.billing.revenue import ObligationFacts
from trueup.kernel.money import split, to_units
from trueup.store.objects import Held

MONEY = frozenset({"cost", "materials", "accepted"})


def obligation_facts(
    declared: Declarations,
    contracts: Sequence[Held],
    entity: str,
    done: Mapping[str, Sequence[tuple[str, Any, int]]],
    accepted: Mapping[tuple[str, str], Sequence[tuple[Any, int]]],
) -> tuple[ObligationFacts, tuple[str, ...]]:
    """Return what is known of the obligations a legal entity bills.

    declared  by contract code
    done      contract -> (measure, day, quantity) of its approved time and expenses: minutes, cost in units
    accepted  (contract, line) -> (day, units) of its accepted milestones
    Returns   the facts, and sentences about time that more than one obligation would claim
    """
    frames = (OBLIGATIONS, TERMS, ESTIMATES, PERFORMED, REBATES)
    found: dict[str, list[tuple[Any, ...]]] = {shape.name: [] for shape in frames}
    problems = []
    for contract in contracts:
        declaration = declared.get(contract.body["code"])
        if declaration is None:
            continue
        lines = {line["key"]: line for line in contract.body["lines"] if line["legal_entity"] == entity}
        own = [one for one in declaration.obligations if one.line in lines]
        everywhere = {line["key"] for line in contract.body["lines"]}
        problems += [
            f"{one.key} of {contract.body['code']} is on line {one.line}, which the contract does not have; its revenue is "
            "not measured. Correct the file in obligations/."
            for one in declaration.obligations
            if one.line not in everywhere
        ]
        prices = _prices(declaration, contract.body["currency"])
        timed = [one.key for one in own if one.from_time and one.method in ("cost_to_cost", "hours", "at_completion")]
        if len(timed) > 1:
            problems.append(
                f"{', '.join(timed)} of {contract.body['code']} are all measured from approved time; it counts for none "
                "of them. Let all but one be measured from what is listed."
            )
        for one in own:
            line = lines[one.line]
            key, currency = (contract.gid, one.key), line["currency"]
            found[OBLIGATIONS.name].append((
                contract.gid, one.key, one.line, entity, currency, one.method, one.convention, one.service_from,
                one.completed_on,
            ))  # fmt: skip
            found[TERMS.name] += [
                (*key, on, kind, to_units(amount, currency), to)
                for on, kind, amount, to in _terms(declaration, one, prices.get(one.key))
            ]
            found[ESTIMATES.name] += [(*key, m, on, _count(m, q, currency)) for on, m, q in one.estimates]
            found[PERFORMED.name] += [(*key, m, on, _count(m, q, currency)) for on, m, q in one.performed]
            if timed == [one.key]:
                found[PERFORMED.name] += [(*key, *fact) for fact in done.get(contract.gid, ())]
            if one.method == "milestone":
                found[PERFORMED.name] += [
                    (*key, "accepted", day, units) for day, units in accepted.get((contract.gid, one.line), ())
                ]
            found[REBATES.name] += [
                (*key, on, to_units(expected, currency), to_units(threshold, currency), int(share * 1_000_000))
                for on, expected, threshold, share in one.rebates
            ]
    return ObligationFacts(*(_frame(shape, found[shape.name]) for shape in frames)), tuple(problems)


def advances_of(declared: Declarations, contracts: Sequence[Held]) -> pl.DataFrame:
    """Return the advances of contracts, as `ADVANCES` with the currency they were booked in (functional_currency)."""
    rows = [
        (
            contract.gid,
            advance.key,
            advance.received_on,
            to_units(advance.amount, contract.body["currency"]),
            to_units(advance.functional, advance.functional_currency),
            advance.functional_currency,
        )
        for contract in contracts
        if contract.body["code"] in declared
        for advance in declared[contract.body["code"]].advances
    ]
    schema = {name: column.dtype for name, column in ADVANCES.columns.items()} | {"functional_currency": pl.String()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _prices(declaration: Declaration, currency: str) -> dict[str, Decimal]:
    """Share the contract's price, less what has a price of its own, over the rest by standalone price."""
    own = {one.key: one.price for one in declaration.obligations if one.price is not None}
    rest = [one for one in declaration.obligations if one.price is None and one.standalone_price is not None]
    if declaration.price is None or not rest:
        return own
    left = declaration.price - sum(own.values(), Decimal(0))
    shares = split(left, [one.standalone_price or Decimal(0) for one in rest], currency)
    return own | {one.key: share for one, share in zip(rest, shares, strict=True)}


def _terms(declaration: Declaration, one: Declared, price: Decimal | None) -> list[tuple[Any, str, Decimal, Any]]:
    if price is None and not one.terms:
        return []
    return [(declaration.starts_on, "price", price or Decimal(0), one.service_to), *one.terms]


def _count(measure: str, quantity: Decimal, currency: str) -> int:
    return to_units(quantity, currency) if measure in MONEY else int(quantity)


def _frame(shape: Shape, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={name: column.dtype for name, column in shape.columns.items()}, orient="row")
