"""How the simulated Kantata lists records: orders, pages, and the rows that are included beside them."""

from collections.abc import Iterable
from math import ceil
from typing import Any

from trueup.connectors.kantata.account import Account
from trueup.connectors.kantata.catalogue import KINDS, Association, Kind
from trueup.connectors.kantata.filters import asked, defaults, references, refuse, times
from trueup.connectors.sdk.simulate import Request, Row

DEFAULT_SIZE = 20
LARGEST_SIZE = 200


def list_of(account: Account, table: str, request: Request) -> Row:
    """Return the answer to a list request."""
    kind = KINDS[table]
    rows: Iterable[Row] = account.table(table).values()
    only = _ids(request.param("only"))
    if only:
        rows = [account.table(table)[id] for id in only if id in account.table(table)]
    tests = [*times(request), *references(account, kind, request), *asked(account, table, request)]
    if not only:
        tests += defaults(account, table, request)
    found = [row for row in rows if all(test(row) for test in tests)]
    if table == "subscribed_events":
        found = _latest_only(found, request)
    found = _ordered(kind, table, found, request.param("order") or kind.order)
    size, start, number = _window(request)
    return envelope(account, table, found[start : start + size], request, total=len(found), number=number, size=size)


def envelope(
    account: Account,
    table: str,
    rows: list[Row],
    request: Request,
    *,
    total: int = 1,
    number: int = 1,
    size: int = DEFAULT_SIZE,
) -> Row:
    """Return rows the way every answer carries them: order in `results`, rows by id, included rows beside them."""
    kind = KINDS[table]
    wanted = {name: kind.include[name] for name in _words(request, "include") if name in kind.include}
    for name, association in wanted.items():
        if association.with_only and not request.param("only"):
            raise refuse(400, "system", f"{name} must be requested together with only")
    optional = _words(request, "optional_fields")
    if table == "subscribed_events":
        rows = [_event_shown(account, row, request) for row in rows]
    answer: Row = {
        "count": total,
        "meta": {
            "count": total,
            "page_count": ceil(total / size),
            "page_number": number,
            "page_size": size,
        },
        "results": [{"key": table, "id": row["id"]} for row in rows],
        table: {},
    }
    for association in wanted.values():
        answer.setdefault(association.collection, {})
    for row in rows:
        shown = plain_fields(kind, row, optional)
        for association in wanted.values():
            ids = _related(account, table, row, association)
            shown[association.field] = ids if association.many else (ids[0] if ids else None)
            inside = account.table(association.collection)
            for id in ids:
                if id in inside and id not in answer[association.collection]:
                    answer[association.collection][id] = plain_fields(KINDS[association.collection], inside[id], set())
        answer[table][row["id"]] = shown
    return answer


def plain_fields(kind: Kind, row: Row, optional: set[str]) -> Row:
    """Return what is shown of a row when nothing is included: no ids of related records."""
    left_out = kind.hidden | kind.relations | (kind.optional - optional)
    return {name: value for name, value in row.items() if name not in left_out}


def visible(account: Account, table: str, row: Row, request: Request) -> bool:
    """Say whether the show route finds a row: the default filters hold for it, too."""
    return all(test(row) for test in defaults(account, table, request))


# --- order, pages, included rows -------------------------------------------------------------------------------------

FIELD_OF_ORDER = {
    "alphabetical": "full_name",
    "alphabetically": "full_name",
    "date": "start_date",
    "importance": "position",
    "parent_and_position": "position",
    "priority_level": "position",
    "price": "price_in_cents",
}


def _ordered(kind: Kind, table: str, rows: list[Row], order: str) -> list[Row]:
    name, _, direction = order.partition(":")
    if name not in kind.orders or direction not in ("", "asc", "desc"):
        raise refuse(400, "system", f"{order} is no valid order of {table}")
    field = FIELD_OF_ORDER.get(name, name)

    def place(row: Row) -> tuple[bool, Any, int]:
        value = row.get(field)
        value = value["key"] if isinstance(value, dict) else value
        # events of one second come in no order at all
        tie = int(row["id"]) * 2654435761 % 4294967296 if table == "subscribed_events" else int(row["id"])
        return value is not None, 0 if value is None else value, tie

    return sorted(rows, key=place, reverse=direction == "desc")


def _latest_only(rows: list[Row], request: Request) -> list[Row]:
    """Keep the most recent event of each subject, or of each subject and type, when that is asked for."""
    by_subject = request.param("most_recent") == "true"
    by_type = request.param("most_recent_by_event_type") == "true"
    if by_subject and by_type:
        raise refuse(400, "system", "most_recent cannot be used together with most_recent_by_event_type")
    if not by_subject and not by_type:
        return rows
    latest: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda one: (one["subject_changed_at"], int(one["id"]))):
        latest[(row["subject_type"], row["subject_id"], row["event_type"] if by_type else "")] = row
    return list(latest.values())


def _window(request: Request) -> tuple[int, int, int]:
    """Return size, first row and page number; limit and offset together win over page and per_page."""
    if request.param("limit") and request.param("offset"):
        size = min(_whole(request, "limit", DEFAULT_SIZE), LARGEST_SIZE)
        start = _whole(request, "offset", 0, least=0)
        return size, start, start // size + 1
    size = min(_whole(request, "per_page", DEFAULT_SIZE), LARGEST_SIZE)
    number = _whole(request, "page", 1)
    return size, (number - 1) * size, number


def _whole(request: Request, name: str, default: int, least: int = 1) -> int:
    text = request.param(name)
    if not text:
        return default
    if not text.isdigit() or int(text) < least:
        raise refuse(400, "system", f"{name} is no valid number")
    return int(text)


def _related(account: Account, table: str, row: Row, association: Association) -> list[str]:
    """Return the ids behind an association."""
    if association.field in row:
        value = row[association.field]
        return [str(one) for one in value] if isinstance(value, list) else [str(value)] if value is not None else []
    if association.collection == "external_references":
        return [id for id, _ in account.references_to(KINDS[table].subject, row["id"])]
    inside = account.table("participations" if association.field == "participant_ids" else association.collection)
    found = [one for one in inside.values() if one.get("workspace_id") == row["id"]]
    return [str(one["user_id"] if association.field == "participant_ids" else one["id"]) for one in found]


def _event_shown(account: Account, event: Row, request: Request) -> Row:
    shown = account.payloads(event)
    if "subject" in _words(request, "include"):
        shown["subject_ref"] = account.subject_of(event)
    return shown


def _words(request: Request, name: str) -> set[str]:
    """Read a list parameter, written with commas or as an array."""
    given = [*request.query.get(name, []), *request.query.get(f"{name}[]", [])]
    return {word.strip() for text in given for word in text.split(",") if word.strip()}


def _ids(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
