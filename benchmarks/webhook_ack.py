"""A vendor's call until it is acknowledged for good: signature checked, record named, kept once, committed, answered.

Ours   the hub's own server on a signed change event of the CRM, 64 connections
Limit  a bare server beside it: the same web server and event loop, the body inserted as it is, group commit, no more
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from ground import Ground, call, close, free_port, ground, hub
from measure import Figure, p50, p99
from trueup.connectors.sdk.webhook import sign
from trueup.pipeline.house import House

CALLS = 30_000
CONNECTIONS = 64
TIMES = 3
SYSTEM = "salesforce"
SOAK_MINUTES = 30
SAMPLE_SECONDS = 30.0


def measure() -> Iterator[Figure]:
    """Call ours and the bare one in turns."""
    ours, bare, late, bare_late = [], [], [], []
    with ground() as site:
        house = site.house()
        with hub(site.settings.workspace, site.at("trueup"), "web") as (address, _), _bare(site) as plain:
            for turn in range(TIMES + 1):
                calls = _calls(house, turn)
                one = call(f"{address}/hooks/{SYSTEM}", CONNECTIONS, calls)
                other = call(plain, CONNECTIONS, calls)
                if turn:  # the first warms both up
                    ours.append(_rate(one))
                    bare.append(_rate(other))
                    late.append(_p99(one))
                    bare_late.append(_p99(other))
        _check(house, (TIMES + 1) * CALLS)
        close(house)
    yield Figure("webhook_ack", "calls/s", p50(ours), p50(bare), f"{CONNECTIONS} connections, {CALLS:,} calls; median")
    yield Figure("webhook_ack_p99", "ms", p50(late), p50(bare_late), "the same, 99th percentile of one call")


def soak() -> Iterator[Figure]:
    """Call for half an hour at half the peak, with workers taking in what comes; memory and backlog must not grow."""
    with ground() as site:
        house = site.house()
        database = site.at("trueup")
        with (
            hub(site.settings.workspace, database, "web") as (address, web),
            hub(site.settings.workspace, database, "worker") as (_, worker),
        ):
            peak = _rate(call(f"{address}/hooks/{SYSTEM}", CONNECTIONS, _calls(house, 0)))
            rate, seconds, samples = peak / 2, SOAK_MINUTES * 60, []
            ends, turn = time.monotonic() + seconds, 1
            while time.monotonic() < ends:
                many = int(rate * SAMPLE_SECONDS)
                done = call(f"{address}/hooks/{SYSTEM}", CONNECTIONS, _calls(house, turn, many), rate)
                with house.database.transaction() as tx:
                    waiting = tx.value("select count(*) from inbox where state = 'pending'")
                samples.append((_mib(web.pid) + _mib(worker.pid), waiting, _p99(done)))
                turn += 1
        close(house)
    half = len(samples) // 2
    for name, unit, at in (("memory", "MiB", 0), ("backlog", "messages", 1), ("p99", "ms", 2)):
        before, after = (p50([one[at] for one in part]) for part in (samples[:half], samples[half:]))
        note = f"second half against the first of {SOAK_MINUTES} minutes at {rate:,.0f} calls/s"
        yield Figure(f"webhook_soak_{name}", unit, after, before, note)


def _bare(site: Ground) -> Any:
    return _Bare(site)


class _Bare:
    """The bare server, for the length of a `with`."""

    def __init__(self, site: Ground) -> None:
        with psycopg.connect(site.url) as connection:
            connection.execute(
                "create table bare_hooks (number bigint generated always as identity primary key, body bytea not null, "
                "created_at timestamptz not null default now())"
            )
        port = free_port()
        program = [sys.executable, str(Path(__file__).with_name("bare_hook.py")), site.url, str(port)]
        self.running = subprocess.Popen(program)
        self.url = f"http://127.0.0.1:{port}/hook"

    def __enter__(self) -> str:
        ends = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(self.url, b"{}", method="POST"), timeout=1).close()
            except OSError:
                if time.monotonic() > ends:
                    raise SystemExit("the bare server does not start") from None
                time.sleep(0.05)
            else:
                return self.url

    def __exit__(self, *_: object) -> None:
        self.running.terminate()
        self.running.wait(20)


def _calls(house: House, turn: int, count: int = CALLS) -> list[tuple[str, dict[str, str], str]]:
    """Sign as many calls as wanted, each of another record."""
    system = house.systems[SYSTEM]
    scheme = system.connector.manifest.webhook
    assert scheme is not None
    made = []
    for number in range(count):
        record = f"006{turn:05d}{number:010d}"
        header = {
            "entityName": "Opportunity", "recordIds": [record], "changeType": "UPDATE", "changeOrigin": "com/salesforce/api",
            "transactionKey": f"{turn:04d}-{number:08d}", "sequenceNumber": 1, "commitTimestamp": 1764000000000 + number,
            "commitUser": "0055g00000AbCdE", "commitNumber": 11_000_000 + number,
        }  # fmt: skip
        body = json.dumps(
            {"schema": "IeRuaY6cbI_HsV8Rv1Mc5g", "payload": {"ChangeEventHeader": header, "StageName": "Closed Won"},
             "event": {"replayId": turn * CALLS + number}}
        )  # fmt: skip
        made.append(
            (record, sign(scheme, system.client.connection.webhook_secret, str(int(time.time())), body.encode()), body)
        )
    return made


def _rate(done: list[list[Any]]) -> float:
    refused = [one for one in done if one[3] != 200]
    if refused:
        raise SystemExit(f"webhook_ack: {len(refused)} calls were not acknowledged: {refused[0]}")
    return len(done) / (max(one[2] for one in done) - min(one[1] for one in done))


def _p99(done: list[list[Any]]) -> float:
    return p99([(one[2] - one[1]) * 1000 for one in done])


def _check(house: House, wanted: int) -> None:
    with house.database.transaction() as tx:
        kept = tx.value("select count(*) from inbox where system = %s", (SYSTEM,))
    if kept != wanted:
        raise SystemExit(f"webhook_ack: {wanted} calls were acknowledged, {kept} are kept")


def _mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text("utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
