"""`trueup tax`: how far each legal entity is from owing sales tax in a state of the United States."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import answers, house_of, say, show, table
from trueup.kernel.money import from_units

tax = typer.Typer(help="What tax is decided by.", no_args_is_help=True)
Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@tax.command("states")
def states(
    on: Annotated[str | None, typer.Option(help="Day to look at, 2026-08-31; today when not given.")] = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Show what was sold into each state, its threshold, whether we are liable there and registered."""
    with answers(as_json):
        from trueup.kernel.errors import Broken
        from trueup.processes import tax_facts

        try:
            day = date.fromisoformat(on) if on else datetime.now(tz=UTC).date()
        except ValueError as wrong:
            raise Broken(f"--on is a day like 2026-08-31, not {on!r}") from wrong
        house = house_of(workspace)
        rows: list[dict[str, Any]] = []
        with house.database.transaction() as tx:
            for code, entity in sorted(house.firm.entities.items()):
                if entity.country != "US":
                    continue
                known = house.firm.tax.states.get(code, {}) if house.firm.tax else {}
                for row in tax_facts.tracker(tx, house.firm, code, day).iter_rows(named=True):
                    state = known.get(row["state"])
                    rows.append(
                        {
                            "legal_entity": code,
                            "state": row["state"],
                            "sold": from_units(row["net"], "USD"),
                            "threshold": None if row["limit"] is None else from_units(row["limit"], "USD"),
                            "sales": row["transactions"],
                            "liable": row["reason"] or "no",
                            "registered": bool(state and state.rate_ppm is not None),
                        }
                    )

        def human(shown: list[dict[str, Any]]) -> None:
            if not shown:
                say("nothing was sold into a state, and no presence is set up in tax.yaml")
                return
            names = ["legal_entity", "state", "sold", "threshold", "sales", "liable", "registered"]
            columns = [
                f"{name}#" if name in ("sold", "threshold", "sales") else name.replace("_", " ") for name in names
            ]
            table(
                f"Sales into states up to {day}, US dollars", columns, [[row[name] for name in names] for row in shown]
            )

        show(rows, as_json, human)
