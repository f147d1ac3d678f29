"""`trueup labour`: working time rules, checked against what was entered."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import answers, house_of, show, table
from trueup.kernel.errors import Broken

labour = typer.Typer(help="Working time rules.", no_args_is_help=True)


@labour.callback()
def about() -> None:
    """Working time rules, checked against what was entered."""


@labour.command("check")
def check(
    period: Annotated[str, typer.Argument(help="Month: 2026-08.")],
    entity: Annotated[str, typer.Option(help="Employer; all when not given.")] = "",
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """List a month's entries that do not keep a working time rule, the gravest first; they do not block billing."""
    with answers(as_json):
        from trueup.kernel.clock import now
        from trueup.reporting.labour import labour_checks

        house = house_of(workspace)
        if entity and entity not in house.firm.entities:
            raise Broken(f"there is no legal entity {entity}; there are {', '.join(sorted(house.firm.entities))}")
        countries = {code: one.country for code, one in house.firm.entities.items()}
        with house.database.transaction() as tx:
            try:
                found = labour_checks(tx, countries, period, now().date(), entity or None)
            except ValueError as wrong:
                raise Broken(str(wrong)) from wrong

        def human(rows: list[dict[str, Any]]) -> None:
            table(
                f"{len(rows)} findings in {period}",
                ["severity", "day", "who", "employer", "check", "what", "rule"],
                [
                    [
                        r["severity"],
                        r["worked_on"],
                        r["person"],
                        r["legal_entity"],
                        r["check"],
                        r["sentence"],
                        r["pack"],
                    ]
                    for r in rows
                ],
            )

        show(found, as_json, human)
