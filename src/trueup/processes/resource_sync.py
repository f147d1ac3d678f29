"""Resource and task sync: people, assignments, tasks and customer data follow their owners into the ERP.

Starts on   worker.changed, assignment.changed, task.changed, customer.changed, project.approved, rate.changed
Ends with   the ERP holding the same people, phases and assignments
Undo        the owner's next word
"""

from collections.abc import Sequence

from trueup.pipeline.house import House
from trueup.processes.commands import commands, keys
from trueup.store import crosswalk, deliveries, objects
from trueup.store.changes import Event
from trueup.store.database import Tx
from trueup.store.deliveries import Command

KIND_OF = {
    "worker.changed": "resource",
    "assignment.changed": "assignment",
    "task.changed": "task",
    "customer.changed": "customer",
    "project.approved": "project",
    "project.changed": "project",
}


def react(tx: Tx, house: House, events: Sequence[Event]) -> None:
    """Write commands for what the ERP should follow; a state is told once."""
    asked: list[Command] = []
    for event in events:
        kind = KIND_OF.get(event.name)
        if kind is None:
            continue
        version = event.key.rpartition("/")[2]
        if kind in ("customer", "project") and not _known_to_erp(tx, house, kind, event.subject):
            continue
        project = _project(tx, event.subject) if kind in ("assignment", "task") else None
        if project is not None and not _known_to_erp(tx, house, "project", project):
            continue
        first = keys(commands(house, "erp", "project", project, "create")) if project else ()
        asked += commands(
            house, "erp", kind, event.subject, f"follow#{version}", depends_on=first, latest=True, priority=45,
        )  # fmt: skip
    deliveries.ask(tx, asked)


def _known_to_erp(tx: Tx, house: House, kind: str, gid: str) -> bool:
    """Only what was set up there follows: a prospect or an open deal's project has no place in the ERP yet."""
    keys_asked = keys(commands(house, "erp", kind, gid, "create"))
    asked = tx.value("select count(*) from deliveries where key = any(%s)", (list(keys_asked),))
    linked = {link.system for link in crosswalk.of(tx, [gid])} & {system.name for system in house.with_role("erp")}
    return bool(asked) or bool(linked)


def _project(tx: Tx, gid: str) -> str | None:
    """Return the project a task or an assignment belongs to."""
    held = objects.one(tx, gid)
    return None if held is None else str(held.body["project"])
