"""What the simulated Kantata refuses to write: all that is wrong with a body comes in one answer."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from trueup.connectors.kantata.account import Account
from trueup.connectors.kantata.catalogue import (
    KINDS,
    REFERENCE_STATUSES,
    ROLES_OF_CREATOR,
    STATUSES,
    STORY_STATES,
    STORY_TYPES,
    WRITES_REFERENCE,
    Kind,
)
from trueup.connectors.kantata.filters import refuse
from trueup.connectors.sdk.simulate import Reject, Response, Row

LONGEST_TITLE = 200
KEYS = {"workspace_id": "workspaces", "story_id": "stories", "parent_id": "stories", "user_id": "users"} | {
    "role_id": "roles",
    "resource_id": "workspace_resources",
    "primary_maven_id": "users",
}
"""Attribute -> collection its id must be in."""

CHOICES: Mapping[str, Sequence[Any]] = {
    "creator_role": ROLES_OF_CREATOR,
    "story_type": STORY_TYPES,
    "state": STORY_STATES,
}


def checked(account: Account, table: str, given: Any, row: Row | None = None) -> Row:
    """Return the attributes the vendor takes; all that is wrong with them comes in one answer.

    row  the record as it is, when it is changed
    """
    if not isinstance(given, dict):
        raise refuse(400, "system", f"{KINDS[table].one} is no object")
    kind = KINDS[table]
    known = {name: value for name, value in given.items() if name in kind.create}
    errors = [
        {"type": "validation", "message": message, "field": name}
        for name, message in kind.required.items()
        if (known.get(name, "") in ("", None, [])) and (row is None or name in known)
    ]
    for name, value in known.items():
        wrong = None if value is None else _wrong(account, kind, name, value)
        if wrong:
            label = name.replace("_", " ").capitalize()
            errors.append({"type": "validation", "message": f"{label} {wrong}", "field": name})
    if errors:
        raise Reject(Response(422, {"errors": errors}))
    return {name: _kept(kind.create[name], value) for name, value in known.items()}


def _wrong(account: Account, kind: Kind, name: str, value: Any) -> str | None:
    """Say what is wrong with a value, or None."""
    if not _fits(kind.create[name], value):
        return "is invalid"
    if name in CHOICES and value not in CHOICES[name]:
        return "is not included in the list"
    if name in KEYS and str(value) not in account.table(KEYS[name]):
        return "does not exist"
    if name == "title" and len(str(value)) > LONGEST_TITLE and kind.one == "story":
        return f"is too long (maximum is {LONGEST_TITLE} characters)"
    if name == "status_key" and int(value) not in STATUSES:
        return "is not included in the list"
    if name == "time_in_minutes" and not 0 < int(value) <= 24 * 60:
        return "must be between 1 and 1440"
    return None


def check_reference(given: Row) -> None:
    """Refuse a reference that does not say to what, or has a status nobody knows."""
    if any(not given.get(name) for name in ("service_name", "service_model", "service_model_ref")):
        raise refuse(422, "validation", "External reference is invalid", WRITES_REFERENCE)
    if given.get("status", "pending") not in REFERENCE_STATUSES:
        raise refuse(422, "validation", "Status is not included in the list", "status")


def _fits(type: str, value: Any) -> bool:
    """Say whether a value has the declared type; whole numbers may come as text."""
    if type in ("integer", "id"):
        return not isinstance(value, bool) and str(value).removeprefix("-").isdigit()
    if type == "flag":
        return isinstance(value, bool) or value in ("true", "false")
    if type == "date":
        try:
            date.fromisoformat(str(value))
        except ValueError:
            return False
        return True
    if type == "ids":
        return isinstance(value, list) and all(_fits("id", one) for one in value)
    if type == "reference":
        return isinstance(value, dict)
    return isinstance(value, str | int) and not isinstance(value, bool)


def _kept(type: str, value: Any) -> Any:
    """Return a checked value as rows keep it."""
    if value is None:
        return None
    if type == "integer":
        return int(value)
    if type == "id":
        return str(value)
    if type == "ids":
        return [str(one) for one in value]
    if type == "flag":
        return value in (True, "true")
    return value
