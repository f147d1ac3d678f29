"""Two hundred corruptions of thirteen kinds in the vendors' own stores: each is found, rightly named, and closes when healed.

The firm plays its first month until everything agrees; then the hub sleeps, and somebody changes the vendors' tables.
Half of the changes move the record's stamp, as people's edits do, and half do not, as a broken restore does: the first
are found by what changed, the others by the next whole reading.
"""

import random
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from trueup import engine
from trueup.entrypoints import bootstrap
from trueup.entrypoints.worker import Workers
from trueup.pipeline.house import FxRate
from trueup.pipeline.reconcile import tie_out
from trueup.processes import month_end, time_to_billing

pytestmark = pytest.mark.scenario

STAMPS = {"kantata": "updated_at", "salesforce": "SystemModstamp", "netsuite": "lastModifiedDate"}
FORMATS = {
    "kantata": "%Y-%m-%dT%H:%M:%S+00:00",
    "salesforce": "%Y-%m-%dT%H:%M:%S.000+0000",
    "netsuite": "%Y-%m-%dT%H:%M:%SZ",
}
ENTRIES, RATES, BILLS, GOALS = (
    ("kantata", "time_entries"),
    ("salesforce", "Rate_Card_Line__c"),
    ("netsuite", "invoice"),
    ("salesforce", "Milestone__c"),
)
RATE = Decimal("1.25")
"""The firm's invented rate between any two of its currencies."""


@pytest.fixture(scope="module")
def firm(site):
    """The firm at the end of its first month, everything posted, and nobody at work."""
    house = bootstrap.build(site_settings(site), site.database)
    pairs = (("EUR", "USD"), ("GBP", "USD"), ("EUR", "GBP"))
    rates = tuple(FxRate(date(2026, 8, 1), base, quote, RATE, "invented") for base, quote in pairs)
    house.firm = replace(house.firm, fx_rates=rates)
    workers = Workers(house, engine.Engine(site.database), poll_seconds=1.0).start()
    try:
        stage = ""
        while stage != "august_posted":
            site.sandbox.host.advance()
            stage = site.sandbox.host.state()["stage"]
            assert workers.settle(240)
            if stage.startswith("august"):
                start = month_end.start if stage.endswith("posted") else time_to_billing.start
                with site.database.transaction() as tx:
                    for entity in house.firm.entities:
                        start(tx, "2026-08", entity)
                assert workers.settle(240)
    finally:
        workers.stop()
    tied = tie_out(house, "before")
    assert tied["breaks"] == []
    assert tied["compared"] > 3000
    yield site, house
    for system in house.systems.values():
        system.client.close()


def site_settings(site):
    """Return the site's settings, over its database."""
    from trueup.settings import load

    return replace(load(site.workspace, {}), database=site.database.url)


class Vandal:
    """Changes rows behind everybody's back, and remembers how they were."""

    def __init__(self, site, seed):
        self.site = site
        self.draw = random.Random(seed)
        self.before = []
        self.touched = set()
        with site.database.transaction() as tx:
            rows = tx.rows("select distinct x.external_id from charges c join crosswalk x on x.gid = c.fact "
                           "and x.system = 'kantata' where c.document is not null")  # fmt: skip
        self.billed = {row["external_id"] for row in rows}

    def row(self, place, fits=lambda row: True):
        """Return a row nobody has touched yet."""
        rows = [
            (id, row) for id, row in sorted(self.table(place).items()) if (*place, id) not in self.touched and fits(row)
        ]
        if not rows:
            return None
        id, row = self.draw.choice(rows)
        self.touched.add((*place, id))
        return id, row

    def table(self, place):
        """Return a vendor's table."""
        return self.site.sandbox.simulator(place[0]).store.table(place[1])

    def change(self, place, id, changes, *, stamped):
        """Write other values into a row."""
        simulator = self.site.sandbox.simulator(place[0])
        with simulator.lock:
            old = dict(simulator.store.table(place[1])[id])
            self.before.append((place, id, old))
            if stamped:
                changes = changes | {STAMPS[place[0]]: simulator.store.stamp().strftime(FORMATS[place[0]])}
            simulator.store.put(place[1], id, old | changes)

    def drop(self, place, id):
        """Take a row away without a trace."""
        simulator = self.site.sandbox.simulator(place[0])
        with simulator.lock:
            self.before.append((place, id, dict(simulator.store.table(place[1])[id])))
            simulator.store.table(place[1]).pop(id)

    def copy(self, place, id, key, fresh):
        """Put a second row in, as somebody's script would."""
        simulator = self.site.sandbox.simulator(place[0])
        with simulator.lock:
            self.before.append((place, fresh, None))
            simulator.store.put(place[1], fresh, simulator.store.table(place[1])[id] | {key: fresh})
        self.touched.add((*place, fresh))

    def heal(self):
        """Put everything back as it was."""
        for place, id, old in reversed(self.before):
            simulator = self.site.sandbox.simulator(place[0])
            with simulator.lock:
                if old is None:
                    simulator.store.table(place[1]).pop(id)
                else:
                    simulator.store.put(place[1], id, old)


def plus(row, name, by):
    """Return an amount of a row, changed."""
    return {name: str(Decimal(row[name]) + Decimal(by))}


def other_day(row, *, month):
    """Return another day of work, in the same month or in the next."""
    day = date.fromisoformat(row["date_performed"])
    moved = date(day.year, 9, day.day % 28 + 1) if month else day.replace(day=day.day % 28 + 1)
    return {"date_performed": moved.isoformat()}


def in_another(row):
    """Return a price in another of the firm's currencies: the dollar stands at the other end of each rate."""
    price = Decimal(row["Rate__c"])
    return price / RATE if row["CurrencyIsoCode"] == "USD" else price * RATE


CHANGES = {
    "minutes of an entry": ("quantity", ENTRIES, lambda row: {"time_in_minutes": row["time_in_minutes"] + 15}),
    "approval taken back": (
        "status",
        ENTRIES,
        lambda row: {"approved": False, "active_submission_id": None, "recent_submission_id": None},
    ),
    "day of work": ("date", ENTRIES, lambda row: other_day(row, month=False)),
    "month of work": ("timing", ENTRIES, lambda row: other_day(row, month=True)),
    "price": ("amount", RATES, lambda row: plus(row, "Rate__c", "17.50")),
    "price by a cent": ("rounding", RATES, lambda row: plus(row, "Rate__c", "0.01")),
    "price in another currency": (
        "fx",
        RATES,
        lambda row: {"Rate__c": str(in_another(row).quantize(Decimal("0.01")))},
    ),
    "currency": (
        "currency",
        RATES,
        lambda row: {"CurrencyIsoCode": "USD" if row["CurrencyIsoCode"] != "USD" else "EUR"},
    ),
    "value of a milestone": ("amount", GOALS, lambda row: plus(row, "Amount__c", "1000")),
    "net of an invoice": ("amount", BILLS, lambda row: plus(row, "subtotal", "100")),
    "tax of an invoice": ("tax", BILLS, lambda row: plus(row, "taxTotal", "7.77")),
    "standing of an invoice": ("status", BILLS, lambda row: {"status": "Voided"}),
    "name of a person": ("ownership", ("kantata", "users"), lambda row: {"full_name": row["full_name"] + " jr."}),
}


def corrupt(vandal, count):
    """Make corruptions until there are so many; returns (class, kind of change, external id, stamped) of each."""
    made = []
    kinds = [*CHANGES, "billed entry deleted", "price deleted", "entry nobody knows"]
    while len(made) < count:
        what = kinds[len(made) % len(kinds)] if len(made) < 3 * len(kinds) else vandal.draw.choice(kinds)
        if what in CHANGES:
            cls, place, changes = CHANGES[what]
            found = vandal.row(place, lambda row: row.get("approved", True) and row.get("approvalStatus", "2") == "2")
            if found is None:
                kinds.remove(what)
                continue
            stamped = vandal.draw.random() < 0.5
            vandal.change(place, found[0], changes(found[1]), stamped=stamped)
            made.append((cls, what, found[0], stamped))
        elif what == "entry nobody knows":
            found = vandal.row(ENTRIES)
            fresh = str(990_000_000 + len(made))
            vandal.copy(ENTRIES, found[0], "id", fresh)
            made.append(("extra_in_target", what, fresh, False))
        else:
            place = ENTRIES if what == "billed entry deleted" else RATES
            found = vandal.row(place, lambda row: row.get("id") in vandal.billed or "Rate__c" in row)
            if found is None:
                kinds.remove(what)
                continue
            vandal.drop(place, found[0])
            made.append(("deleted_upstream" if place == ENTRIES else "missing_in_target", what, found[0], False))
    return made


def named(tied):
    """Return breaks as (class, external id)."""
    return {(one["class"], one["external_id"]) for one in tied["breaks"]}


@pytest.mark.parametrize("seed", [1])
def test_two_hundred_corruptions_are_found_rightly_named_and_closed_when_healed(firm, seed):
    site, house = firm
    vandal = Vandal(site, seed)
    made = corrupt(vandal, 200)
    assert len({cls for cls, *_ in made}) >= 12
    stamped = {(cls, id) for cls, _, id, moved in made if moved}
    all_of_them = {(cls, id) for cls, _, id, _ in made}
    assert len(all_of_them) == 200

    told = tie_out(house, "stamped", whole=False)
    assert stamped - named(told) == set()
    assert named(told) - all_of_them == set()
    assert told["swept"] == 0
    assert told["read"] < told["compared"] / 3

    found = tie_out(house, "whole")
    assert (all_of_them - named(found), named(found) - all_of_them) == (set(), set())

    vandal.heal()
    healed = tie_out(house, "healed")
    assert healed["breaks"] == []
    with house.database.transaction() as tx:
        assert tx.value("select count(*) from breaks where closed_at is null") == 0
        assert tx.value("select count(*) from breaks where closed_at is not null") == 200
        assert (
            tx.value(
                """
            select count(*) from tie_groups
            where (ours_count, ours_sum, ours_hash) is distinct from (theirs_count, theirs_sum, theirs_hash)
            """
            )
            == 0
        )


def test_sums_kept_by_changes_are_the_sums_of_the_lines(firm):
    _, house = firm
    with house.database.transaction() as tx:
        wrong = tx.rows(
            """
            select * from (
                select system, object, legal_entity, period, currency,
                    count(ours_hash) as ours_count, coalesce(sum(ours_amount), 0) as ours_sum,
                    coalesce(sum(ours_hash::numeric), 0) as ours_hash, count(theirs_hash) as theirs_count,
                    coalesce(sum(theirs_amount), 0) as theirs_sum, coalesce(sum(theirs_hash::numeric), 0) as theirs_hash
                from tie_lines group by system, object, legal_entity, period, currency) l
            full join tie_groups g using (system, object, legal_entity, period, currency)
            where (coalesce(l.ours_count, 0), coalesce(l.ours_sum, 0), coalesce(l.ours_hash, 0),
                    coalesce(l.theirs_count, 0), coalesce(l.theirs_sum, 0), coalesce(l.theirs_hash, 0))
                is distinct from (g.ours_count, g.ours_sum, g.ours_hash, g.theirs_count, g.theirs_sum, g.theirs_hash)
            """
        )
    assert wrong == []
