"""What the simulated Kantata knows of its collections: attributes, associations, orders, what may be written.

Source    the vendor's published specification (developer.kantata.com), read on 2026-11-23
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

WRITES_REFERENCE = "external_reference"


@dataclass(frozen=True, slots=True)
class Association:
    """What `include` adds: the id field, and the rows in a collection of their own.

    many       the field holds a list of ids
    with_only  the vendor gives it only together with `only`
    """

    field: str
    collection: str
    many: bool = False
    with_only: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One collection.

    one       the top-level key of a single record in a body
    subject   its name as the subject of a reference or an event
    event     its name in event types; empty when it has no events
    order     default order
    orders    fields a list may be ordered by; empty: whatever is asked, the default is used
    include   association -> what it adds
    optional  fields only given when named in `optional_fields`
    hidden    fields nobody is ever shown
    create    attribute -> type, of a new record; the others are ignored
    update    the attributes that may be changed later
    required  attributes that must be there, with the vendor's kind of message
    bulk      how many may be created at once; 0: one at a time
    """

    one: str
    subject: str
    event: str = ""
    order: str = "updated_at:desc"
    orders: frozenset[str] = frozenset()
    include: Mapping[str, Association] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    create: Mapping[str, str] = field(default_factory=dict)
    update: frozenset[str] = frozenset()
    required: Mapping[str, str] = field(default_factory=dict)
    bulk: int = 0

    @property
    def relations(self) -> frozenset[str]:
        """Return the id fields that are absent unless they are included."""
        return frozenset(association.field for association in self.include.values())


REFERENCES = {"external_references": Association("external_reference_ids", "external_references", many=True)}
STAMPS = frozenset({"created_at", "updated_at"})

WORKSPACE = {
    "title": "text",
    "creator_role": "text",
    "budgeted": "flag",
    "description": "text",
    "currency": "text",
    "price": "integer",
    "start_date": "date",
    "due_date": "date",
    "access_level": "text",
    "consultant_role_name": "text",
    "client_role_name": "text",
    "require_time_approvals": "flag",
    "require_expense_approvals": "flag",
    "status_key": "integer",
    "primary_maven_id": "id",
    "archived": "flag",
    "time_trackable": "flag",
    WRITES_REFERENCE: "reference",
}
STORY = {
    "workspace_id": "id",
    "title": "text",
    "story_type": "text",
    "description": "text",
    "parent_id": "id",
    "start_date": "date",
    "due_date": "date",
    "archived": "flag",
    "time_estimate_in_minutes": "integer",
    "billable": "flag",
    "percentage_complete": "integer",
    "state": "text",
    "fixed_fee": "flag",
    "time_trackable": "flag",
    WRITES_REFERENCE: "reference",
}
TIME_ENTRY = {
    "workspace_id": "id",
    "date_performed": "date",
    "time_in_minutes": "integer",
    "billable": "flag",
    "notes": "text",
    "rate_in_cents": "integer",
    "role_id": "id",
    "story_id": "id",
    "user_id": "id",
    "location": "text",
    WRITES_REFERENCE: "reference",
}
ALLOCATION = {
    "resource_id": "id",
    "start_date": "date",
    "end_date": "date",
    "minutes": "integer",
    "hard": "flag",
    "notes": "text",
    WRITES_REFERENCE: "reference",
}
REFERENCE = {
    "service_name": "text",
    "service_model": "text",
    "service_model_ref": "text",
    "subject_id": "id",
    "subject_type": "text",
    "status": "text",
    "external_link": "text",
    "external_message": "text",
    "external_status": "text",
    "locked": "flag",
}

KINDS: Mapping[str, Kind] = {
    "users": Kind(
        one="user",
        subject="User",
        event="user",
        order="alphabetical:asc",
        orders=frozenset({"alphabetical"}),
        include={"role": Association("role_id", "roles"), **REFERENCES},
        hidden=STAMPS | {"disabled"},  # the list filters by a moment of update that it never shows
        update=frozenset({"full_name", "headline", "email_address", WRITES_REFERENCE}),
        create={"full_name": "text", "headline": "text", "email_address": "text", WRITES_REFERENCE: "reference"},
    ),
    "roles": Kind(
        one="role",
        subject="Role",
        event="role",
        order="created_at:desc",
        orders=frozenset({"created_at", "name"}),
        include=REFERENCES,
        hidden=STAMPS,
        create={"name": "text", WRITES_REFERENCE: "reference"},
        update=frozenset({"name", WRITES_REFERENCE}),
        required={"name": "Name can't be blank"},
    ),
    "workspaces": Kind(
        one="workspace",
        subject="Workspace",
        event="workspace",
        orders=STAMPS | {"title", "start_date", "due_date", "percentage_complete", "status", "price"},
        include={
            "creator": Association("creator_id", "users"),
            "primary_maven": Association("primary_maven_id", "users"),
            "participants": Association("participant_ids", "users", many=True),
            "participations": Association("participation_ids", "participations", many=True),
            "workspace_resources": Association("workspace_resource_ids", "workspace_resources", many=True),
            "timesheet_submissions": Association("timesheet_submission_ids", "timesheet_submissions", many=True),
            **REFERENCES,
        },
        optional=frozenset({"stage"}),
        create=WORKSPACE,
        update=frozenset(WORKSPACE) - {"creator_role", "primary_maven_id"},
        required={"title": "Please give your project a title", "creator_role": "Please select a role for this project"},
    ),
    "participations": Kind(
        one="participation",
        subject="Participation",
        event="participation",
        orders=STAMPS,
        include={
            "user": Association("user_id", "users"),
            "workspace": Association("workspace_id", "workspaces"),
            "workspace_role": Association("workspace_role_id", "roles"),
            **REFERENCES,
        },
        create={"workspace_id": "id", "user_id": "id", "role": "text", "access_level": "text"},
        required={"workspace_id": "Workspace can't be blank", "user_id": "User can't be blank"},
    ),
    "workspace_resources": Kind(
        one="workspace_resource",
        subject="WorkspaceResource",
        event="workspace_resource",
        orders=STAMPS | {"alphabetically"},
        include={
            "user": Association("user_id", "users"),
            "role": Association("role_id", "roles"),
            "participation": Association("participation_id", "participations"),
            "workspace": Association("workspace_id", "workspaces"),
            **REFERENCES,
        },
        create={"workspace_id": "id", "user_id": "id", "role_id": "id", WRITES_REFERENCE: "reference"},
        update=frozenset({"user_id", "role_id", WRITES_REFERENCE}),
        required={"workspace_id": "Workspace can't be blank"},
    ),
    "workspace_allocations": Kind(
        one="workspace_allocation",
        subject="WorkspaceAllocation",
        event="workspace_allocation",
        orders=frozenset({"updated_at"}),
        include={
            "workspace": Association("workspace_id", "workspaces"),
            "workspace_resource": Association("workspace_resource_id", "workspace_resources"),
            "creator": Association("creator_id", "users"),
            "updater": Association("updater_id", "users"),
            **REFERENCES,
        },
        create=ALLOCATION,
        update=frozenset(ALLOCATION) - {"resource_id"},
        required={
            "resource_id": "Resource can't be blank",
            "start_date": "Start date can't be blank",
            "end_date": "End date can't be blank",
            "minutes": "Minutes can't be blank",
        },
        bulk=200,
    ),
    "stories": Kind(
        one="story",
        subject="Story",
        event="story",
        orders=STAMPS | {"due_date", "start_date", "position", "importance", "parent_and_position", "priority_level"},
        include={
            "workspace": Association("workspace_id", "workspaces"),
            "parent": Association("parent_id", "stories"),
            "creator": Association("creator_id", "users"),
            "story_state_changes": Association(
                "story_state_change_ids", "story_state_changes", many=True, with_only=True
            ),
            **REFERENCES,
        },
        create=STORY,
        update=frozenset(STORY) - {"workspace_id"},
        required={"title": "Title can't be blank", "workspace_id": "Workspace can't be blank"},
        bulk=300,
    ),
    "story_state_changes": Kind(
        one="story_state_change",
        subject="StoryStateChange",
        order="created_at:asc",
        orders=frozenset({"created_at"}),
        include={"story": Association("story_id", "stories"), "user": Association("user_id", "users")},
    ),
    "time_entries": Kind(
        one="time_entry",
        subject="TimeEntry",
        event="time_entry",
        order="date_performed:desc",
        orders=STAMPS | {"date_performed"},
        include={
            "workspace": Association("workspace_id", "workspaces"),
            "story": Association("story_id", "stories"),
            "user": Association("user_id", "users"),
            "role": Association("role_id", "roles"),
            "invoice": Association("invoice_id", "invoices"),
            "active_submission": Association("active_submission_id", "timesheet_submissions"),
            "recent_submission": Association("recent_submission_id", "timesheet_submissions"),
            **REFERENCES,
        },
        optional=frozenset({"user_can_edit"}),
        create=TIME_ENTRY,
        update=frozenset(TIME_ENTRY),
        required={
            "workspace_id": "Workspace can't be blank",
            "date_performed": "Date performed can't be blank",
            "time_in_minutes": "Time in minutes can't be blank",
        },
    ),
    "timesheet_submissions": Kind(
        one="timesheet_submission",
        subject="TimesheetSubmission",
        event="timesheet",
        order="date:desc",
        orders=frozenset({"date"}),
        include={
            "user": Association("user_id", "users"),
            "workspace": Association("workspace_id", "workspaces"),
            "time_entries": Association("time_entry_ids", "time_entries", many=True),
            **REFERENCES,
        },
        create={"title": "text", "comment": "text", "workspace_id": "id", "user_id": "id", "line_item_ids": "ids"},
        required={
            "line_item_ids": "Line items can't be blank",
            "title": "Title can't be blank",
            "workspace_id": "Workspace can't be blank",
        },
    ),
    "external_references": Kind(
        one="external_reference",
        subject="ExternalReference",
        order="last_synced_at:desc",
        orders=frozenset({"created_at", "last_synced_at"}),
        create=REFERENCE,
        update=frozenset(REFERENCE),
        required={
            "service_name": "Service name can't be blank",
            "service_model": "Service model can't be blank",
            "service_model_ref": "Service model ref can't be blank",
            "subject_id": "Subject can't be blank",
            "subject_type": "Subject type can't be blank",
        },
    ),
    "subscribed_events": Kind(
        one="subscribed_event",
        subject="SubscribedEvent",
        order="created_at:desc",
        orders=frozenset({"created_at"}),
        optional=frozenset({"previous_payload", "current_payload", "payload_changes"}),
    ),
}

WRITABLE = frozenset(
    {
        "workspaces",
        "stories",
        "time_entries",
        "timesheet_submissions",
        "workspace_allocations",
        "workspace_resources",
        "participations",
        "roles",
    }
)
"""Collections a POST makes records in; users come by invitation, references by create_or_update."""

SUBJECTS: Mapping[str, str] = {kind.subject: name for name, kind in KINDS.items()} | {
    "Submission": "timesheet_submissions"
}
"""Subject of a reference or an event -> collection."""

STATUSES: Mapping[int, tuple[str, str]] = {
    90: ("Backlog", "grey"),
    100: ("Not Started", "grey"),
    300: ("In Progress", "green"),
    305: ("In Development", "green"),
    420: ("On Hold", "yellow"),
    520: ("Cancelled", "red"),
    600: ("Completed", "blue"),
}
"""Status of a workspace: key -> (message, colour). The messages and colours are the vendor's; of the keys only 305
could be confirmed from public sources, which is why the mapping reads the message."""

STORY_STATES = ("not started", "started", "needs info", "completed")
STORY_TYPES = ("task", "deliverable", "milestone", "issue")
ROLES_OF_CREATOR = ("maven", "consultant", "buyer", "client")
REFERENCE_STATUSES = ("pending", "successful", "failed")
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
