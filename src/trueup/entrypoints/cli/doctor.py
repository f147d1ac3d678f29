"""`trueup doctor`: is everything that should hold, held? Each problem with the command that mends it."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from trueup import engine
from trueup.connectors.sdk import registry
from trueup.entrypoints import bootstrap
from trueup.entrypoints.cli.output import settings
from trueup.governance import ownership
from trueup.kernel.errors import Trouble
from trueup.mapping.examples import failures
from trueup.mapping.file import load as load_mapping
from trueup.reporting import watchdog
from trueup.reporting.conservation import nowhere
from trueup.settings import Settings, SettingsError
from trueup.store import migrate
from trueup.store.database import Database

Finding = tuple[str, str, str]
"""(ok, warning or problem; what was found; the command that mends it)"""


def findings(workspace: Path | None) -> Iterator[Finding]:
    """Check configuration, rules, connectors, database, engine and every connection, one finding at a time."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield ("ok" if sys.version_info >= (3, 11) else "problem", f"Python {version}", "")
    free = shutil.disk_usage(Path.cwd()).free // 1_000_000_000
    yield (
        "ok" if free >= 2 else "warning",
        f"{free} GB free here",
        "" if free >= 2 else "make room: the inbox keeps everything",
    )
    try:
        chosen = settings(workspace)
    except SettingsError as wrong:
        yield ("problem", str(wrong), "trueup new NAME")
        return
    yield (
        "ok",
        f"workspace of {chosen.company}: {len(chosen.entities)} legal entities, {len(chosen.systems)} systems",
        "",
    )
    yield from _rules(chosen)
    yield from _connectors(chosen)
    yield from _database(chosen)


def _rules(chosen: Settings) -> Iterator[Finding]:
    try:
        rules = ownership.load(chosen.ownership or bootstrap.default_ownership())
        yield ("ok", f"ownership v{rules.version}: every field of every object has an owner", "")
    except Trouble as wrong:
        yield ("problem", str(wrong), "correct ownership.yaml")
    wrong_lines = [
        f"{code}: unknown revenue method {package.revenue_method}"
        for code, package in chosen.packages.items()
        if package.revenue_method not in ("as_invoiced", "milestone", "hours", "ratable")
    ]
    yield (
        "problem" if wrong_lines else "ok",
        "; ".join(wrong_lines) or f"price book: {len(chosen.packages)} packages",
        "",
    )


def _connectors(chosen: Settings) -> Iterator[Finding]:
    for name, system in chosen.systems.items():
        try:
            connector = registry.load(system.connector, chosen.connector_folders)
            wrong = [
                text
                for file, source in connector.mappings.items()
                for text in failures(load_mapping(chosen.overlays.get(f"{name}/{file}", source), connector.verbs))
            ]
            state = "problem" if wrong else "ok"
            yield (
                state,
                wrong[0] if wrong else f"{name}: {len(connector.mappings)} mappings, all examples hold",
                "trueup mapping test" if wrong else "",
            )
        except Trouble as broken:
            yield ("problem", f"{name}: {broken}", "trueup connector list")
        for key, reference in {**system.credentials, "webhook_secret": system.webhook_secret}.items():
            try:
                chosen.secret(reference)
            except SettingsError as missing:
                yield ("problem", f"{name}: {key}: {missing}", "set the variable or file it names")


def _database(chosen: Settings) -> Iterator[Finding]:
    try:
        database: Database = bootstrap.open_database(chosen, size=4)
    except Trouble as away:
        yield ("problem", str(away), "start PostgreSQL, or set TRUEUP_DATABASE")
        return
    with database.transaction() as tx:
        server = tx.value("show server_version")
        began = time.monotonic()
        tx.value("select 1")
        took = (time.monotonic() - began) * 1000
        yield ("ok", f"PostgreSQL {server}, {took:.1f} ms, fsync, full_page_writes and synchronous_commit on", "")
        yield ("ok", f"schema {migrate.newest()} = code {migrate.newest()}", "")
        dead = engine.failed(tx)
        state = "problem" if dead else "ok"
        yield (
            state,
            f"{len(dead)} failed processes, {engine.unfinished(tx)} under way",
            "trueup status" if dead else "",
        )
        for stall in watchdog.stalled(tx):
            yield ("problem", f"{stall.sentence}, since {stall.since:%Y-%m-%d %H:%M} UTC", stall.advice)
        waiting = tx.value("select count(*) from inbox where state in ('quarantined', 'waiting')")
        yield (
            "warning" if waiting else "ok",
            f"{waiting} messages are quarantined or wait for another record",
            "see /quarantine" if waiting else "",
        )
        lost = len(nowhere(tx))
        yield (
            "problem" if lost else "ok",
            f"{lost} messages ended in nothing; every other one is applied, superseded, ignored by a rule or quarantined",
            "trueup intake check" if lost else "",
        )
        unknown = tx.value("select count(*) from deliveries where state in ('unknown', 'rejected', 'parked')")
        yield ("warning" if unknown else "ok", f"{unknown} deliveries need a look", "see /work" if unknown else "")
        jumps = tx.row(
            """
            select count(*) as times, max(created_at) as last, (array_agg(seconds order by number desc))[1] as seconds
            from clock_jumps where created_at > now() - interval '30 days' having count(*) > 0
            """
        )
        yield (
            "ok" if jumps is None else "warning",
            "the database's clock has not jumped in 30 days"
            if jumps is None
            else f"the database's clock has jumped {jumps['times']} times in 30 days, by {jumps['seconds']:+,.0f} s on "
            f"{jumps['last']:%Y-%m-%d %H:%M} UTC; what waited was moved with it",
            "" if jumps is None else "look after the time service of the database's machine",
        )
        alive = tx.value(
            "select count(*) from executors where ended_at is null and beat_at > now() - interval '10 seconds'"
        )
        yield ("ok" if alive else "warning", f"{alive} workers alive", "" if alive else "trueup up")
        tokens = tx.value("select count(*) from tokens where revoked_at is null")
        yield (
            "ok" if tokens else "warning",
            f"{tokens} API tokens",
            "" if tokens else "trueup token issue NAME --scope work:read",
        )
    try:
        house = bootstrap.build(chosen, database)
    except (Trouble, SettingsError) as wrong:
        yield ("problem", str(wrong), "")
        return
    yield ("ok", "ownership and mappings fit: nothing can run in a circle", "")
    for system in house.systems.values():
        yield _call(partial(_reach, system), system.name)
    database.close()


def _reach(system: Any) -> None:
    first = min(system.connector.manifest.reads.items(), key=lambda item: item[1].order)[0]
    system.client.changes(first, None)


def _call(call: Callable[[], None], name: str) -> Finding:
    began = time.monotonic()
    try:
        call()
    except Trouble as trouble:
        return ("problem", f"{name}: {trouble}", "check base_url and credentials in trueup.yaml")
    return ("ok", f"{name} answers, {(time.monotonic() - began) * 1000:.0f} ms", "")
