"""P22: a worker's clock may lie by hours or days. Leases and silence are counted by the clock of the database, spans of
time by the steady clock; no wall clock of a process is asked anywhere on the way of a delivery."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from target import build, command

from trueup.pipeline import deliver as pipeline
from trueup.store import deliveries

HERE = Path(__file__).parent
SOURCE = Path(pipeline.__file__).parents[1]
HOUR, DAY = 3600, 86_400
LYING = """
import datetime, json, sys, time
real, real_ns, shift = time.time, time.time_ns, {shift}
time.time = lambda: real() + shift
time.time_ns = lambda: real_ns() + shift * 10**9
true = datetime.datetime
class Lying(true):
    @classmethod
    def now(cls, tz=None):
        return true.now(tz) + datetime.timedelta(seconds=shift)
datetime.datetime = Lying
from concurrent.futures import ThreadPoolExecutor
from target import build
from trueup.pipeline.deliver import deliver
from trueup.store import deliveries
from trueup.store.database import Database
database = Database({url!r}, size=2).open()
house, system, books = build(database, {dedupe!r})
with database.transaction() as tx:
    if {holds}:
        claimed = deliveries.claim(tx, "target", 10, "liar", 90.0)
        deliveries.about_to_send(tx, [(d.key, d.fence, {{"value": 1}}, "digest", "m", 1, None) for d in claimed])
        found = [d.key for d in claimed]
if not {holds}:
    with ThreadPoolExecutor(1) as pool:
        found = deliver(house, system, "liar", pool)
database.close()
sys.stdout.write(json.dumps(dict(found=found, journal=books.journal, clock=time.time() - real())))
"""


def liar(database, shift, *, holds=False, dedupe="C"):
    """Let a process work whose clock is wrong by some seconds; it either holds what it claimed, or delivers."""
    script = LYING.format(shift=shift, url=database.url, holds=holds, dedupe=dedupe)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(SOURCE.parent)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert abs(told["clock"] - shift) < 5, "its clock lies"
    return told


def row(database):
    with database.transaction() as tx:
        return tx.row(
            """
            select state, leased_by, extract(epoch from lease_until - now())::float8 as lease,
                extract(epoch from now() - coalesce(sent_at, now()))::float8 as sent,
                extract(epoch from now() - coalesce(settled_at, now()))::float8 as settled
            from deliveries
            """
        )


@pytest.mark.parametrize("shift", [-HOUR, DAY])
def test_a_lease_is_as_long_for_a_worker_whose_clock_lies_and_nobody_takes_it_early(empty, shift):
    with empty.transaction() as tx:
        deliveries.ask(tx, [command("cus_one", 1, "C")])
    assert liar(empty, shift, holds=True)["found"] == ["target/thing/cus_one/1"]
    held = row(empty)
    assert held["leased_by"] == "liar"
    assert 30 < held["lease"] <= 90
    assert -1 < held["sent"] < 60
    assert liar(empty, -shift)["found"] == 0, "another one, who lies the other way, takes nothing"
    assert row(empty)["state"] == "sending"


@pytest.mark.parametrize("shift", [-DAY])
def test_what_is_delivered_by_a_lying_clock_is_delivered_once_and_dated_by_the_database(empty, shift):
    with empty.transaction() as tx:
        deliveries.ask(tx, [command("cus_one", 1, "A")])
    told = liar(empty, shift, dedupe="A")
    assert told["journal"] == [["cus_one", 1]]
    done = row(empty)
    assert done["state"] == "confirmed"
    assert -1 < done["settled"] < 60
    assert liar(empty, -shift, dedupe="A")["journal"] == []


def test_a_clock_that_jumps_while_a_write_is_silent_shortens_no_cool_down(empty):
    build(empty, "C")
    with empty.transaction() as tx:
        deliveries.ask(tx, [command("cus_one", 1, "C")])
        (one,) = deliveries.claim(tx, "target", 10, "one", 90.0)
        deliveries.about_to_send(tx, [(one.key, one.fence, {"value": 1}, "digest", "m", 1, None)])
        deliveries.settle(tx, [deliveries.Result(one.key, one.fence, "unknown", "send")])
    assert liar(empty, DAY)["found"] == 1, "it looks"
    assert row(empty)["state"] == "unknown", "and what is not there after a day by its clock is not there yet"
    with empty.transaction() as tx:
        assert tx.value("select due_at <= now() + interval '1 minute' from deliveries")


@pytest.mark.parametrize("name", [
    "pipeline/deliver.py", "pipeline/settling.py", "pipeline/read_back.py", "store/deliveries.py", "store/executors.py",
])  # fmt: skip
def test_no_wall_clock_is_asked_on_the_way_of_a_delivery(name):
    asked = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse((SOURCE / name).read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    imported = {
        alias.name
        for node in ast.walk(ast.parse((SOURCE / name).read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime", "trueup.kernel.clock")
        for alias in node.names
    }
    assert not asked & {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    assert imported == set()
