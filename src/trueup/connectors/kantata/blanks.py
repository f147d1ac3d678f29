"""What the vendor fills in itself when a record is made."""

from collections.abc import Callable, Mapping
from typing import Protocol

from trueup.connectors.sdk.simulate import Row

ACCOUNT_ID = 4471009
INTEGRATION_USER = "9000001"


class Tables(Protocol):
    """Where a new record looks up what it takes from others."""

    def table(self, name: str) -> Mapping[str, Row]:
        """Return the rows of a collection by id."""


def _blank_user(account: Tables, given: Row) -> Row:
    photo = "https://app.mavenlink.com/images/default_profile_photo/default.png"
    return {
        "full_name": "",
        "photo_path": photo,
        "email_address": "",
        "headline": None,
        "disabled": False,
        "role_id": None,
    }


def _blank_role(account: Tables, given: Row) -> Row:
    return {"name": ""}


def _blank_workspace(account: Tables, given: Row) -> Row:
    return {
        "title": "",
        "account_id": ACCOUNT_ID,
        "archived": False,
        "description": "",
        "start_date": None,
        "due_date": None,
        "budgeted": True,
        "change_orders_enabled": True,
        "access_level": "invitation",
        "consultant_role_name": "Consultants",
        "client_role_name": "Clients",
        "can_create_line_items": True,
        "can_invite": True,
        "has_budget_access": True,
        "default_rate": "0.00",
        "currency": "USD",
        "price_in_cents": None,
        "budget_used_in_cents": 0,
        "over_budget": False,
        "percentage_complete": 0,
        "require_time_approvals": True,
        "require_expense_approvals": True,
        "time_trackable": True,
        "stage": "project",
        "status": {"key": "100", "message": "Not Started", "color": "grey"},
        "creator_id": INTEGRATION_USER,
        "primary_maven_id": None,
    }


def _blank_participation(account: Tables, given: Row) -> Row:
    return {
        "role": "maven",
        "is_team_lead": False,
        "active_role": None,
        "access_level": "edit_tasks",
        "user_id": None,
        "workspace_id": None,
        "workspace_role_id": None,
    }


def _blank_resource(account: Tables, given: Row) -> Row:
    role = account.table("roles").get(str(given.get("role_id")), {}).get("name")
    name = account.table("users").get(str(given.get("user_id")), {}).get("full_name")
    workspace = account.table("workspaces").get(str(given.get("workspace_id")), {})
    return {
        "label": None,
        "role_name": role,
        "full_name": name,
        "display_label": name or role,
        "workspace_title": workspace.get("title"),
        "workspace_id": None,
        "user_id": None,
        "role_id": None,
        "participation_id": None,
    }


def _blank_allocation(account: Tables, given: Row) -> Row:
    resource = account.table("workspace_resources").get(str(given.get("workspace_resource_id")), {})
    return {
        "start_date": None,
        "end_date": None,
        "hard": False,
        "minutes": 0,
        "percentage": None,
        "notes": None,
        "workspace_resource_id": None,
        "workspace_id": resource.get("workspace_id"),
        "creator_id": INTEGRATION_USER,
        "updater_id": INTEGRATION_USER,
    }


def _blank_story(account: Tables, given: Row) -> Row:
    return {
        "title": "",
        "description": None,
        "story_type": "task",
        "state": "not started",
        "priority": "normal",
        "position": 1,
        "archived": False,
        "deleted_at": None,
        "start_date": None,
        "due_date": None,
        "billable": True,
        "fixed_fee": False,
        "project_plan": True,
        "time_trackable": True,
        "sub_story_count": 0,
        "percentage_complete": 0,
        "time_estimate_in_minutes": None,
        "logged_billable_time_in_minutes": 0,
        "logged_nonbillable_time_in_minutes": 0,
        "workspace_id": None,
        "parent_id": None,
        "creator_id": INTEGRATION_USER,
        "story_state_change_ids": [],
    }


def blank_time_entry(account: Tables, given: Row) -> Row:
    """Return a time entry before anybody has said anything about it."""
    workspace = account.table("workspaces").get(str(given.get("workspace_id")), {})
    return {
        "date_performed": None,
        "time_in_minutes": 0,
        "billable": True,
        "approved": not workspace.get("require_time_approvals", True),
        "notes": None,
        "rate_in_cents": 0,
        "cost_rate_in_cents": 0,
        "currency": workspace.get("currency", "USD"),
        "currency_symbol": workspace.get("currency_symbol", "$"),
        "currency_base_unit": workspace.get("currency_base_unit", 100),
        "taxable": False,
        "is_invoiced": False,
        "location": None,
        "user_can_edit": True,
        "workspace_id": None,
        "story_id": None,
        "user_id": INTEGRATION_USER,
        "role_id": None,
        "invoice_id": None,
        "active_submission_id": None,
        "recent_submission_id": None,
    }


def blank_submission(account: Tables, given: Row) -> Row:
    """Return a timesheet before anybody has said anything about it."""
    workspace = account.table("workspaces").get(str(given.get("workspace_id")), {})
    return {
        "title": "",
        "comment": None,
        "status": "pending",
        "type": "TimesheetSubmission",
        "start_date": None,
        "end_date": None,
        "current_resolution_created_at_date": None,
        "resolution_description": None,
        "currency": workspace.get("currency", "USD"),
        "currency_base_unit": workspace.get("currency_base_unit", 100),
        "time_entry_ids": [],
        "user_id": INTEGRATION_USER,
        "workspace_id": None,
    }


def _blank_reference(account: Tables, given: Row) -> Row:
    return {
        "service_name": None,
        "service_model": None,
        "service_model_ref": None,
        "subject_id": None,
        "subject_type": None,
        "status": "successful",
        "external_link": None,
        "external_message": None,
        "external_status": None,
        "locked": False,
        "last_synced_at": None,
    }


BLANK: Mapping[str, Callable[[Tables, Row], Row]] = {
    "users": _blank_user,
    "roles": _blank_role,
    "workspaces": _blank_workspace,
    "participations": _blank_participation,
    "workspace_resources": _blank_resource,
    "workspace_allocations": _blank_allocation,
    "stories": _blank_story,
    "time_entries": blank_time_entry,
    "timesheet_submissions": blank_submission,
    "external_references": _blank_reference,
}
