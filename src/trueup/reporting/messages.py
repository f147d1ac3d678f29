"""One message: its bytes as they came, the mapping that read it, and what was decided on it."""

from dataclasses import dataclass, field
from typing import Any

from trueup.kernel.strict_json import read, write_numbers
from trueup.reporting.evidence import Decision, Raw, decisions, labels, raw_of, sees_all
from trueup.reporting.quarantine import Record, record_of
from trueup.store import inbox
from trueup.store.database import Tx

MOST_FIELDS = 400


@dataclass(frozen=True, slots=True)
class Mapping:
    """The mapping file that was used, as it was then.

    text  None when its text is not kept any more
    now   the version today's hub uses; another one reads the message differently when it is retried
    """

    name: str
    version: int
    digest: str | None
    text: str | None
    now: int | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """One message, whole.

    record    problems and advice, when it could not be used or waits
    siblings  other messages about the same record, the newest first
    edits     the edits it was made by or made into: message, original, plan, changes, reason, edited_by, agreed_by
    fields    what a person may change in a record that failed: dotted path -> its value as JSON text
    labels    our identifiers that appear in decisions -> what people call them
    """

    raw: Raw
    gid: str | None
    lane: str
    duplicates: int
    attempts: int
    deleted: bool
    headers: dict[str, str]
    rule: str | None
    record: Record | None
    mapping: Mapping | None
    decisions: tuple[Decision, ...]
    siblings: tuple[int, ...]
    labels: dict[str, str]
    edits: tuple[dict[str, Any], ...] = ()
    fields: dict[str, str] = field(default_factory=dict)


def message(tx: Tx, number: int, *, cost: bool = False, money: bool = True) -> MessagePage | None:
    """Return one message with everything that was made of it; None when there is no such message.

    cost, money  whether the reader may see what people cost, and amounts
    """
    row = inbox.message(tx, number)
    if row is None:
        return None
    said = decisions(tx, messages=[number], cost=cost, money=money)
    row["kind"] = said[0].kind if said else None
    siblings = tx.rows(
        """
        select number from inbox where system = %s and object = %s and external_id = %s and number <> %s
        order by number desc limit 20
        """,
        (row["system"], row["object"], row["external_id"], number),
    )
    failing = row["state"] in ("quarantined", "waiting")
    whole = sees_all(row, cost=cost, money=money)
    return MessagePage(
        raw_of(row, cost=cost, money=money),
        row["gid"],
        row["lane"],
        row["duplicates"],
        row["attempts"],
        row["deleted"],
        row["headers"],
        row["rule"],
        record_of(row) if failing else None,
        _mapping(tx, row, said),
        said,
        tuple(one["number"] for one in siblings),
        labels(tx, said, [one.gid for one in said]),
        tuple(one if whole else {**one, "changes": []} for one in inbox.edits_of(tx, number)),
        _fields(bytes(row["body"])) if failing and whole and row["lane"] != "notice" else {},
    )


def _fields(body: bytes) -> dict[str, str]:
    """Return every plain value of a record under its path; nothing where the bytes are no record."""
    try:
        record = read(body)
    except ValueError:
        return {}
    found: dict[str, str] = {}
    below: list[tuple[str, Any]] = [("", record)]
    while below and len(found) < MOST_FIELDS:
        path, value = below.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        if inner is None:
            found[path] = write_numbers(value).decode()
        else:
            # A name with a dot in it has no path of its own.
            below += [
                (f"{path}.{name}".lstrip("."), one) for name, one in reversed(list(inner)) if "." not in str(name)
            ]
    return found


def _mapping(tx: Tx, row: dict[str, Any], said: tuple[Decision, ...]) -> Mapping | None:
    if not row["mapping"]:
        return None
    digest = next((one.mapping_digest for one in said if one.mapping_digest), None)
    found = tx.row(
        """
        select digest, body from texts where name = %(name)s and version = %(version)s
            and (%(digest)s::text is null or digest = %(digest)s) order by created_at desc limit 1
        """,
        {"name": row["mapping"], "version": row["mapping_version"], "digest": digest},
    )
    newest = tx.value("select max(version) from texts where name = %s", (row["mapping"],))
    return Mapping(
        row["mapping"],
        row["mapping_version"],
        found["digest"] if found else digest,
        found["body"] if found else None,
        newest,
    )
