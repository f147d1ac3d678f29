"""`trueup evidence` and `trueup rebuild`: hand an auditor what an invoice is made of, and make it again from that."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from trueup.entrypoints.cli.output import DIFFERS, OK, answers, leave, say, settings, show, table
from trueup.settings import SettingsError

Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def evidence(
    invoices: Annotated[list[str], typer.Argument(help="Invoices and credits, by number, code or identifier.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write it: a name that ends in .zip, or a folder.")],
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Export everything invoices depend on: raw messages, mappings, rules, decisions and runs, with their digests."""
    with answers(as_json):
        from trueup.entrypoints import bootstrap, rebuild
        from trueup.reporting.explain import find_invoice

        chosen = settings(workspace)
        database = bootstrap.open_database(chosen, say, size=2, name="trueup-cli")
        with database.transaction() as tx:
            tx.run("set transaction isolation level repeatable read read only")
            found = {name: find_invoice(tx, name) for name in invoices}
            unknown = [name for name, gid in found.items() if gid is None]
            if unknown:
                leave(DIFFERS, f"there is no invoice {unknown[0]}", as_json)
            parts = rebuild.export(tx, [gid for gid in found.values() if gid])
        rebuild.save(parts, out)
        manifest = rebuild.check(parts).manifest

        def human(data: Any) -> None:
            say(
                f"{len(data['documents'])} documents, {data['messages']} raw messages, sha256 of the whole {data['whole']}"
            )
            say(f"check it: trueup rebuild {invoices[0]} --from {out}")

        show(
            {
                "file": str(out),
                "documents": manifest["documents"],
                "messages": len(manifest["messages"]),
                "whole": manifest["whole"],
                "engine": manifest["engine"],
                "tzdata": manifest["tzdata"],
            },
            as_json,
            human,
        )


def rebuild(
    invoices: Annotated[
        list[str] | None,
        typer.Argument(help="By number, code or identifier; every one of the bundle when none is named."),
    ] = None,
    bundle: Annotated[Path, typer.Option("--from", help="A bundle that `trueup evidence` has written.")] = Path(),
    database: Annotated[
        str | None, typer.Option(help="URL of an empty database; a private one that is removed when not given.")
    ] = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Make invoices again from raw inputs in an empty database; 0 the same byte for byte, 1 different, 2 bundle broken."""
    with answers(as_json):
        from functools import partial

        from trueup import __version__
        from trueup.connectors.sdk import registry
        from trueup.entrypoints import rebuild as again

        checked = again.load(bundle)
        say(f"{len(checked.messages)} raw messages are as they were when they came in")
        if checked.manifest["engine"] != __version__:
            say(f"the bundle was made by version {checked.manifest['engine']}; this is {__version__}")
        find = partial(registry.load, extra=_connector_folders(workspace))
        with again.empty_database(database, say) as empty:
            found = again.rebuild(checked, empty, invoices or (), find)
        show({"whole": checked.manifest["whole"], "documents": found}, as_json, _print)
        raise typer.Exit(OK if all(one.equal for one in found) else DIFFERS)


def _connector_folders(workspace: Path | None) -> tuple[Path, ...]:
    """Return the firm's own connectors, where a workspace is at hand: an auditor needs none."""
    try:
        return settings(workspace).connector_folders
    except SettingsError:
        if workspace is not None:
            raise
        return ()


def _print(data: Mapping[str, Any]) -> None:
    for one in data["documents"]:
        table(f"{one['code']}", ["line", "amount#", "from the bytes to the amount"], [_row(c) for c in one["chains"]])
        for differs in one["differences"]:
            where = f"line {differs['line']}, " if differs["line"] else ""
            say(f"{where}{differs['field']}: exported {differs['exported']}, rebuilt {differs['rebuilt']}")
        verdict = "the same, byte for byte" if one["equal"] else "DIFFERENT"
        say(f"{one['code']}: {verdict} ({one['sha256'][:16]}…)")


def _row(chain: Mapping[str, Any]) -> list[Any]:
    message, approval, rate = chain["message"], chain["approval"], chain["rate_line"]
    steps = [
        f"message {message['number']} {message['system']} {message['object']} {message['external_id']}"
        if message
        else "no message",
        f"{chain['canonical']['gid']} v{chain['canonical']['version']}",
        approval["sentence"] if approval else "no approval",
        f"{rate['role']} {rate['rate']} from {rate['valid_from']}" if rate else "",
        chain["rule"],
        chain["rounding"],
    ]
    return [chain["line"], f"{chain['amount']} {chain['currency']}", " → ".join(step for step in steps if step)]
