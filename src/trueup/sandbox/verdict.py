"""Holds the demo's end against the oracle: the five systems, the hub's books, the breaks, and nothing twice."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trueup.sandbox.oracle import compare, expected, read_systems

Dump = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]

DOCUMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "kantata": {
        "workspaces": ("title",),
        "stories": ("workspace_id", "title"),
        "external_references": ("subject_type", "subject_id", "service_name"),
    },
    "netsuite": {
        "customer": ("companyName",),
        "job": ("companyName", "entityId"),
        "projectTask": ("company", "title"),
        "employee": ("email",),
        "resourceAllocation": ("project", "allocationResource", "startDate", "endDate"),
        "salesOrder": ("externalId",),
        "invoice": ("custbody_trueup_code",),
        "journalEntry": ("externalId",),
    },
    "concur": {"confirmations": ("docId",)},
}
"""What the hub makes in each system, and which fields say that two of them are the same thing."""


def duplicates(dump: Dump) -> list[str]:
    """Return every business effect that stands more than once in a system, in words."""
    found = []
    for system, tables in DOCUMENTS.items():
        for table, names in tables.items():
            rows = dump.get(system, {}).get(table, {}).values()
            keys = Counter(
                tuple(str(row.get(name)) for name in names) for row in rows if any(row.get(n) for n in names)
            )
            found += [f"{system} {table} {' '.join(key)} stands {n} times" for key, n in keys.items() if n > 1]
    return sorted(found)


def judge(
    firm: Mapping[str, Any], dump: Dump, books: Mapping[str, Any], breaks: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Compare everything with the oracle.

    books    the hub's own books, in the oracle's shape
    breaks   open breaks of the last tie-out: class, object, system, label, external_id, amount (text), sentence
    Returns  equal, differences (sentences), planted (name of the change, break that found it), unplanned (breaks)
    """
    truth = expected(dict(firm))
    differences = [f"books.{line}" for line in compare(truth["books"], books)]
    differences += [f"systems.{line}" for line in compare(truth["systems"], read_systems(dump))]
    open_breaks = list(breaks)
    planted, rest = _match(truth["planted"], open_breaks)
    differences += [f"planted.{name}: no break found it" for name, sentence in planted.items() if sentence is None]
    differences += [f"breaks: {one['sentence']} was not planted" for one in rest]
    return {
        "equal": not differences,
        "differences": differences,
        "planted": planted,
        "unplanned": [str(one["sentence"]) for one in rest],
    }


CLASSES = {"amount": "amount", "missing": "deleted_upstream", "status": "status"}


def _match(
    changes: Sequence[Mapping[str, Any]], breaks: list[Mapping[str, Any]]
) -> tuple[dict[str, str | None], list[Mapping[str, Any]]]:
    """Find the break of each planted change; return them by name, and the breaks that nobody planted."""
    rest = list(breaks)
    planted: dict[str, str | None] = {}
    for change in changes:
        name = f"{change['system']} {change['object']} {change['key']}: {change['kind']}"
        found = next((one for one in rest if _is(change, one)), None)
        planted[name] = None if found is None else str(found["sentence"])
        if found is not None:
            rest.remove(found)
    return planted, rest


def _is(change: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
    if one["system"] != change["system"] or one["class"] != CLASSES[change["kind"]]:
        return False
    if change["kind"] == "missing":
        return str(one["external_id"]).endswith(str(change["key"])[1:])
    if change["kind"] == "amount" and str(one["amount"]) != str(change["difference"]):
        return False
    return str(one["label"]) == str(change["key"])
