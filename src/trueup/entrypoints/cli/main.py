"""`trueup`: every page's twin in the terminal."""

import os
import sys
import traceback
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup import __version__
from trueup.entrypoints.cli import (
    adjusting,
    budgets,
    close,
    connectors,
    demo,
    effects,
    einvoices,
    intake,
    intercompany,
    issues,
    labour,
    metrics,
    prepayments,
    rebuild,
    reconcile,
    rigs,
    scaffold,
    schedules,
    subscribers,
    taxes,
)
from trueup.entrypoints.cli.output import AWAY, DIFFERS, INTERNAL, answers, house_of, leave, say, settings, show, table
from trueup.kernel.errors import Broken
from trueup.kernel.money import from_units

if TYPE_CHECKING:
    pass

# Whatever is heavy is imported by the command that needs it: help and completion answer at once.
app = typer.Typer(
    name="trueup",
    help="Keep CRM, PSA, ERP, HR and expense systems in agreement, from the won deal to the cash, and prove it.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("new")(scaffold.new)
app.command("metrics")(metrics.metrics)
app.command("evidence")(rebuild.evidence)
app.command("rebuild")(rebuild.rebuild)
app.command("reconcile")(reconcile.reconcile)
app.command("watch")(reconcile.watch)
app.add_typer(reconcile.breaks, name="break")
app.add_typer(reconcile.sign_off, name="sign-off")
app.command("sim")(rigs.sim)
app.command("crash")(rigs.crash)
app.command("rig")(rigs.rig)
app.command("mutants")(rigs.mutants)
app.command("readers")(rigs.readers)
app.command("killdb")(rigs.killdb)
app.command("promises")(rigs.promises)
app.add_typer(connectors.connector, name="connector")
app.add_typer(connectors.mapping, name="mapping")
app.add_typer(close.close, name="close")
app.add_typer(intake.intake, name="intake")
app.add_typer(issues.issue, name="issue")
app.add_typer(issues.plan, name="plan")
app.command("numbers")(close.numbers)
app.add_typer(schedules.schedule, name="schedule")
app.add_typer(taxes.tax, name="tax")
app.add_typer(labour.labour, name="labour")
app.add_typer(subscribers.subscriber, name="subscriber")
app.add_typer(budgets.budget, name="budget")
app.add_typer(einvoices.einvoice, name="einvoice")
app.add_typer(effects.effects, name="effects")
token = typer.Typer(help="Tokens for the API and the pages.", no_args_is_help=True)
app.add_typer(token, name="token")

Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"{__version__}\n")


@app.command()
def up(
    workspace: Workspace = None,
    only: Annotated[str, typer.Option(help="web or worker; both when not given.")] = "",
) -> None:
    """Serve the API and the pages, and work: poll, take in, deliver, run processes."""
    with answers():
        from trueup import engine
        from trueup.entrypoints import bootstrap, logs
        from trueup.entrypoints.api.app import create, serve
        from trueup.entrypoints.worker import Workers

        logs.configure()

        chosen = settings(workspace)
        house = bootstrap.build(chosen, bootstrap.open_database(chosen, say))
        workers = None
        if only != "web":
            seconds = min((system.poll_seconds for system in chosen.systems.values()), default=60.0)
            workers = Workers(
                house,
                engine.Engine(house.database),
                poll_seconds=seconds,
                tie_out_seconds=chosen.tie_out_seconds,
            ).start()
        try:
            if only == "worker":
                say("working; stop with Ctrl-C")
                workers.wait() if workers else None
            else:
                say(f"serving http://{chosen.host}:{chosen.port}")
                serve(create(house), chosen.host, chosen.port)
        except KeyboardInterrupt:
            say("stopping")
        finally:
            if workers:
                workers.stop()


@app.command()
def status(workspace: Workspace = None, as_json: Json = False) -> None:
    """Say what is going on: systems, open work, what needs a person."""
    with answers(as_json):
        from trueup import engine
        from trueup.reporting import watchdog
        from trueup.reporting import work as works
        from trueup.store import deliveries, inbox

        house = house_of(workspace)
        with house.database.transaction() as tx:
            data = {
                "open": {
                    "messages": inbox.open_count(tx),
                    "deliveries": deliveries.open_count(tx),
                    "processes": engine.unfinished(tx),
                },
                "systems": tx.rows(
                    "select system, connector, role, last_ok_at, last_error, calls, errors, paused_until from systems order by system"
                ),
                "work": works.work(tx),
                "stalled": watchdog.stalled(tx),
            }

        def human(found: dict[str, Any]) -> None:
            table(
                "Systems",
                ["system", "role", "last good call", "calls#", "errors#", "last error"],
                [
                    [
                        s["system"],
                        s["role"],
                        (s["last_ok_at"] or "never")[:19],
                        s["calls"],
                        s["errors"],
                        s["last_error"],
                    ]
                    for s in found["systems"]
                ],
            )
            table("Needs a person", ["what", "count#", "money#", "who"], [_work_row(item) for item in found["work"]])
            if found["stalled"]:
                reconcile.say_stalled(found["stalled"])
            say("open work: " + ", ".join(f"{count} {name}" for name, count in found["open"].items()))
            say("next: trueup holds · trueup trace ID · trueup reconcile")

        show(data, as_json, human)


def _work_row(item: dict[str, Any]) -> list[Any]:
    money = ", ".join(
        f"{amount['amount']} {amount['currency']}" for amount in item.get("money") or item.get("amounts") or []
    )
    return [item.get("title"), item.get("count"), money, item.get("owner") or item.get("who")]


@app.command()
def doctor(workspace: Workspace = None, as_json: Json = False) -> None:
    """Check configuration, database, schema, engine, connectors, mappings and every connection."""
    with answers(as_json):
        from trueup.entrypoints.cli.doctor import findings

        found = [{"state": state, "what": what, "fix": fix} for state, what, fix in findings(workspace)]

        def human(rows: list[dict[str, Any]]) -> None:
            for row in rows:
                mark = {"ok": "✓", "warning": "!", "problem": "✗"}[row["state"]]
                say(f"{mark} {row['what']}" + (f"\n    fix: {row['fix']}" if row["fix"] else ""))
            counts = {state: sum(1 for row in rows if row["state"] == state) for state in ("ok", "warning", "problem")}
            say(f"{counts['ok']} ok · {counts['warning']} warnings · {counts['problem']} problems")

        show(found, as_json, human)
        if any(row["state"] == "problem" for row in found):
            raise typer.Exit(AWAY)


@app.command()
def trace(identifier: str, workspace: Workspace = None, as_json: Json = False) -> None:
    """Show one record in all systems over all time; any id of any system, number, code or e-mail will do."""
    with answers(as_json):
        from trueup.reporting.trace import trace as trace_record

        house = house_of(workspace)
        with house.database.transaction() as tx:
            found = trace_record(tx, identifier)
        if not found:
            leave(
                DIFFERS,
                f"nothing here is called {identifier}; try a code, a number, an e-mail or any system's id",
                as_json,
            )

        def human(data: Any) -> None:
            for one in data if isinstance(data, list) else [data]:
                table(
                    f"{one.get('kind')} {one.get('label') or one.get('gid')} ({one.get('status')})",
                    ["when", "where", "what"],
                    [[str(s.get("at"))[:23], s.get("system"), s.get("sentence")] for s in one.get("timeline", [])],
                )

        show(found, as_json, human)


@app.command()
def explain(invoice: str, workspace: Workspace = None, as_json: Json = False) -> None:
    """Explain an invoice from its total down to the raw messages; by number, code or identifier."""
    with answers(as_json):
        from trueup.reporting import explain as invoices

        house = house_of(workspace)
        with house.database.transaction() as tx:
            gid = invoices.find_invoice(tx, invoice)
            found = invoices.explain(tx, gid) if gid else None
        if found is None:
            leave(DIFFERS, f"there is no invoice {invoice}", as_json)
        show(found, as_json, _print_explanation)


def _print_explanation(found: dict[str, Any]) -> None:
    say(
        f"{found.get('number') or found.get('code')}  {found.get('customer')}  {found.get('gross')} {found.get('currency')}"
    )
    for line in found["lines"]:
        table(
            f"{line['description']}  {line['net']} {found['currency']}",
            ["what", "day", "quantity#", "rate#", "amount#", "message#"],
            [
                [
                    c.get("label"),
                    c.get("service_on"),
                    c.get("quantity"),
                    c.get("rate"),
                    c.get("amount"),
                    c.get("message"),
                ]
                for c in line["charges"]
            ],
        )


@app.command("holds")
def list_holds(
    workspace: Workspace = None,
    release: Annotated[int | None, typer.Option(help="Number of a hold to release.")] = None,
    reason: Annotated[str, typer.Option(help="Why it is released; required with --release.")] = "",
    as_json: Json = False,
) -> None:
    """List what may not be billed yet, or release one hold with a reason."""
    with answers(as_json):
        from trueup.store import changes, holds
        from trueup.store.changes import Event

        house = house_of(workspace)
        with house.database.transaction() as tx:
            if release is not None:
                if not reason.strip():
                    leave(2, "a release needs --reason", as_json)
                ended = holds.release(tx, [release], "cli", reason)
                if not ended:
                    leave(DIFFERS, f"hold {release} is not open", as_json)
                [hold] = ended
                about = {"code": hold["code"], "reason": reason}
                said = Event(f"hold.released/{release}", "hold.released", hold["scope"], hold["scope_kind"], about)
                house.react(tx, changes.tell(tx, [said]))
                show(ended, as_json, lambda data: say(f"released hold {release}"))
                return
            found = holds.open_of(tx)

        def human(rows: list[dict[str, Any]]) -> None:
            grouped: dict[tuple[str, str], list[Any]] = {}
            for row in rows:
                entry = grouped.setdefault(
                    (row["code"], row["currency"] or ""), [0, 0, row["owner"], row["releases_when"]]
                )
                entry[0] += 1
                entry[1] += row["amount"]
            table(
                "Held",
                ["code", "items#", "amount#", "currency", "who", "released by"],
                [
                    [code, e[0], f"{from_units(e[1], currency):,}" if currency else "", currency, e[2], e[3]]
                    for (code, currency), e in sorted(grouped.items())
                ],
            )

        show(found, as_json, human)


bill = typer.Typer(help="Billing runs and month ends.", no_args_is_help=True)
app.add_typer(bill, name="bill")
bill.command("prepayments")(prepayments.prepayments)
bill.command("intercompany")(intercompany.intercompany)
adjusting.add(bill)
bill.command("explain")(explain)


@bill.command("run")
def bill_run(
    period: str,
    workspace: Workspace = None,
    entity: Annotated[str, typer.Option(help="Legal entity; all when not given.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be billed; do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bill a month: approved time and expenses become drafts in the ERP (workers carry it out)."""
    from trueup.processes import dry_run as dry
    from trueup.processes import time_to_billing

    with answers(as_json):
        house = house_of(workspace)
        entities = [entity] if entity else sorted(house.firm.entities)
        if entity and entity not in house.firm.entities:
            raise Broken(f"there is no legal entity {entity}; there are {', '.join(sorted(house.firm.entities))}")
        if dry_run:
            show({one: dry.preview(house, period, one) for one in entities}, as_json, _dry_run)
            return
        with house.database.transaction() as tx:
            started = [time_to_billing.start(tx, period, one) for one in entities]
        show({"processes": started}, as_json, lambda data: say("queued: " + ", ".join(data["processes"])))


def _dry_run(found: dict[str, Any]) -> None:
    """Print what a run would do, legal entity by legal entity."""
    for entity, shown in found.items():
        if shown["done"]:
            say(f"{entity}: the run of {shown['period']} is done; what is below would wait for the next month's run")
        table(
            f"{entity}: drafts",
            ["invoice", "customer", "net#", "tax#", "gross#", "currency"],
            [[i["code"], i["customer"], i["net"], i["tax"], i["gross"], i["currency"]] for i in shown["invoices"]],
        )
        reasons: dict[tuple[str, str], list[Decimal]] = {}
        for hold in shown["holds"]:
            reasons.setdefault((hold["code"], hold["currency"] or ""), []).append(Decimal(hold["amount"]))
        if reasons:
            table(
                f"{entity}: held",
                ["reason", "items#", "amount#", "currency"],
                [[code, len(of), sum(of), currency] for (code, currency), of in sorted(reasons.items())],
            )
        for warning in shown["warnings"]:
            say(f"{warning['project_code']}: {warning['sentence']}")
        for currency, total in shown["totals"].items():
            say(f"{entity}: {total['invoices']} drafts, {total['net']} {currency} net; {total['held']} {currency} held")


@token.command("issue")
def issue(
    name: str,
    scope: Annotated[list[str], typer.Option(help="May be given several times.")],
    workspace: Workspace = None,
    days: Annotated[int | None, typer.Option(help="Days until it ends.")] = 90,
    as_json: Json = False,
) -> None:
    """Make a token; it is shown once and only its digest is kept."""
    with answers(as_json):
        from trueup.store import access

        house = house_of(workspace)

        with house.database.transaction() as tx:
            made = access.issue(tx, name, scope, days=days)
        show({"name": name, "scopes": scope, "token": made}, as_json, lambda data: say(data["token"]))


def main() -> None:
    """Run the command line."""
    try:
        app()
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as fault:  # the last wall: a report instead of a traceback
        if os.environ.get("TRUEUP_DEBUG"):
            traceback.print_exc()
        say(f"internal error: {type(fault).__name__}: {fault}; run again with TRUEUP_DEBUG=1 for the details")
        raise SystemExit(INTERNAL) from fault
