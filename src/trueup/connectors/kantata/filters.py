"""The simulated lists' filters: those that are asked for, those that lie, and those nobody asked for."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from trueup.connectors.kantata.account import ZONE, Account
from trueup.connectors.kantata.blanks import ACCOUNT_ID, INTEGRATION_USER
from trueup.connectors.kantata.catalogue import Kind
from trueup.connectors.sdk.simulate import Reject, Request, Response, Row

Test = Callable[[Row], bool]

MOST_REFERENCES = 200
RETENTION = timedelta(days=9)
TIMES = {"created_after": "created_at", "created_before": "created_at"} | {
    "updated_after": "updated_at",
    "updated_before": "updated_at",
}


def refuse(status: int, type: str, message: str, field: str = "") -> Reject:
    """Return the vendor's refusal, to be raised."""
    error = {"type": type, "message": message} | ({"field": field} if field else {})
    return Reject(Response(status, {"errors": [error]}))


def times(request: Request) -> list[Test]:
    """Read the filters by creation and change."""
    tests: list[Test] = []
    for name, field in TIMES.items():
        text = request.param(name)
        if text:
            bound = _moment(name, text)
            tests.append(_after(field, bound) if name.endswith("after") else _before(field, bound))
    return tests


def _after(field: str, bound: str) -> Test:
    return lambda row: bool(row[field] > bound)


def _before(field: str, bound: str) -> Test:
    return lambda row: bool(row[field] < bound)


def _moment(name: str, text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise refuse(400, "system", f"{name} must be an ISO 8601 date and time") from None
    return (found if found.tzinfo else found.replace(tzinfo=ZONE)).astimezone(ZONE).isoformat(timespec="seconds")


def references(account: Account, kind: Kind, request: Request) -> list[Test]:
    """Read the filters by external reference; all of them are about one and the same reference."""
    wanted: dict[str, set[str]] = {}
    for name in ("service_name", "service_model", "status", "external_status", "external_message"):
        text = request.param(f"external_reference_{name}")
        if text:
            wanted[name] = {text}
    refs = request.param("external_reference_service_model_refs")
    if refs:
        wanted["service_model_ref"] = set(refs.split(",")[:MOST_REFERENCES])
    single = request.param("external_reference_service_model_ref")
    if single:  # declared an integer: anything else becomes 0, as the vendor's framework reads integers
        wanted["service_model_ref"] = {single if single.isdigit() else "0"}
    tests: list[Test] = []
    if wanted:
        found = _referenced(account, kind, lambda row: all(str(row[name]) in values for name, values in wanted.items()))
        tests.append(lambda row: row["id"] in found)
    if request.param("has_external_references"):
        any_at_all = _referenced(account, kind, lambda row: True)
        has = request.param("has_external_references") == "true"
        tests.append(lambda row: (row["id"] in any_at_all) == has)
    without = request.param("without_external_reference_service_name")
    if without:
        named = _referenced(account, kind, lambda row: row["service_name"] == without)
        tests.append(lambda row: row["id"] not in named)
    return tests


def _referenced(account: Account, kind: Kind, fits: Test) -> set[str]:
    references = account.table("external_references").values()
    return {str(row["subject_id"]) for row in references if row["subject_type"] == kind.subject and fits(row)}


EQUAL: Mapping[str, Mapping[str, str]] = {
    "workspaces": {},
    "stories": {"workspace_id": "workspace_id", "story_type": "story_type", "with_parent_id": "parent_id"},
    "time_entries": {"workspace_id": "workspace_id", "with_timesheet_id": "active_submission_id"},
    "workspace_resources": {"workspace_id": "workspace_id", "user_id": "user_id", "role_id": "role_id"},
    "participations": {"workspace_id": "workspace_id", "user_id": "user_id"},
    "timesheet_submissions": {"workspace_id": "workspace_id", "start_date": "start_date", "end_date": "end_date"},
    "external_references": {
        "subject_type": "subject_type",
        "subject_id": "subject_id",
        "service_name": "service_name",
        "service_model": "service_model",
        "service_model_ref": "service_model_ref",
        "status": "status",
        "external_status": "external_status",
        "external_message": "external_message",
    },
    "story_state_changes": {"story_id": "story_id"},
    "subscribed_events": {"subject_type": "subject_type"},
    "users": {"by_email_address": "email_address"},
}
"""Filter -> field it must equal."""

AMONG: Mapping[str, Mapping[str, str]] = {
    "stories": {"with_projects": "workspace_id", "story_types": "story_type"},
    "time_entries": {
        "workspace_ids": "workspace_id",
        "with_user_ids": "user_id",
        "with_recent_timesheet_ids": "recent_submission_id",
    },
    "workspace_allocations": {"workspace_ids": "workspace_id", "workspace_resource_ids": "workspace_resource_id"},
    "timesheet_submissions": {"user_ids": "user_id", "workspace_ids": "workspace_id"},
    "subscribed_events": {"event_types": "event_type", "subject_id": "subject_id"},
    "users": {"by_email_addresses": "email_address"},
}
"""Filter -> field that must be among a comma separated list."""

ALWAYS_TRUE: Mapping[str, Test] = {
    "approved": lambda row: bool(row["approved"]),
    "invoiced": lambda row: bool(row["is_invoiced"]),
    "uninvoiced": lambda row: not row["is_invoiced"],
}
"""Filters of time entries that are processed as true whatever their value says."""


def asked(account: Account, table: str, request: Request) -> list[Test]:
    """Read the filters each list has of its own."""
    tests: list[Test] = []
    for name, field in EQUAL.get(table, {}).items():
        if request.param(name):
            tests.append(_among(field, {request.param(name)}))
    for name, field in AMONG.get(table, {}).items():
        if request.param(name):
            tests.append(_among(field, set(request.param(name).split(","))))
    search = request.param("search").casefold()
    if search and table in ("workspaces", "stories", "users"):
        words = "full_name" if table == "users" else "title"
        tests.append(lambda row: search in str(row[words]).casefold())
    special = SPECIAL.get(table)
    return tests + (special(account, request) if special else [])


def _among(field: str, values: set[str]) -> Test:
    return lambda row: str(row[field]) in values


def _of_time_entries(account: Account, request: Request) -> list[Test]:
    tests = [test for name, test in ALWAYS_TRUE.items() if name in request.query]
    if request.param("billable"):
        billable = request.param("billable") == "true"
        tests.append(lambda row: bool(row["billable"]) == billable)
    if request.param("in_active_submission"):
        active = request.param("in_active_submission") == "true"
        tests.append(lambda row: (row["active_submission_id"] is not None) == active)
    between = request.param("date_performed_between")
    if between:
        first, _, last = between.partition(":")
        tests.append(lambda row: first <= row["date_performed"] <= last)
    return tests


def _of_allocations(account: Account, request: Request) -> list[Test]:
    tests: list[Test] = []
    resources = account.table("workspace_resources")

    def user_of(row: Row) -> Any:
        return resources.get(str(row["workspace_resource_id"]), {}).get("user_id")

    if request.param("type"):
        hard = request.param("type") == "hard"
        tests.append(lambda row: bool(row["hard"]) == hard)
    if request.param("user_ids"):
        users = set(request.param("user_ids").split(","))
        tests.append(lambda row: str(user_of(row)) in users)
    if request.param("named_resources_only") == "true":
        tests.append(lambda row: user_of(row) is not None)
    if request.param("unnamed_resources_only") == "true":
        tests.append(lambda row: user_of(row) is None)
    return tests


def _of_submissions(account: Account, request: Request) -> list[Test]:
    statuses = request.param("statuses")
    if not statuses:
        return []
    wanted = {"pending" if one == "new" else one for one in statuses.split(",")}
    return [lambda row: row["status"] in wanted]


def _of_references(account: Account, request: Request) -> list[Test]:
    if not request.param("subject_type"):
        raise refuse(400, "system", "subject_type is missing")
    return []


def _of_state_changes(account: Account, request: Request) -> list[Test]:
    if not request.param("story_id") and not request.param("only"):
        raise refuse(400, "system", "story_id is missing")
    return []


def _of_events(account: Account, request: Request) -> list[Test]:
    if request.param("subject_id") and not request.param("subject_type"):
        raise refuse(400, "system", "subject_id needs a subject_type")
    oldest = (datetime.now(UTC) - RETENTION).astimezone(ZONE).isoformat(timespec="seconds")
    return [lambda row: bool(row["created_at"] >= oldest)]


SPECIAL: Mapping[str, Callable[[Account, Request], list[Test]]] = {
    "time_entries": _of_time_entries,
    "workspace_allocations": _of_allocations,
    "timesheet_submissions": _of_submissions,
    "external_references": _of_references,
    "story_state_changes": _of_state_changes,
    "subscribed_events": _of_events,
}


def defaults(account: Account, table: str, request: Request) -> list[Test]:
    """Return the filters in force when nobody asks for them: they hide records from lists and from the show route."""
    maker = DEFAULTS.get(table)
    return maker(account, request) if maker else []


def _workspaces_shown(account: Account, request: Request) -> list[Test]:
    archived = request.param("archived")
    if archived == "only":
        return [lambda row: bool(row["archived"])]
    if archived == "include" or request.param("include_archived") == "true":
        return []
    return [lambda row: not row["archived"]]


def _stories_shown(account: Account, request: Request) -> list[Test]:
    workspaces = account.table("workspaces")
    from_archived = request.param("show_from_archived_workspaces") == "true"
    tests: list[Test] = [lambda row: bool(workspaces[row["workspace_id"]]["archived"]) == from_archived]
    if request.param("all_on_account") != "true":
        tests.append(lambda row: workspaces[row["workspace_id"]]["creator_id"] == INTEGRATION_USER)
    if request.param("show_archived") != "true" and request.param("archived") != "include":
        tests.append(lambda row: not row["archived"])
    return tests


def _time_entries_shown(account: Account, request: Request) -> list[Test]:
    workspaces = account.table("workspaces")
    tests: list[Test] = []
    if request.param("from_archived_workspaces") != "true":
        tests.append(lambda row: not workspaces[row["workspace_id"]]["archived"])
    if request.param("on_my_account", "true") == "true":
        tests.append(lambda row: workspaces[row["workspace_id"]]["account_id"] == ACCOUNT_ID)
    return tests


def _users_shown(account: Account, request: Request) -> list[Test]:
    tests: list[Test] = []
    if request.param("on_my_account") != "true":
        participants = {row["user_id"] for row in account.table("participations").values()}
        tests.append(lambda row: row["id"] in participants)
    if request.param("show_disabled") != "true":
        tests.append(lambda row: not row["disabled"])
    return tests


def _resources_shown(account: Account, request: Request) -> list[Test]:
    return [] if request.param("include_unnamed") == "true" else [lambda row: row["user_id"] is not None]


DEFAULTS: Mapping[str, Callable[[Account, Request], list[Test]]] = {
    "workspaces": _workspaces_shown,
    "stories": _stories_shown,
    "time_entries": _time_entries_shown,
    "users": _users_shown,
    "workspace_resources": _resources_shown,
}
