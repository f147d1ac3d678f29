"""`trueup bill prepayments`: what is left of payments on account."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import answers, house_of, say, show, table


def prepayments(
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show every payment on account of prepayments.yaml: what invoices have used of it, and what is left."""
    with answers(as_json):
        from trueup.processes import prepaid

        house = house_of(workspace)
        with house.database.transaction() as tx:
            found = prepaid.accounts(tx, house.firm)
        rows: list[dict[str, Any]] = [
            {
                "contract": one.contract,
                "legal_entity": one.entity,
                "payment": one.key,
                "received_on": one.received_on,
                "currency": one.currency,
                "paid": one.gross,
                "used": one.used,
                "left": one.gross - one.used,
            }
            for one in found
        ]

        def human(shown: list[dict[str, Any]]) -> None:
            if not shown:
                say("no payment on account is entered in prepayments.yaml")
                return
            names = list(shown[0])
            columns = [f"{name}#" if name in ("paid", "used", "left") else name.replace("_", " ") for name in names]
            table("Payments on account", columns, [[row[name] for name in names] for row in shown])

        show(rows, as_json, human)
