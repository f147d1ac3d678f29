"""Delivery at its desk: project managers staff and start projects; everybody books time; milestones are reached."""

from trueup.connectors.kantata.sandbox import KantataAccount
from trueup.sandbox.nordlys import MONTH_OF_STAGE, Row

FIRST_USER = 9000100
FIRST_ROLE = 310001
FIRST_TIME_ENTRY = 120000000
STARTED = "In Progress"


class Delivery:
    """Works in the PSA. Users, roles and time have ids that follow from the firm's keys.

    Workspaces, phases and milestones are the hub's: a workspace is found by its title (`D07-US01 ...`) and the hub's
    reference on it, a phase by its name as the title of a story, a milestone by a title that begins with its key.
    """

    def __init__(self, firm: Row, account: KantataAccount) -> None:
        self._firm = firm
        self._account = account
        self._roles = {role: str(FIRST_ROLE + place) for place, role in enumerate(firm["roles"])}

    def lacks(self, stage: str) -> list[str]:
        """Return the workspaces, phases and milestones the stage's work needs and the hub has not made."""
        workspaces = self._workspaces()
        if stage == "staffed":
            wanted = [project["code"] for project in self._firm["projects"]]
            return [f"kantata: workspace of project {code}" for code in wanted if code not in workspaces]
        if stage not in MONTH_OF_STAGE:
            return []
        stories = self._stories()
        month = MONTH_OF_STAGE[stage]
        phases = {(entry["project"], entry["phase"]) for entry in self._time_of(month)}
        missing = [
            f"kantata: story {phase} in the workspace of {code}"
            for code, phase in sorted(phases)
            if (workspaces.get(code, ""), phase) not in stories
        ]
        return missing + [
            f"kantata: milestone {key} in the workspace of {code}"
            for code, key, _ in self._completions(month)
            if (workspaces.get(code, ""), key) not in stories
        ]

    def act(self, stage: str) -> None:
        """Do the stage's work."""
        if stage == "opening":
            self._open()
        elif stage == "staffed":
            self._staff()
        elif stage in MONTH_OF_STAGE:
            self._book(MONTH_OF_STAGE[stage])
            self._complete(MONTH_OF_STAGE[stage])
        elif stage == "planted":
            for change in self._firm["planted"]:
                if change["system"] == "kantata":
                    self._account.remove("time_entries", time_entry_id(change["time"]))

    def _open(self) -> None:
        """Set up roles and invite everybody."""
        for role, id in self._roles.items():
            self._account.create("roles", {"id": id, "name": role})
        for person in self._firm["people"]:
            user = {"id": _user_id(person["key"]), "full_name": person["name"], "email_address": person["email"]}
            self._account.create("users", user | {"headline": person["role"]})

    def _staff(self) -> None:
        """Put the staff on every project, name who leads it, and start it."""
        deals = {deal["code"]: deal for deal in self._firm["deals"]}
        workspaces = self._workspaces()
        for project in self._firm["projects"]:
            workspace, deal = workspaces[project["code"]], deals[project["deal"]]
            for member in project["staff"]:
                self._account.staff(
                    workspace,
                    _user_id(member["person"]),
                    self._roles[member["role"]],
                    deal["starts_on"],
                    deal["ends_on"],
                    member["planned_minutes"],
                )
            self._account.edit("workspaces", workspace, {"primary_maven_id": _user_id(project["manager"])})
            self._account.set_status(workspace, STARTED)

    def _book(self, month: str) -> None:
        """Book what is entered in the month; its timesheets are approved, but for those that wait for ever."""
        workspaces, stories = self._workspaces(), self._stories()
        for approved in (True, False):
            rows = [
                {
                    "id": time_entry_id(entry["key"]),
                    "workspace_id": workspaces[entry["project"]],
                    "story_id": stories[workspaces[entry["project"]], entry["phase"]],
                    "user_id": _user_id(entry["person"]),
                    "role_id": self._roles[entry["role"]],
                    "date_performed": entry["date"],
                    "time_in_minutes": entry["minutes"],
                    "billable": entry["billable"],
                    "notes": entry["notes"],
                    "sheet": entry["sheet"],
                }
                for entry in self._time_of(month)
                if (entry["approved_in"] is not None) == approved
            ]
            self._account.log_time(rows, approve=approved)

    def _complete(self, month: str) -> None:
        """Complete the milestones that are reached in the month."""
        workspaces, stories = self._workspaces(), self._stories()
        for code, key, day in self._completions(month):
            self._account.complete_story(stories[workspaces[code], key], day)

    def _time_of(self, month: str) -> list[Row]:
        return [entry for entry in self._firm["time"] if entry["submitted_in"] == month]

    def _completions(self, month: str) -> list[tuple[str, str, str]]:
        """Return (project code, milestone key, day) of the milestones reached in the month."""
        deals = {deal["code"]: deal for deal in self._firm["deals"]}
        return [
            (project["code"], milestone["key"], milestone["completed_on"])
            for project in self._firm["projects"]
            for milestone in deals[project["deal"]]["milestones"]
            if (milestone["completed_on"] or "")[:7] == month
        ]

    def _workspaces(self) -> dict[str, str]:
        """Return the hub's workspaces, project code to id."""
        ours = {
            str(row["subject_id"])
            for row in self._account.account.table("external_references").values()
            if (row["service_name"], row["service_model"], row["subject_type"]) == ("trueup", "project", "Workspace")
        }
        rows = self._account.account.table("workspaces").items()
        return {str(row["title"]).partition(" ")[0]: id for id, row in rows if id in ours}

    def _stories(self) -> dict[tuple[str, str], str]:
        """Return (workspace id, phase name or milestone key) to story id."""
        found: dict[tuple[str, str], str] = {}
        for id, row in self._account.account.table("stories").items():
            title = str(row["title"])
            name = title.partition(" ")[0] if row["story_type"] == "milestone" else title
            found.setdefault((row["workspace_id"], name), id)
        return found


def time_entry_id(key: str) -> str:
    """Return the id of a time entry; ids have the order of the firm's keys."""
    return str(FIRST_TIME_ENTRY + int(key[1:]))


def _user_id(person: str) -> str:
    return str(FIRST_USER + int(person[1:]))
