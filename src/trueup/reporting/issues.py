"""The error desk as its readers see it: causes with their money, and plans without what a reader may not see."""

from collections.abc import Mapping, Sequence
from typing import Any

from trueup.connectors.sdk.manifest import Way
from trueup.connectors.sdk.remedies import Catalogue
from trueup.kernel.errors import Refused
from trueup.kernel.ids import kind_of
from trueup.kernel.money import from_units
from trueup.reporting.evidence import sees_all
from trueup.reporting.sight import HIDDEN, taken_out
from trueup.store import inbox, issues
from trueup.store.database import Tx


def causes(tx: Tx, *, everything: bool = False, money: bool = True) -> list[dict[str, Any]]:
    """Return causes, the most money blocked first, with `amounts` in major units by currency.

    money     whether the reader may see amounts
    """
    return [priced(one, money) for one in issues.listed(tx, everything=everything)]


def cause(tx: Tx, issue: str, catalogue: Catalogue, *, money: bool = True) -> dict[str, Any]:
    """Return one cause with its records, those that came right, its timeline, what changed when it came back, and `remedy`.

    catalogue  what failures mean in this house; see `remedy` for its form

    Raises    Refused (no_issue)
    """
    found = issues.one(tx, issue)
    regressed = found["state"] == "regressed"
    return {
        **priced(found, money),
        "failing": [priced({**row, "money": _one(row)}, money) for row in issues.records(tx, issue)],
        "came_right": [priced({**row, "money": _one(row)}, money) for row in issues.records(tx, issue, ended=True, limit=50)],
        "timeline": issues.acts(tx, issue),
        "remedy": remedy(found, catalogue),
        "changed_since": issues.changed_since(tx, found["changed_at"]) if regressed else [],
    }  # fmt: skip


def remedy(failure: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """Return what a failure means and the numbered ways out.

    failure  source, class, system, object, code, field and, for what is to be called, issue
    Returns  id (None where nobody has written it down), cause, ways: number, label (what a person does), then (replay, edit,
             retry, itself), says (what that act does), who; method, href, body and needs (a scope) of the call that plans
             it, None where nothing is to be called
    """
    found = catalogue.of(failure)
    ways = found.ways if found is not None else UNWRITTEN[failure["source"]]
    return {
        "id": found.id if found is not None else None,
        "cause": found.cause if found is not None else "nobody has written down what this failure means",
        "ways": [
            {
                "number": number, "label": way.do, "then": way.then, "says": SAYS[way.then], "who": way.who,
                **(_call(way.then, failure["issue"]) if way.then in ("replay", "retry") else NO_CALL),
            }
            for number, way in enumerate(ways, 1)
        ],
    }  # fmt: skip


def _call(verb: str, issue: str) -> dict[str, Any]:
    return {"method": "POST", "href": "/v1/plans", "body": {"verb": verb, "issue": issue}, "needs": "ops:act"}


NO_CALL: Mapping[str, None] = {"method": None, "href": None, "body": None, "needs": None}
SAYS: Mapping[str, str] = {
    "replay": "plan to judge the messages again",
    "edit": "plan a correction on the message's page; somebody else agrees",
    "retry": "plan to send them again, each under its own key",
    "itself": "nothing to press: it comes right by itself",
}
"""Act of the hub -> what it does."""
UNWRITTEN: Mapping[str, tuple[Way, ...]] = {
    "message": (
        Way(do="Correct the record at its source", then="itself", who="whoever keeps the record"),
        Way(do="Mend what the sentence names", then="replay"),
    ),
    "delivery": (Way(do="Mend what the system's sentence names", then="retry"),),
}
"""Source of a failure -> the ways out that are always there."""


def _one(row: Mapping[str, Any]) -> dict[str, int]:
    return {row["currency"]: row["amount"]} if row["amount"] and row["currency"] else {}


def priced(row: dict[str, Any], money: bool) -> dict[str, Any]:
    """Return a row with its money in major units, or without any for a reader who may not see it."""
    plain = {key: value for key, value in row.items() if key not in ("money", "amount", "currencies", "muted_above")}
    amounts = {currency: from_units(units, currency) for currency, units in sorted(row["money"].items())}
    return {**plain, "amounts": amounts if money else {}}


def may_edit(tx: Tx, records: Sequence[str], *, cost: bool, money: bool) -> None:
    """Refuse to let a reader change messages of which they may not see every value.

    Raises    Refused (unseen)
    """
    for record in records:
        if not _whole(tx, record, cost, money):
            raise Refused(f"message {record} holds pay or money you may not see: somebody who may edits it", "unseen")


def _whole(tx: Tx, record: str, cost: bool, money: bool) -> bool:
    row = inbox.message(tx, int(record)) if record.isascii() and record.isdigit() and len(record) < 19 else None
    return row is None or sees_all(row, cost=cost, money=money)


def plan_seen(tx: Tx, plan: dict[str, Any], *, cost: bool, money: bool) -> dict[str, Any]:
    """Return a plan without what a reader may not see: fields of its differences, and `edits`, the changes of an edit."""
    items = [{**item, "differences": _seen(item["differences"], cost, money)} for item in plan["items"]]
    choice = dict(plan["choice"])
    edits = choice.pop("changes", [])
    return {
        **{key: value for key, value in plan.items() if key != "money"},
        "choice": choice,
        "amounts": plan["amounts"] if money else {},
        "items": items,
        "edits": edits if all(_whole(tx, record, cost, money) for record in choice.get("records", ())) else [],
    }


def _seen(differences: Sequence[dict[str, Any]], cost: bool, money: bool) -> list[dict[str, Any]]:
    bodies: dict[str, dict[str, Any]] = {}
    for one in differences:
        bodies.setdefault(one["object"], {})[one["field"]] = one["after"]
    hide = {gid: taken_out(kind_of(gid) or "", body, cost, money) for gid, body in bodies.items()}
    return [
        {**one, "before": HIDDEN, "after": HIDDEN} if one["field"] in hide[one["object"]] else one
        for one in differences
    ]
