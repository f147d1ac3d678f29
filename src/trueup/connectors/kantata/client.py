"""Reads Kantata OX by keyset on `updated_at` and its feed of deletions; writes by find-then-create."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import structlog

from trueup.connectors.kantata.reading import (
    CREATE_ONLY,
    READS,
    Collection,
    Cursor,
    Facts,
    Listing,
    date_of,
    ids_of,
    wrap,
)
from trueup.connectors.sdk.auth import Bearer
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.wire import Answer, Connection, Page, Raw, Receipt, Record
from trueup.kernel.clock import now
from trueup.kernel.errors import Broken, Unsettled

PAGE = 200
SERVICE = "trueup"
SECOND = timedelta(seconds=1)

LOOK_BACK = timedelta(seconds=180)
"""How long a change may take to become visible under its stamp: the vendor lets a request last three minutes."""

LOOK_EVERY = timedelta(seconds=60)
"""How often we look back that far; the polls in between read only what is new."""

RETENTION = timedelta(days=9)
"""How long the feed of events keeps a deletion (developer.kantata.com, "Events")."""

log = structlog.get_logger()


class Kantata(VendorClient):
    """The vendor has no idempotency key: whatever we create carries our identifier as an external reference."""

    def __init__(self, manifest: Manifest, connection: Connection) -> None:
        super().__init__(manifest, connection)
        self.auth = Bearer(connection)
        self._size = int(connection.options.get("page_size", PAGE))

    # --- reading -------------------------------------------------------------------------------------------------

    def changes(self, object: str, cursor: str | None) -> Page:
        """Return one page: first what was changed, in order of `updated_at`, then what was deleted."""
        collection = self._collection(object)
        state = msgspec.json.decode(cursor, type=Cursor) if cursor else Cursor()
        if state.phase == "deleted":
            return self._deleted(object, collection, state)
        if not state.deleted_from:
            state.deleted_from = (now() - LOOK_BACK).isoformat()
        if not collection.keyset:
            return self._roster(object, collection, state)
        return self._crowd(object, collection, state) if state.second else self._changed(object, collection, state)

    def get(self, object: str, external_id: str) -> Record | None:
        """Return the record as it is now, or None; the list with `only` does not hide what the show route hides."""
        return next(iter(self.fetch(object, [external_id])), None)

    def standing(self, object: str, external_id: str, body: Raw) -> Any:
        """Return what stands in a record; a price is read from its cents, as people see it with a currency sign."""
        record = self.get(object, external_id)
        if record is None:
            return None
        there = Answer(200, {}, record.raw).json()[object]
        if there.get("price_in_cents") is not None:
            there["price"] = Decimal(there["price_in_cents"]) / (there.get("currency_base_unit") or 100)
        return there

    def fetch(self, object: str, external_ids: Sequence[str]) -> list[Record]:
        """Return the records as they are now, a page of them per call."""
        collection = self._collection(object)
        records: list[Record] = []
        for start in range(0, len(external_ids), self._size):
            listing = self._list(collection, only=",".join(external_ids[start : start + self._size]))
            records += self._records(object, listing)
        return records

    def _changed(self, object: str, collection: Collection, state: Cursor) -> Page:
        """Read one page by keyset.

        Each page starts where the last one ended, never at a page number: rows that change while we read move to the
        end and would push others over the edge of a page. `updated_at` has whole seconds, so a page ends with the last
        second that is whole in it, and a second with more rows than a page is read by `_crowd`.
        """
        if state.phase == "":
            state.phase = "changed"
            if state.mark and (not state.looked or now() - date_of(state.looked) >= LOOK_EVERY):
                state.after = (date_of(state.mark) - LOOK_BACK).isoformat()
                state.looked = now().isoformat()
        listing = self._list(collection, order="updated_at:asc", **_when(updated_after=state.after))
        stamps = [date_of(facts.updated_at) for facts in listing.facts if facts.updated_at]
        if not listing.more or not stamps:
            state.mark = max([state.mark, *(stamp.isoformat() for stamp in stamps)])
            self._end_of_changes(state, listing)
            return self._page(object, listing, state)
        last = max(stamps)
        whole = [facts for facts in listing.facts if facts.updated_at and date_of(facts.updated_at) < last]
        if whole:  # the last second may go on behind the edge of this page: the next one begins with all of it
            state.after = (last - SECOND).isoformat()
        elif state.crowded != last.isoformat():
            state.second, state.page, state.count = last.isoformat(), 1, -1
        else:  # the vendor counts `after` from that second on: it was read to the end already
            state.after = (last + SECOND).isoformat()
        listing.facts = whole
        return self._page(object, listing, state)

    def _crowd(self, object: str, collection: Collection, state: Cursor) -> Page:
        """Read one page of a second that has more rows than a page; start it again when rows have left it."""
        second = date_of(state.second)
        window = _when(updated_after=(second - SECOND).isoformat(), updated_before=(second + SECOND).isoformat())
        listing = self._list(collection, order="updated_at:asc", page=str(state.page), **window)
        if state.page > 1 and listing.count != state.count:
            state.page, state.count = 1, -1
        elif listing.more:
            state.page, state.count = state.page + 1, listing.count
        else:
            state.mark = max(state.mark, state.second)
            state.after = state.crowded = state.second
            state.second, state.page, state.count = "", 1, -1
        return self._page(object, listing, state)

    def _roster(self, object: str, collection: Collection, state: Cursor) -> Page:
        """Read one page of a list that can only be ordered by name and whose rows carry no stamp.

        What the first reading shows has no stamp either, so that reading it again is nothing new; what is seen to have
        changed later is stamped with the moment of reading, and a row that says the same again is not returned.
        """
        state.phase = "changed"
        listing = self._list(collection, page=str(state.page), **_when(updated_after=state.after))
        moved = state.page > 1 and listing.count != state.count
        if state.page == 1:
            state.began = listing.answered.isoformat()
        stamp = listing.answered.isoformat() if state.after else ""
        digests = {facts.id: _digest(listing.rows[facts.id]) for facts in listing.facts}
        fresh = [id for id, digest in digests.items() if digest not in (state.seen.get(id), state.fresh.get(id))]
        records = tuple(Record(object, id, stamp, listing.rows[id]) for id in fresh)
        state.fresh |= digests
        if moved:
            state.page, state.count = 1, -1
        elif listing.more:
            state.page, state.count = state.page + 1, listing.count
        else:
            state.after = (date_of(state.began) - LOOK_BACK).isoformat()
            state.seen, state.fresh, state.page, state.count = state.fresh, {}, 1, -1
            state.phase = "deleted" if self._hears_deletions() else ""
        return Page(records, _written(state), state.phase != "")

    def _end_of_changes(self, state: Cursor, listing: Listing) -> None:
        """Go on with the deletions; next time start where this one ended, with the last second while it is not over."""
        if state.mark:
            mark = date_of(state.mark)
            settled = mark.replace(microsecond=0) < listing.answered
            state.after = (mark if settled else mark - SECOND).isoformat()
            state.looked = state.looked or now().isoformat()
        state.crowded = ""
        state.phase = "deleted" if self._hears_deletions() else ""

    def _page(self, object: str, listing: Listing, state: Cursor) -> Page:
        return Page(tuple(self._records(object, listing)), _written(state), state.phase != "")

    # --- deletions -----------------------------------------------------------------------------------------------

    def _hears_deletions(self) -> bool:
        return self.connection.options.get("deletions", "") != "off"

    def _deleted(self, object: str, collection: Collection, state: Cursor) -> Page:
        """Read one page of the feed's deletions: unordered and repeated, which does no harm, and kept for nine days."""
        since = date_of(state.deleted_from)
        if now() - since > RETENTION:
            log.warning("deletions.missed", system=self.connection.system, object=object, since=state.deleted_from)
        params = {
            "event_types": f"{collection.event}:deleted",
            "created_after": state.deleted_from,
            "order": "created_at:asc",
            "per_page": str(self._size),
            "page": str(state.page),
        }
        answer = self.call("GET", "/subscribed_events", params=params)
        listing = Listing.read(answer, "subscribed_events")
        records = []
        for facts in listing.facts:
            if facts.event_type == f"{collection.event}:deleted" and facts.subject_id is not None:
                stamp = date_of(facts.subject_changed_at or facts.created_at).isoformat()
                records.append(Record(object, str(facts.subject_id), stamp, listing.rows[facts.id], deleted=True))
        if state.page == 1:
            state.began = listing.answered.isoformat()
        if listing.more:
            state.page += 1
        else:
            state.deleted_from = max(state.deleted_from, (date_of(state.began) - LOOK_BACK).isoformat())
            state.phase, state.page = "", 1
        return Page(tuple(records), _written(state), state.phase != "")

    # --- records with their companions ---------------------------------------------------------------------------

    def _records(self, object: str, listing: Listing) -> list[Record]:
        """Cut the records out of an answer, byte by byte, each with the companions its meaning depends on."""
        make = {
            "user": self._user,
            "workspace": self._workspace,
            "story": self._story,
            "workspace_allocation": self._allocation,
            "time_entry": self._time_entry,
        }[object]
        raws = make(listing)
        return [
            Record(object, facts.id, date_of(facts.updated_at or listing.answered.isoformat()).isoformat(), raw)
            for facts, raw in zip(listing.facts, raws, strict=True)
        ]

    def _user(self, listing: Listing) -> list[bytes]:
        return [listing.rows[facts.id] for facts in listing.facts]

    def _workspace(self, listing: Listing) -> list[bytes]:
        return [
            wrap(workspace=listing.rows[facts.id], reference=_ours(listing, facts, "project"))
            for facts in listing.facts
        ]

    def _story(self, listing: Listing) -> list[bytes]:
        finished = self._completions([facts.id for facts in listing.facts if facts.state == "completed"])
        return [
            wrap(
                story=listing.rows[facts.id],
                reference=_ours(listing, facts, "task"),
                completion=finished.get(facts.id),
            )
            for facts in listing.facts
        ]

    def _completions(self, stories: Sequence[str]) -> dict[str, bytes]:
        """Return each story's latest change to completed: a story itself does not say when it was completed."""
        if not stories:
            return {}
        collection = Collection("stories", "story_state_changes", READS["story"].params)
        listing = self._list(collection, only=",".join(stories))
        changes = listing.companions("story_state_changes")
        latest: dict[str, bytes] = {}
        for facts in listing.facts:
            known = [changes[id] for id in ids_of(facts.story_state_change_ids) if id in changes]
            done = [(date_of(one.created_at), raw) for one, raw in known if one.state == "completed"]
            if done:
                latest[facts.id] = max(done, key=lambda pair: pair[0])[1]
        return latest

    def _allocation(self, listing: Listing) -> list[bytes]:
        """Put each allocation beside its resource: who it is stands there, and only when the resource itself is asked."""
        wanted = {str(facts.workspace_resource_id) for facts in listing.facts if facts.workspace_resource_id}
        known: dict[str, bytes] = {}
        if wanted:
            collection = Collection("workspace_resources", "user,role", {"include_unnamed": "true"})
            known = self._list(collection, only=",".join(sorted(wanted))).rows
        return [
            wrap(
                workspace_allocation=listing.rows[facts.id],
                workspace_resource=known.get(str(facts.workspace_resource_id)),
            )
            for facts in listing.facts
        ]

    def _time_entry(self, listing: Listing) -> list[bytes]:
        roles, sheets = listing.companions("roles"), listing.companions("timesheet_submissions")
        raws = []
        for facts in listing.facts:
            role = roles.get(str(facts.role_id))
            # a rejected or cancelled timesheet is no active one: only the most recent one tells
            sheet = sheets.get(str(facts.active_submission_id)) or sheets.get(str(facts.recent_submission_id))
            raws.append(
                wrap(
                    time_entry=listing.rows[facts.id],
                    role=role[1] if role else None,
                    submission=sheet[1] if sheet else None,
                )
            )
        return raws

    # --- writing -------------------------------------------------------------------------------------------------

    def find(self, object: str, key: str) -> Receipt | None:
        """Look for the record that carries our key as an external reference."""
        if object == "external_reference":
            params = {"subject_type": "Workspace", "service_model": self._kind(object), "service_model_ref": key}
            listing = Listing.read(self.call("GET", "/external_references", params=params), "external_references")
        else:
            # not external_reference_service_model_ref: it is declared an integer, and our keys are none
            listing = self._list(
                self._collection(object),
                order="created_at:asc",
                external_reference_service_name=SERVICE,
                external_reference_service_model=self._kind(object),
                external_reference_service_model_refs=key,
            )
        return _receipt(listing.facts[0]) if listing.facts else None

    def send(self, object: str, key: str, body: Raw, external_id: str | None) -> Receipt:
        """Create or update; a create looks first, so that sending twice leaves one record."""
        if object == "external_reference":
            return self._sent("POST", "/external_references/create_or_update", object, "external_references", body)
        collection = self._collection(object)
        if external_id is None and (found := self.find(object, key)):
            external_id = found.external_id
        reference = {"service_name": SERVICE, "service_model": self._kind(object), "service_model_ref": key}
        whole = {**body, "external_reference": reference}
        if external_id is None:
            return self._sent("POST", f"/{collection.name}", object, collection.name, whole)
        changed = {name: value for name, value in whole.items() if name not in CREATE_ONLY[object]}
        return self._sent("PUT", f"/{collection.name}/{external_id}", object, collection.name, changed)

    def _sent(self, method: str, path: str, one: str, many: str, body: Raw) -> Receipt:
        listing = Listing.read(self.call(method, path, json={one: body}), many)
        if not listing.facts:
            raise Unsettled(f"{self.manifest.title} took the {one} and did not say under which id")
        return _receipt(listing.facts[0])

    # --- the vendor's ways ---------------------------------------------------------------------------------------

    def trouble(self, method: str, answer: Answer) -> Exception:
        """Name a bad answer; 503 after a write may mean that it has landed, unlike 429."""
        if answer.status == 503 and method != "GET":
            return Unsettled(f"{self.manifest.title} answered 503; the write may have landed")
        return super().trouble(method, answer)

    def refusal(self, answer: Answer) -> tuple[str, str, str]:
        """Read `{errors: [{type, message, field}]}`; there are no codes, so the status and the type make one."""
        by_status = {400: "bad_request", 401: "sign_in", 403: "forbidden", 404: "not_found"}
        try:
            errors = msgspec.json.decode(answer.raw, type=_Errors).errors
        except msgspec.DecodeError:
            return by_status.get(answer.status, str(answer.status)), f"Kantata answered {answer.status}", ""
        kind = errors[0].type if errors else str(answer.status)
        message = "; ".join(error.message for error in errors) or f"Kantata answered {answer.status}"
        return by_status.get(answer.status, kind), message, ", ".join(error.field for error in errors if error.field)

    def _list(self, collection: Collection, **params: str) -> Listing:
        asked = {**collection.params, "per_page": str(self._size), **params}
        if collection.include:
            asked["include"] = collection.include
        return Listing.read(self.call("GET", f"/{collection.name}", params=asked), collection.name)

    def _collection(self, object: str) -> Collection:
        if object not in READS:
            raise Broken(f"Kantata has no object {object}; there are {', '.join(READS)}")
        return READS[object]

    def _kind(self, object: str) -> str:
        return self.manifest.writes[object].kind


class _Error(msgspec.Struct):
    type: str = "system"
    message: str = ""
    field: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


def _when(**bounds: str) -> dict[str, str]:
    """Return the time filters that are set, as ISO 8601 in UTC."""
    return {name: date_of(bound).strftime("%Y-%m-%dT%H:%M:%SZ") for name, bound in bounds.items() if bound}


def _ours(listing: Listing, facts: Facts, kind: str) -> bytes | None:
    """Return the reference that carries our identifier; others belong to other products, or show an invoice."""
    references = listing.companions("external_references")
    for id in ids_of(facts.external_reference_ids):
        found = references.get(id)
        if found and found[0].service_name == SERVICE and found[0].service_model == kind:
            return found[1]
    return None


def _receipt(facts: Facts) -> Receipt:
    return Receipt(facts.id, date_of(facts.updated_at).isoformat() if facts.updated_at else "")


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def _written(state: Cursor) -> str:
    return msgspec.json.encode(state).decode()
