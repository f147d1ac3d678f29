"""`trueup schedule`: what the calendar and progress let us bill, before it is billed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.entrypoints.cli.output import answers, house_of, say, show, table
from trueup.kernel.errors import Broken
from trueup.kernel.money import from_units

if TYPE_CHECKING:
    from trueup.pipeline.house import House

schedule = typer.Typer(help="Instalments, progress and periods of service.", no_args_is_help=True)
Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Entity = Annotated[str, typer.Option(help="Legal entity; all when not given.")]


def _entities(house: "House", entity: str, period: str) -> list[str]:
    from trueup.kernel.periods import first_day

    try:
        first_day(period)
    except ValueError as wrong:
        raise Broken(str(wrong)) from wrong
    if entity and entity not in house.firm.entities:
        raise Broken(f"there is no legal entity {entity}; there are {', '.join(sorted(house.firm.entities))}")
    return [entity] if entity else sorted(house.firm.entities)


@schedule.command("show")
def show_due(period: str, workspace: Workspace = None, entity: Entity = "", as_json: Json = False) -> None:
    """Show what the schedules of a month would bill and what they hold; write nothing."""
    with answers(as_json):
        from trueup.processes import schedule_billing

        house = house_of(workspace)
        found = {one: schedule_billing.preview(house, period, one) for one in _entities(house, entity, period)}
        rows: list[dict[str, Any]] = []
        for one, plan in found.items():
            currencies = {invoice["code"]: invoice["currency"] for invoice in plan["invoices"]}
            rows += [
                {
                    "legal_entity": one,
                    "line": line["contract_line"],
                    "draft": line["invoice_code"],
                    "for": line["description"],
                    "net": from_units(line["net"], currencies[line["invoice_code"]]),
                    "currency": currencies[line["invoice_code"]],
                    "hold": None,
                }
                for line in plan["lines"]
            ]
            rows += [
                {
                    "legal_entity": one,
                    "line": hold["scope"].partition("/")[0],
                    "draft": None,
                    "for": hold["sentence"],
                    "net": from_units(hold["amount"], hold["currency"]),
                    "currency": hold["currency"],
                    "hold": hold["code"],
                }
                for hold in plan["holds"]
            ]

        def human(shown: list[dict[str, Any]]) -> None:
            if not shown:
                say(f"no schedule has anything to bill for {period}")
                return
            names = ["legal_entity", "line", "draft", "for", "net", "currency", "hold"]
            columns = [f"{name}#" if name == "net" else name.replace("_", " ") for name in names]
            table(f"Schedules of {period}", columns, [[row[name] for name in names] for row in shown])

        show(rows, as_json, human)


@schedule.command("run")
def run(period: str, workspace: Workspace = None, entity: Entity = "", as_json: Json = False) -> None:
    """Bill the schedules of a month by themselves; a billing run of the month does it too (workers carry it out)."""
    with answers(as_json):
        from trueup.processes import schedule_billing

        house = house_of(workspace)
        entities = _entities(house, entity, period)
        with house.database.transaction() as tx:
            started = [schedule_billing.start(tx, house.firm, period, one) for one in entities]
        queued = [process for process in started if process]
        show({"processes": queued}, as_json, lambda data: say("queued: " + (", ".join(data["processes"]) or "nothing")))
