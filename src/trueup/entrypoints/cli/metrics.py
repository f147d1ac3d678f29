"""`trueup metrics`: the firm's figures in the terminal, each with what it means."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import answers, flat, say, settings, show, table
from trueup.kernel.errors import Broken


def metrics(
    name: Annotated[str, typer.Argument(help="One figure; all when not given.")] = "",
    cost: Annotated[bool, typer.Option("--cost", help="With figures made of what people cost.")] = False,
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show the firm's figures with formula, numerator, denominator and version."""
    with answers(as_json):
        from trueup.entrypoints import bootstrap

        database = bootstrap.open_database(settings(workspace), say, size=2, name="trueup-cli")
        with database.transaction() as tx:
            show(flat(answer(tx, name, cost=cost)), as_json, _human)


def answer(tx: Any, name: str, *, cost: bool) -> dict[str, Any]:
    """Return definitions and figures as the API gives them.

    Raises    Broken when there is no figure of that name, or it is made of cost and cost was not asked for.
    """
    from trueup.billing.metrics import COST
    from trueup.reporting import metrics

    known = metrics.definitions()
    if name and name not in {one.name for one in known}:
        raise Broken(f"there is no figure {name}; there are {', '.join(one.name for one in known)}")
    if name in COST and not cost:
        raise Broken(f"{name} is made of what people cost; ask for it with --cost")
    wanted = [one for one in metrics.definitions(cost=cost) if not name or one.name == name]
    return {"definitions": wanted, "figures": metrics.figures(tx, cost=cost, name=name or None)}


def _human(data: dict[str, Any]) -> None:
    titles = {one["name"]: one for one in data["definitions"]}
    rows = [
        [
            titles[one["name"]]["title"],
            " ".join(part for part in (one["legal_entity"], one["currency"], one["label"]) if part),
            one["value"],
            titles[one["name"]]["unit"],
        ]
        for one in data["figures"]
    ]
    table("Figures", ["figure", "for", "value#", "unit"], rows)
    if len(titles) == 1:
        (one,) = titles.values()
        say(f"{one['definition']}\nformula: {one['formula']} (version {one['version']})")
        say(f"numerator: {one['numerator']} · denominator: {one['denominator'] or 'none'} · owner: {one['owner']}")
