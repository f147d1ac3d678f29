"""A simulated Kantata OX account: what its published contract promises, and what it leaves open, on the safe side."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import date
from typing import ClassVar

from trueup.connectors.kantata.account import ZONE, Account
from trueup.connectors.kantata.blanks import INTEGRATION_USER
from trueup.connectors.kantata.catalogue import KINDS, STATUSES, SUBJECTS, WRITABLE, WRITES_REFERENCE
from trueup.connectors.kantata.checks import KEYS, check_reference, checked
from trueup.connectors.kantata.filters import refuse
from trueup.connectors.kantata.listing import envelope, list_of, visible
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.simulate import Reject, Request, Response, Row, Simulator, Store, route

CODE_SECONDS = 300
END_OF_WORK = "T17:00:00"


class KantataAccount(Simulator):
    """Routes of the vendor's API, and what people do in its pages.

    A list answers `count`, `meta`, `results` and rows by id. Attributes nobody knows are ignored, as are unknown
    parameters; known ones of a wrong type are refused with 422.
    """

    vendor: ClassVar[str] = "kantata"

    def __init__(self, manifest: Manifest, store: Store, credentials: Mapping[str, str], webhook_secret: str) -> None:
        super().__init__(manifest, store, credentials, webhook_secret)
        self.account = Account(store)

    # --- the vendor's shapes -------------------------------------------------------------------------------------

    def authorize(self, request: Request) -> None:
        """Take the access token made for the integration user, or one from the sign-in; they never expire."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = self.store.table("_tokens").get(token, {"revoked": token != self.credentials.get("access_token", "")})
        if scheme != "Bearer" or not token or known["revoked"]:
            raise refuse(401, "oauth", "Invalid OAuth 2 Request")

    def throttled(self) -> Response:
        """Return 429; the vendor does not say for how long."""
        return Response(429, {"errors": [{"type": "system", "message": "Too many requests"}]})

    def unavailable(self) -> Response:
        """Return what the gateway answers after three minutes: a page, no JSON."""
        page = (
            b"<html><head><title>504 Gateway Time-out</title></head><body><h1>504 Gateway Time-out</h1></body></html>"
        )
        return Response(504, page, {"content-type": "text/html"})

    def missing(self, request: Request) -> Response:
        """Return 404 as the vendor shapes it."""
        return Response(404, {"errors": [{"type": "system", "message": "Not found"}]})

    # --- routes --------------------------------------------------------------------------------------------------

    @route("POST", "/oauth/token", public=True)
    def exchange(self, request: Request) -> Response:
        """Exchange an authorization code for a token that never expires."""
        form = request.form()
        code = self.store.table("_codes").get(form.get("code", ""))
        good = (
            form.get("grant_type") == "authorization_code"
            and form.get("client_id") == self.credentials.get("client_id")
            and form.get("client_secret") == self.credentials.get("client_secret")
            and code is not None
            and self.store.stamp().timestamp() - code["at"] < CODE_SECONDS
        )
        if not good:
            raise refuse(401, "oauth", "Invalid OAuth 2 Request")
        self.store.delete("_codes", form["code"])
        token = secrets.token_hex(32)
        self.store.put("_tokens", token, {"revoked": False})
        return Response(200, {"access_token": token, "token_type": "bearer"})

    @route("POST", "/api/v1/external_references/create_or_update")
    def create_or_update_reference(self, request: Request) -> Response:
        """Create a reference, or change the one its service has on this record."""
        given = checked(self.account, "external_references", self._body(request, "external_reference"))
        check_reference(given)
        table = SUBJECTS.get(str(given["subject_type"]))
        if table is None or str(given["subject_id"]) not in self.account.table(table):
            raise refuse(422, "validation", "Subject can't be blank", "subject_id")
        row = self.account.refer(given | {"subject_id": int(given["subject_id"])})
        return Response(200, envelope(self.account, "external_references", [row], request))

    @route("GET", "/api/v1/subscribed_events/event_types")
    def event_types(self, request: Request) -> Response:
        """Return the registry of event types."""
        verbs = ("created", "updated", "deleted")
        types = [f"{kind.event}:{verb}" for kind in KINDS.values() if kind.event for verb in verbs]
        return Response(200, {"subscribed_event_types": types, "subscribed_event_type_schemas": {}})

    @route("GET", "/api/v1/{name}")
    def index(self, request: Request, name: str) -> Response:
        """List a collection."""
        return Response(200, list_of(self.account, self._table(name, request), request))

    @route("POST", "/api/v1/{name}")
    def make(self, request: Request, name: str) -> Response:
        """Create one record, or several at once where the vendor allows it."""
        if name.removesuffix(".json") == "timesheet_approvals":
            return self._approve_many(request)
        table = self._table(name, request)
        if table not in WRITABLE:
            raise Reject(self.missing(request))
        kind, body = KINDS[table], request.json()
        if kind.bulk and isinstance(body, dict) and table in body:
            given = body[table]
            if not isinstance(given, list) or not 1 <= len(given) <= kind.bulk:
                raise refuse(400, "system", f"{table} must be an array of up to {kind.bulk} objects")
        else:
            given = [self._body(request, kind.one)]
        bodies = [checked(self.account, table, one) for one in given]
        rows = [self._made(table, one) for one in bodies]
        return Response(200, envelope(self.account, table, rows, request, total=len(rows)))

    @route("GET", "/api/v1/{name}/{id}")
    def show(self, request: Request, name: str, id: str) -> Response:
        """Show one record; one that the default filters hide is not found."""
        table = self._table(name, request)
        row = self._found(table, id, request)
        if not visible(self.account, table, row, request):
            raise Reject(self.missing(request))
        return Response(200, envelope(self.account, table, [row], request))

    @route("PUT", "/api/v1/{name}/{id}")
    def update(self, request: Request, name: str, id: str) -> Response:
        """Change one record; attributes that can only be set once are ignored."""
        table = self._table(name, request)
        row, kind = self._found(table, id, request), KINDS[table]
        given = self._body(request, kind.one)
        body = checked(self.account, table, {name: given[name] for name in given if name in kind.update}, row)
        row = self._changed(table, row["id"], body)
        return Response(200, envelope(self.account, table, [row], request))

    @route("PUT", "/api/v1/timesheet_submissions/{id}/{action}")
    def resolve(self, request: Request, id: str, action: str) -> Response:
        """Approve, reject or cancel a timesheet."""
        statuses = {"approve": "approved", "reject": "rejected", "cancel": "cancelled"}
        action = action.removesuffix(".json")
        row = self._found("timesheet_submissions", id, request)
        if action not in statuses:
            raise Reject(self.missing(request))
        self._must_be_pending(row, action)
        row = self.account.resolve(row["id"], statuses[action])
        return Response(200, envelope(self.account, "timesheet_submissions", [row], request))

    @route("DELETE", "/api/v1/{name}/{id}")
    def destroy(self, request: Request, name: str, id: str) -> Response:
        """Delete one record for good."""
        table = self._table(name, request)
        row = self._found(table, id, request)
        if table not in WRITABLE | {"external_references"}:
            raise Reject(self.missing(request))
        self.account.drop(table, row["id"])
        return Response(204)

    # --- what people do ------------------------------------------------------------------------------------------

    def create(self, table: str, row: Row) -> Row:
        """Make a row as somebody does in the vendor's pages; making the same one again does nothing.

        row  may name its id (digits) and the ids of related records; a workspace takes `price` in whole units and
             `status` as its message
        """
        self._check_people(table, row)
        known = self.account.table(table).get(str(row.get("id", "")))
        if known is not None:
            differs = sorted(
                name for name, value in self._people(table, row).items() if known.get(name, value) != value
            )
            if differs:
                raise ValueError(f"{table}/{row['id']} exists and differs in {', '.join(differs)}; use edit")
            return known
        return self.account.add(table, self._people(table, row))

    def edit(self, table: str, id: str, changes: Row) -> Row:
        """Change a row as somebody does in the vendor's pages."""
        self._check_people(table, changes)
        self._must_exist(table, id)
        return self.account.change(table, id, self._people(table, changes))

    def remove(self, table: str, id: str) -> None:
        """Delete a row for good; removing it again does nothing."""
        if id in self.account.table(table):
            self.account.drop(table, id)

    def titled(self, table: str, start: str, workspace_id: str = "") -> Row | None:
        """Return the first workspace or story whose title is this text, or begins with it and a space."""
        for row in self.account.table(table).values():
            inside = not workspace_id or row.get("workspace_id") == workspace_id
            if inside and (row["title"] == start or row["title"].startswith(f"{start} ")):
                return row
        return None

    def set_status(self, workspace_id: str, message: str) -> Row:
        """Set a workspace's status by its message, such as "In Progress"."""
        return self.edit("workspaces", workspace_id, {"status": message})

    def staff(
        self,
        workspace_id: str,
        user_id: str,
        role_id: str,
        start_date: str,
        end_date: str,
        minutes: int,
        hard: bool = True,
    ) -> Row:
        """Put a person on a project: participation, resource and allocation; doing it again does nothing."""
        self._must_exist("workspaces", workspace_id)
        who = {"workspace_id": workspace_id, "user_id": user_id}
        part = self._first("participations", who) or self.account.add(
            "participations", who | {"workspace_role_id": role_id}
        )
        on = who | {"role_id": role_id}
        resource = self._first("workspace_resources", on) or self.account.add(
            "workspace_resources", on | {"participation_id": part["id"]}
        )
        plan: Row = {"workspace_resource_id": resource["id"], "start_date": start_date, "end_date": end_date}
        plan |= {"minutes": minutes, "hard": hard}
        return self._first("workspace_allocations", plan) or self.account.add("workspace_allocations", plan)

    def log_time(self, rows: Sequence[Row], approve: bool = False) -> dict[str, list[str]]:
        """Book time, by the thousand.

        rows     {workspace_id, user_id, role_id, date_performed, time_in_minutes} and, as wanted, {id, story_id,
                 billable, notes, rate_in_cents, sheet}; rows with a `sheet` (a title) go onto a timesheet, one per
                 sheet, person and workspace; without it they stay drafts. A row whose id exists is left alone.
        approve  the timesheets are approved at once; otherwise they stay pending
        Returns  {"entries": ids, "submissions": ids}
        """
        for row in rows:
            self._check_people("time_entries", row)
        kept = [self._people("time_entries", row) for row in rows]
        entries, submissions = self.account.book(kept, approved=approve)
        return {"entries": entries, "submissions": submissions}

    def approve_timesheet(self, submission_id: str) -> Row:
        """Approve a pending timesheet; its entries become approved. Approving it again does nothing."""
        return self._resolved(submission_id, "approved")

    def approve_timesheets(self, submission_ids: Sequence[str]) -> None:
        """Approve several timesheets."""
        for id in submission_ids:
            self._resolved(id, "approved")

    def reject_timesheet(self, submission_id: str) -> Row:
        """Reject a timesheet; its entries go back to their owner."""
        return self._resolved(submission_id, "rejected")

    def cancel_timesheet(self, submission_id: str) -> Row:
        """Take a timesheet back."""
        return self._resolved(submission_id, "cancelled")

    def complete_story(self, story_id: str, on: str = "") -> Row:
        """Complete a task or a milestone.

        on  the day it was completed (2026-08-28); the audit trail of its state shows the end of that day's work.
            Now when it is not given.
        """
        self._must_exist("stories", story_id)
        at = f"{date.fromisoformat(on).isoformat()}{END_OF_WORK}{_offset()}" if on else ""
        return self.account.change("stories", story_id, {"state": "completed"}, state_at=at)

    def grant(self) -> str:
        """Say yes on the vendor's consent page: return the authorization code, good for five minutes."""
        code = secrets.token_hex(16)
        self.store.put("_codes", code, {"at": self.store.stamp().timestamp()})
        return code

    def revoke(self, token: str = "") -> None:
        """Take an access token back; without one, that of the integration user."""
        self.store.put("_tokens", token or self.credentials["access_token"], {"revoked": True})

    # --- rules ---------------------------------------------------------------------------------------------------

    def _table(self, name: str, request: Request) -> str:
        table = name.removesuffix(".json")
        if table not in KINDS:
            raise Reject(self.missing(request))
        return table

    def _found(self, table: str, id: str, request: Request) -> Row:
        row = self.account.table(table).get(id.removesuffix(".json"))
        if row is None:
            raise Reject(self.missing(request))
        return row

    def _body(self, request: Request, one: str) -> Row:
        try:
            body = request.json()
        except ValueError:
            raise refuse(400, "system", "The request body is no JSON") from None
        if not isinstance(body, dict) or not isinstance(body.get(one), dict):
            raise refuse(400, "system", f"{one} is missing")
        given: Row = body[one]
        return given

    def _made(self, table: str, given: Row) -> Row:
        reference = given.pop(WRITES_REFERENCE, None)
        if reference is not None:
            check_reference(reference)
        if table == "timesheet_submissions":
            entries = given.pop("line_item_ids")
            self._check_line_items(entries, given)
            row = self.account.submit(given, entries)
        elif table == "time_entries":
            ids, _ = self.account.book([given], approved=False)
            row = self.account.table(table)[ids[0]]
        else:
            row = self.account.add(table, self._as_kept(table, given))
        if table == "workspaces":
            self.account.add("participations", {"workspace_id": row["id"], "user_id": row["creator_id"]})
        self._refer(table, row["id"], reference)
        return row

    def _changed(self, table: str, id: str, given: Row) -> Row:
        reference = given.pop(WRITES_REFERENCE, None)
        if reference is not None:
            check_reference(reference)
        row = self.account.change(table, id, self._as_kept(table, given))
        self._refer(table, id, reference)
        return row

    def _refer(self, table: str, id: str, reference: Row | None) -> None:
        if reference is not None:
            known = {name: value for name, value in reference.items() if name in KINDS["external_references"].create}
            self.account.refer(known | {"subject_type": KINDS[table].subject, "subject_id": int(id)})

    def _as_kept(self, table: str, given: Row) -> Row:
        """Return attributes of a body as the row keeps them."""
        kept = {name: value for name, value in given.items() if name != "creator_role"}
        if table == "workspaces" and "price" in kept:
            kept["price_given"] = kept.pop("price")
        if table == "workspace_allocations" and "resource_id" in kept:
            kept["workspace_resource_id"] = kept.pop("resource_id")
        return kept

    def _check_line_items(self, entries: list[str], given: Row) -> None:
        held = [self.account.table("time_entries").get(id) for id in entries]
        if any(one is None or one["workspace_id"] != given["workspace_id"] for one in held):
            raise refuse(422, "validation", "Line items must belong to one project", "line_item_ids")
        if any(one is not None and one["active_submission_id"] for one in held):
            raise refuse(422, "validation", "Line items are on an active submission", "line_item_ids")

    def _must_be_pending(self, submission: Row, action: str) -> None:
        if submission["status"] != "pending" and not (action == "reject" and submission["status"] == "approved"):
            raise refuse(422, "validation", f"Submission is {submission['status']}", "status")

    def _approve_many(self, request: Request) -> Response:
        """Approve several timesheets at once."""
        ids = self._body(request, "resolution").get("submission_ids") or []
        rows = [self._found("timesheet_submissions", str(id), request) for id in ids]
        for row in rows:
            self._must_be_pending(row, "approve")
        done = [self.account.resolve(row["id"], "approved") for row in rows]
        resolutions = [
            {"type": "approval", "target_id": int(row["id"]), "user_id": int(INTEGRATION_USER), "current": True}
            for row in done
        ]
        return Response(200, {"resolutions": resolutions})

    def _resolved(self, submission_id: str, status: str) -> Row:
        self._must_exist("timesheet_submissions", submission_id)
        row = self.account.table("timesheet_submissions")[submission_id]
        return row if row["status"] == status else self.account.resolve(submission_id, status)

    def _people(self, table: str, row: Row) -> Row:
        """Return a person's row as the store keeps it: ids as text, a status by its message, a price in whole units."""
        kept = {
            name: str(value) if name.endswith("_id") and value is not None else value for name, value in row.items()
        }
        kept = {name: value for name, value in kept.items() if name not in ("account_id", "subject_id")} | {
            name: int(row[name]) for name in ("account_id", "subject_id") if name in row
        }
        if table == "workspaces" and "price" in kept:
            kept["price_given"] = kept.pop("price")
        if table == "workspaces" and isinstance(kept.get("status"), str):
            keys = [key for key, (message, _) in STATUSES.items() if message == kept["status"]]
            if not keys:
                raise ValueError(
                    f"no status {kept['status']}; there are {', '.join(one for one, _ in STATUSES.values())}"
                )
            message, colour = STATUSES[keys[0]]
            kept["status"] = {"key": str(keys[0]), "message": message, "color": colour}
        return kept

    def _check_people(self, table: str, row: Row) -> None:
        if table not in KINDS or table in ("subscribed_events", "story_state_changes"):
            raise ValueError(f"nobody writes {table} by hand")
        if not str(row.get("id", "1")).isdigit():
            raise ValueError(f"{row['id']!r} is no id of Kantata: digits only")
        for name, inside in KEYS.items():
            if row.get(name) is not None:
                self._must_exist(inside, str(row[name]))

    def _must_exist(self, table: str, id: str) -> None:
        if id not in self.account.table(table):
            raise ValueError(f"there is no {table}/{id}")

    def _first(self, table: str, equal: Row) -> Row | None:
        """Return the first row with these values."""
        rows = self.account.table(table).values()
        return next((row for row in rows if all(row.get(name) == value for name, value in equal.items())), None)


def _offset() -> str:
    return ZONE.tzname(None).removeprefix("UTC")
