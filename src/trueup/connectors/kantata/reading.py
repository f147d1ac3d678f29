"""What to ask Kantata for, and what it answers: rows by id beside their order, companions in their own collections."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from trueup.connectors.sdk.settled import answered_at
from trueup.connectors.sdk.wire import Answer
from trueup.kernel.clock import parse_instant
from trueup.kernel.errors import Refused


@dataclass(frozen=True, slots=True)
class Collection:
    """One vendor object: where it is listed, and what has to be asked for so that nothing is hidden.

    name     path and key of the collection
    include  associations without which the ids of related records are absent
    params   filters that undo the vendor's default filters
    event    subject of its events
    keyset   the list can be ordered by `updated_at`
    """

    name: str
    include: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    event: str = ""
    keyset: bool = True


READS: Mapping[str, Collection] = {
    "user": Collection("users", "", {"on_my_account": "true", "show_disabled": "true"}, "user", keyset=False),
    "workspace": Collection(
        "workspaces", "external_references,primary_maven", {"include_archived": "true"}, "workspace"
    ),
    "story": Collection(
        "stories", "workspace,external_references", {"all_on_account": "true", "show_archived": "true"}, "story"
    ),
    "workspace_allocation": Collection(
        "workspace_allocations", "workspace,workspace_resource", {}, "workspace_allocation"
    ),
    "time_entry": Collection(
        "time_entries",
        "workspace,story,user,role,active_submission,recent_submission",
        {"from_archived_workspaces": "true"},  # never approved=, invoiced= or uninvoiced=: their value is ignored
        "time_entry",
    ),
}

CREATE_ONLY: Mapping[str, frozenset[str]] = {
    "workspace": frozenset({"creator_role"}),
    "story": frozenset({"workspace_id"}),
}
"""Attributes the vendor takes when a record is made and not afterwards."""


class Cursor(msgspec.Struct, omit_defaults=True):
    """How far one object has been read. Instants are ISO 8601 in UTC.

    phase         empty between two rounds; `changed`, then `deleted` within one
    mark          the newest `updated_at` seen
    after         where the next page starts
    looked        when we last looked back
    second        a second with more rows than a page, while its pages are read
    page, count   page number, and how many rows there were when its first page was read
    crowded       the crowded second that was read to the end last
    began         when the present round of a list without stamps, or of the feed, began
    seen, fresh   digests of rows without stamps: of the last round, of this one
    deleted_from  from when on deletions are read
    """

    phase: str = ""
    mark: str = ""
    after: str = ""
    looked: str = ""
    second: str = ""
    page: int = 1
    count: int = -1
    crowded: str = ""
    began: str = ""
    seen: dict[str, str] = {}
    fresh: dict[str, str] = {}
    deleted_from: str = ""


class Facts(msgspec.Struct):
    """The little we need to know of a row; everything else stays bytes."""

    id: str = ""
    updated_at: str | None = None
    created_at: str | None = None
    state: str | None = None
    workspace_resource_id: str | int | None = None
    role_id: str | int | None = None
    active_submission_id: str | int | None = None
    recent_submission_id: str | int | None = None
    external_reference_ids: list[str | int] | None = None
    story_state_change_ids: list[str | int] | None = None
    service_name: str | None = None
    service_model: str | None = None
    event_type: str | None = None
    subject_id: str | int | None = None
    subject_changed_at: str | None = None


class Listing:
    """One answer, its rows in the vendor's order and untouched.

    rows      id -> the row's bytes
    facts     one per row, in order
    count     rows of the whole query
    more      there is another page
    answered  the vendor's clock, whole seconds
    """

    def __init__(self, collections: dict[str, msgspec.Raw], name: str, answered: datetime) -> None:
        order = _decode(collections.get("results"), list[Place]) or []
        rows = _decode(collections.get(name), dict[str, msgspec.Raw]) or {}
        self._collections = collections
        self._read: dict[str, dict[str, tuple[Facts, bytes]]] = {}
        self.answered = answered
        self.rows: dict[str, bytes] = {}
        self.facts: list[Facts] = []
        for place in order:  # an included record of the same kind stands in the collection, but not in the results
            id = str(place.id)
            if place.key == name and id in rows:
                self.rows[id] = bytes(rows[id])
                facts = msgspec.json.decode(rows[id], type=Facts)
                facts.id = id
                self.facts.append(facts)
        self.count = _decode(collections.get("count"), int) or 0
        meta = _decode(collections.get("meta"), Meta)
        self.more = bool(order) and (meta.page_number < meta.page_count if meta else self.count > len(order))

    @classmethod
    def read(cls, answer: Answer, name: str) -> "Listing":
        """Read an answer.

        name      the collection that was asked for
        Raises    Refused when it is no list, as a proxy's page in the middle is not.
        """
        try:
            return cls(msgspec.json.decode(answer.raw, type=dict[str, msgspec.Raw]), name, answered_at(answer))
        except msgspec.DecodeError as wrong:
            raise Refused(f"Kantata's answer cannot be read: {wrong}", "unreadable", answer.status) from wrong

    def companions(self, name: str) -> dict[str, tuple[Facts, bytes]]:
        """Return an included collection: id -> (facts, bytes)."""
        if name not in self._read:
            rows = _decode(self._collections.get(name), dict[str, msgspec.Raw]) or {}
            self._read[name] = {id: (msgspec.json.decode(raw, type=Facts), bytes(raw)) for id, raw in rows.items()}
        return self._read[name]


class Place(msgspec.Struct):
    """One entry of `results`: the order of an answer's rows."""

    key: str
    id: str | int


class Meta(msgspec.Struct):
    """Which page of how many."""

    page_count: int = 0
    page_number: int = 0


def _decode(raw: msgspec.Raw | None, kind: Any) -> Any:
    return None if raw is None else msgspec.json.decode(raw, type=kind)


def date_of(text: str | None) -> datetime:
    """Read an instant with any offset, in UTC."""
    return parse_instant(str(text))


def ids_of(ids: list[str | int] | None) -> list[str]:
    """Return identifiers as text; they are absent when they were not asked for."""
    return [str(id) for id in ids or ()]


def wrap(**parts: bytes | None) -> bytes:
    """Put a record beside its companions: every byte of each is still the vendor's."""
    inside = b",".join(b'"%s":%s' % (name.encode(), raw or b"null") for name, raw in parts.items())
    return b"{" + inside + b"}"
