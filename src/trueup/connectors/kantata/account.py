"""The simulated account: its rows, what follows from a change, and the event each change leaves behind."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta, timezone
from decimal import Decimal
from typing import Any

from trueup.connectors.kantata.blanks import ACCOUNT_ID, BLANK, INTEGRATION_USER, blank_submission, blank_time_entry
from trueup.connectors.kantata.catalogue import KINDS, STATUSES, SUBJECTS, SYMBOLS
from trueup.connectors.sdk.simulate import Row, Store
from trueup.kernel.money import minor_digits

ZONE = timezone(timedelta(hours=-7))
"""The account's time zone: the vendor writes instants with an offset, in whole seconds."""

DUPLICATED = 7
"""Every seventh event comes twice (developer.kantata.com: "events may sometimes be duplicated")."""

EVENTS = "_subscribed_events"
FIRST_ID = {
    "users": 9000101,
    "roles": 310001,
    "workspaces": 41000001,
    "participations": 51000001,
    "workspace_resources": 61000001,
    "workspace_allocations": 71000001,
    "stories": 81000001,
    "story_state_changes": 91000001,
    "time_entries": 120000001,
    "timesheet_submissions": 150000001,
    "external_references": 170000001,
    EVENTS: 200000001,
}


class Account:
    """The rows of one account. Everything is kept in the store, so a restarted simulator goes on."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def table(self, name: str) -> Mapping[str, Row]:
        """Return the rows of a collection by id."""
        return self.store.table(EVENTS if name == "subscribed_events" else name)

    def now(self) -> str:
        """Return the present instant as the vendor writes it."""
        return self.store.stamp().astimezone(ZONE).isoformat(timespec="seconds")

    def new_id(self, table: str) -> str:
        """Return the next free id of a collection."""
        while True:
            id = str(self.store.next_number(table, FIRST_ID[table]))
            if id not in self.store.table(table):
                return id

    # --- rows ----------------------------------------------------------------------------------------------------

    def add(self, table: str, given: Row, *, at: str = "") -> Row:
        """Make a row: defaults, then what is given, then what follows from it."""
        at = at or self.now()
        id = str(given.get("id") or self.new_id(table))
        row = BLANK[table](self, given) | given | {"id": id}
        row = self._derived(table, {}, row) | {"created_at": at, "updated_at": at}
        self.store.put(table, id, row)
        self._tell(table, "created", id, None, row, at)
        if table == "stories" and row["state"] != "not started":
            self._note_state(row, at)
        return self.table(table)[id]

    def change(self, table: str, id: str, changes: Row, *, at: str = "", state_at: str = "") -> Row:
        """Change a row; nothing happens when it says the same already.

        state_at  the instant a change of a story's state is noted under, where it is not now
        """
        before = self.table(table)[id]
        wanted = self._derived(table, before, {**before, **changes})
        if wanted == before:
            return before
        at = at or self.now()
        row = wanted | {"updated_at": at}
        self.store.put(table, id, row)
        self._tell(table, "updated", id, before, row, at)
        if table == "stories" and row["state"] != before["state"]:
            self._note_state(row, state_at or at)
        return self.table(table)[id]

    def drop(self, table: str, id: str) -> None:
        """Delete a row for good, with what hangs on it."""
        row = self.table(table)[id]
        if table == "workspaces":
            for inner in ("time_entries", "timesheet_submissions", "workspace_allocations", "stories"):
                for found in [key for key, one in self.table(inner).items() if one.get("workspace_id") == id]:
                    self.drop(inner, found)
        if table == "time_entries":
            self._leave_sheet(row)
        self.store.delete(table, id)
        for key in [key for key, one in self.references_to(KINDS[table].subject, id)]:
            self.store.delete("external_references", key)
        self._tell(table, "deleted", id, row, None, self.now())

    def _leave_sheet(self, entry: Row) -> None:
        """Take a deleted time entry off its timesheets."""
        for id in {entry["active_submission_id"], entry["recent_submission_id"]} - {None}:
            sheet = self.table("timesheet_submissions")[str(id)]
            rest = [one for one in sheet["time_entry_ids"] if one != entry["id"]]
            self.store.put("timesheet_submissions", str(id), sheet | {"time_entry_ids": rest})

    def _derived(self, table: str, before: Row, row: Row) -> Row:
        """Return the row with the values the vendor works out itself."""
        if table == "workspaces":
            return _workspace_figures(before, row)
        if table == "stories":
            return _story_progress(before, row)
        return row

    def _note_state(self, story: Row, at: str) -> None:
        """Add to the audit trail of a story's state."""
        id = self.new_id("story_state_changes")
        change = {
            "id": id,
            "story_id": story["id"],
            "user_id": INTEGRATION_USER,
            "state": story["state"],
            "formatted_state": story["state"].capitalize(),
            "created_at": at,
            "updated_at": at,
        }
        self.store.put("story_state_changes", id, change)
        known = [*story["story_state_change_ids"], id]
        self.store.put("stories", story["id"], self.table("stories")[story["id"]] | {"story_state_change_ids": known})

    # --- references to other products ----------------------------------------------------------------------------

    def references_to(self, subject: str, id: str) -> list[tuple[str, Row]]:
        """Return the external references of one record."""
        return [
            (key, row)
            for key, row in self.table("external_references").items()
            if row["subject_type"] == subject and str(row["subject_id"]) == id
        ]

    def refer(self, given: Row) -> Row:
        """Create or update a reference: a service has one per record, so the same name again changes it."""
        subject, id = str(given["subject_type"]), str(given["subject_id"])
        for key, row in self.references_to(subject, id):
            if row["service_name"] == given["service_name"]:
                return self.change("external_references", key, given | {"last_synced_at": self.now()})
        return self.add("external_references", given | {"last_synced_at": self.now()})

    # --- time ----------------------------------------------------------------------------------------------------

    def book(self, rows: Sequence[Row], *, approved: bool) -> tuple[list[str], list[str]]:
        """Book time by the thousand; rows with the same `sheet`, person and workspace go onto one timesheet.

        Returns   ids of the entries in the order of the rows, ids of their timesheets
        """
        at = self.now()
        known = self.table("time_entries")
        ids, entries = [], []
        sheets: dict[tuple[str, str, str], list[Row]] = {}
        submissions: dict[str, None] = {}
        for given in rows:
            id = str(given.get("id") or self.new_id("time_entries"))
            ids.append(id)
            if id in known:
                submissions |= {str(one): None for one in (known[id]["recent_submission_id"],) if one}
                continue
            entry = blank_time_entry(self, given) | given | {"id": id, "created_at": at, "updated_at": at}
            title = entry.pop("sheet", None)
            entries.append(entry)
            if title:
                sheets.setdefault((title, entry["user_id"], entry["workspace_id"]), []).append(entry)
        submissions |= {self._sheet(key, held, at, approved=approved): None for key, held in sheets.items()}
        for entry in entries:
            self.store.put("time_entries", entry["id"], entry)
            self._tell("time_entries", "created", entry["id"], None, entry, at)
        self._log_on_stories(entries, at)
        return ids, list(submissions)

    def _sheet(self, key: tuple[str, str, str], entries: Sequence[Row], at: str, *, approved: bool) -> str:
        """Put entries that are being booked onto a timesheet."""
        title, user, workspace = key
        given = {"title": title, "user_id": user, "workspace_id": workspace}
        id = self.new_id("timesheet_submissions")
        dates = sorted(str(entry["date_performed"]) for entry in entries)
        row = {
            **blank_submission(self, given),
            **given,
            **_week(dates),
            "id": id,
            "time_entry_ids": [entry["id"] for entry in entries],
            "status": "approved" if approved else "pending",
            "created_at": at,
            "updated_at": at,
        }
        for entry in entries:
            entry["active_submission_id"] = entry["recent_submission_id"] = id
            entry["approved"] = approved
        self.store.put("timesheet_submissions", id, row)
        self._tell("timesheet_submissions", "created", id, None, row, at)
        return id

    def _log_on_stories(self, entries: Iterable[Row], at: str) -> None:
        """Add to the time of the stories; time on a story that was not started starts it."""
        logged: dict[str, dict[bool, int]] = {}
        for entry in entries:
            if entry["story_id"] is not None:
                minutes = logged.setdefault(entry["story_id"], {True: 0, False: 0})
                minutes[bool(entry["billable"])] += entry["time_in_minutes"]
        for id, minutes in logged.items():
            story = self.table("stories")[id]
            changes = {
                "logged_billable_time_in_minutes": story["logged_billable_time_in_minutes"] + minutes[True],
                "logged_nonbillable_time_in_minutes": story["logged_nonbillable_time_in_minutes"] + minutes[False],
            }
            if story["state"] == "not started":
                changes["state"] = "started"
            self.change("stories", id, changes, at=at)

    def submit(self, given: Row, entries: Sequence[str]) -> Row:
        """Put booked entries onto a timesheet of one project."""
        held = [self.table("time_entries")[id] for id in entries]
        dates = sorted(str(entry["date_performed"]) for entry in held)
        sheet = self.add("timesheet_submissions", given | _week(dates) | {"time_entry_ids": list(entries)})
        for id in entries:
            on_sheet = {"active_submission_id": sheet["id"], "recent_submission_id": sheet["id"]}
            self.change("time_entries", id, on_sheet, at=sheet["updated_at"])
        return sheet

    def resolve(self, submission: str, status: str) -> Row:
        """Approve, reject or cancel a timesheet; its entries follow, and are stamped anew."""
        at = self.now()
        changes = {"status": status, "current_resolution_created_at_date": at, "resolution_description": ""}
        sheet = self.change("timesheet_submissions", submission, changes, at=at)
        for id in sheet["time_entry_ids"]:
            entry = self.table("time_entries")[id]
            approved = (
                status == "approved" or not self.table("workspaces")[entry["workspace_id"]]["require_time_approvals"]
            )
            active = submission if status in ("approved", "pending") else None
            self.change("time_entries", id, {"approved": approved, "active_submission_id": active}, at=at)
        return sheet

    # --- events --------------------------------------------------------------------------------------------------

    def _tell(self, table: str, verb: str, id: str, before: Row | None, after: Row | None, at: str) -> None:
        """Leave an event behind; some come twice. Within a second their ids say nothing about their order."""
        kind = KINDS[table]
        if not kind.event or (kind.event == "timesheet" and verb == "deleted"):
            return
        changes: dict[str, Any] | None = None
        if before is not None and after is not None:
            changes = {name: [before.get(name), new] for name, new in after.items() if before.get(name) != new}
        event = {
            "event_type": f"{kind.event}:{verb}",
            "account_id": ACCOUNT_ID,
            "user_id": int(INTEGRATION_USER),
            "subject_id": int(id),
            "subject_type": kind.subject,
            "subject_changed_at": at,
            "created_at": at,
            "before": before if verb == "deleted" else None,
            "after": after if verb == "created" else None,
            "changes": changes,
        }
        number = self.store.next_number(EVENTS, FIRST_ID[EVENTS])
        self.store.put(EVENTS, str(number * 2), event | {"id": str(number * 2)})
        if number % DUPLICATED == 0:
            self.store.put(EVENTS, str(number * 2 + 1), event | {"id": str(number * 2 + 1)})

    def payloads(self, event: Row) -> Row:
        """Return an event with its payloads as texts, the way the vendor gives them on request."""
        changes = event["changes"]
        before = event["before"] or (changes and {name: pair[0] for name, pair in changes.items()})
        after = event["after"] or (changes and {name: pair[1] for name, pair in changes.items()})
        shown = {name: value for name, value in event.items() if name not in ("before", "after", "changes")}
        texts = {"previous_payload": before, "current_payload": after, "payload_changes": changes}
        return shown | {name: json.dumps(value) if value else None for name, value in texts.items()}

    def subject_of(self, event: Row) -> Row | None:
        """Return the reference to an event's subject, or None when it is gone."""
        table = SUBJECTS[event["subject_type"]]
        id = str(event["subject_id"])
        return {"key": table, "id": id} if id in self.table(table) else None


def _workspace_figures(before: Row, row: Row) -> Row:
    """Work out a workspace's money fields and its status from what was set."""
    currency = str(row["currency"])
    per = 10 ** minor_digits(currency)
    row = row | {"currency_symbol": SYMBOLS.get(currency, currency), "currency_base_unit": per}
    price = row.pop("price_given", None)
    if price is not None:
        row["price_in_cents"] = int(Decimal(str(price)) * per)
    cents = row["price_in_cents"]
    row["price"] = "TBD" if cents is None else f"{row['currency_symbol']}{cents // per:,}"
    key = row.pop("status_key", None)
    if key is not None:
        message, colour = STATUSES[int(key)]
        row["status"] = {"key": str(key), "message": message, "color": colour}
    row["effective_due_date"] = row["due_date"]
    return row


def _story_progress(before: Row, row: Row) -> Row:
    """Keep a story's state and its percentage in step, as the vendor does."""
    done = row["percentage_complete"] == 100 and before.get("percentage_complete") != 100
    if done and row["state"] == before.get("state"):
        row = row | {"state": "completed"}
    elif row["state"] == "completed":
        row = row | {"percentage_complete": 100}
    return row | {"status": row["state"]}


def _week(dates: Sequence[str]) -> Row:
    """Return the week a timesheet is for."""
    if not dates:
        return {}
    first = date.fromisoformat(dates[0])
    monday = first - timedelta(days=first.weekday())
    return {"start_date": monday.isoformat(), "end_date": (monday + timedelta(days=6)).isoformat()}
