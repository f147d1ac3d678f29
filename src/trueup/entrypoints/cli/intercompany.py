"""`trueup bill intercompany`: charge lent people between the legal entities."""

from pathlib import Path
from typing import Annotated

import typer

from trueup.entrypoints.cli.output import answers, house_of, say, show
from trueup.kernel.errors import Broken


def intercompany(
    period: Annotated[str, typer.Argument(help="Month: 2026-08.")],
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Charge a month's lent people by transfer price (workers carry it out); charges that are there stay."""
    with answers(as_json):
        from trueup.kernel.periods import first_day
        from trueup.processes import intercompany as process

        try:
            first_day(period)
        except ValueError as wrong:
            raise Broken(str(wrong)) from wrong
        house = house_of(workspace)
        with house.database.transaction() as tx:
            started = process.start(tx, period)
        show({"processes": [started]}, as_json, lambda data: say("queued: " + ", ".join(data["processes"])))
