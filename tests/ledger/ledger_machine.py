"""One firm, three deals, and everything that people and systems do to them, in any order and any number of times."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal

import polars as pl
from counting import TRIED
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from laws import broken
from office import Office
from slate import Slate

from small_firm import gid_of
from trueup.billing.credits import attribute_credit
from trueup.billing.frames import ALLOCATIONS
from trueup.billing.reference import run as reference
from trueup.billing.run import plan_run
from trueup.billing.terms import Payer, Terms
from trueup.kernel.errors import Busy, Held, Refused
from trueup.kernel.money import from_units
from trueup.kernel.periods import last_day
from trueup.pipeline.ingest import author
from trueup.processes import (
    adjustments,
    brakes,
    corrections,
    dry_run,
    facts,
    milestone_billing,
    period_close,
    rerating,
    time_to_billing,
)
from trueup.store import adjustments as decided
from trueup.store import holds, ledger, objects, periods

ENTITY = "DE01"
MONTHS = tuple(f"{year}-{month:02d}" for year in (2026, 2027, 2028) for month in range(1, 13))[7:]
KEYS = st.sampled_from(["e1", "e2", "e3", "e4"])
MINUTES = st.sampled_from([1, 20, 60, 95, 240, 480])
PICK = st.integers(0, 5)
POSTED = ("posted", "part_paid", "paid", "credited")
BUSINESS = (
    "objects", "time_entries", "expense_lines", "buckets", "moves", "charges", "allocations", "reopenings", "holds", "runs",
    "positions", "margins", "adjustments", "adjustment_facts", "revenue_postings", "document_numbers", "number_series",
    "deliveries", "edits",
)  # fmt: skip
BY_HAND = """
    select c.fact from holds h join charges c on c.document = h.scope
    where h.code = 'MANUAL' and h.released_at is null and c.kind = 'time' and c.minutes = 0
"""
"""Shares without minutes, off their document: named, because no run finds them again."""


class Firm:
    """An office with its deals, opened once, and a first month that is billed and posted; each schedule begins there."""

    def __init__(self, database):
        self.office = office = Office(database)
        office.number(ENTITY)
        office.deal("X01", 100, cap=900)
        office.rate("X01", 140, key="s", role="Senior")
        office.deal("X03", 0, method="fixed_fee", goal=5000, price=5000)
        office.deal("X02", 133)
        office.hear(
            "dealer", "account",
            {"id": "a-second", "name": "Second payer", "country": "DE", "vat": "DE2", "currency": "EUR", "terms": 30},
        )  # fmt: skip
        payers = tuple(
            Payer(gid_of(office.house, "customer", name), Decimal(weight), "DE", has_tax_id=True)
            for name, weight in (("Client DE01", "0.6"), ("Second payer", "0.4"))
        )
        office.house.firm = replace(office.house.firm, terms={("contract", "X02"): Terms("shared", payers=payers)})
        office.hear("folks", "pay", {"id": "c1", "worker": "w1", "rate": 60, "currency": "EUR", "from": "2026-01-01"})
        for key, minutes in (("e1", 240), ("e2", 480), ("e3", 95)):
            office.work(key, minutes)
        office.work("e4", 95, project="X02-DE01", day="2026-08-07")
        office.run(MONTHS[0])
        office.post("X01-DE01-2026-08")
        self.kept = (office.stamps, dict(office.entries), list(office.said))
        self.desks = {name: (dict(s.client.records), dict(s.client.sent)) for name, s in office.house.systems.items()}
        self.slate = Slate(database)

    def begin(self):
        """Let everything be as it was at the beginning; returns the office."""
        self.slate.restore()
        self.office.stamps, entries, said = self.kept
        self.office.entries, self.office.said = dict(entries), list(said)
        for name, (records, sent) in self.desks.items():
            client = self.office.house.systems[name].client
            client.records = {kind: dict(rows) for kind, rows in records.items()}
            client.sent = dict(sent)
        return self.office


class Ledger(RuleBasedStateMachine):
    """A schedule: verbs in any order; after each of them every law holds."""

    def __init__(self, firm):
        super().__init__()
        TRIED["schedules"] += 1
        self.office = firm.begin()
        self.database, self.house = self.office.database, self.office.house
        self.months = iter(MONTHS[1:])
        self.billed = [MONTHS[0]]
        self.closable = iter(MONTHS)
        self.closes = next(self.closable)
        self.decisions = []
        self.credits = 0
        self.posted, self.written = {}, {}

    def count(self, verb):
        TRIED["steps"] += 1
        TRIED[verb] += 1

    # --- what is worked and spent ------------------------------------------------------------------------------------

    @initialize()
    def begin_with_billed_work(self):
        assert self.office.invoices()["X01-DE01-2026-08"][1] == "posted"

    @rule(
        key=KEYS, minutes=MINUTES, state=st.sampled_from(["ok", "ok", "ok", "sent"]),
        role=st.sampled_from(["Consultant"] * 4 + ["Senior", "Nobody"]),
        day=st.sampled_from(["2026-08-05"] * 3 + ["2026-08-01", "2026-09-02"]),
    )  # fmt: skip
    def approve_edit_or_unapprove(self, key, minutes, state, role, day):
        self.count("edit" if state == "ok" else "unapprove")
        self.office.work(
            key, minutes, state=state, role=role, day=day, project="X02-DE01" if key == "e4" else "X01-DE01"
        )

    @rule(key=KEYS)
    def delete(self, key):
        self.count("delete")
        self.office.delete(key)

    @rule(report=st.sampled_from(["r1", "r2"]), amount=st.sampled_from([12.35, 100, 99.99]))
    def spend(self, report, amount):
        self.count("spend")
        self.office.spend(report, amount)

    @rule(pick=st.integers(0, 30))
    def hear_it_again(self, pick):
        self.count("repeat")
        before = self.everything()
        self.office.hear(*self.office.said[-1 - pick % len(self.office.said)])
        self.office.said.pop()
        assert self.everything() == before, "I3: a message that comes again changes nothing"

    # --- billing -----------------------------------------------------------------------------------------------------

    def planned(self, month):
        """Plan a month by both engines: the same facts give the same charges, lines, holds and documents by either."""
        with self.database.transaction() as tx:
            seen = facts.run_facts(tx, self.house.firm, ENTITY, last_day(month), month)
        plan = plan_run(seen, last_day(month), month)
        fast, plain = reference.seen(plan), reference.plan_run(seen, last_day(month), month)
        assert fast == plain, "I4: the plain engine bills the same"
        return plan

    @rule(again=st.booleans(), pick=PICK)
    def bill(self, again, pick):
        self.count("bill")
        month = self.billed[pick % len(self.billed)] if again else next(self.months)
        try:
            self.run_of(month)
        except Held:
            assert month < self.closes, "only a closed month refuses a run"

    @rule(post=st.booleans())
    def bill_a_month_and_post_it(self, post):
        self.count("bill and post")
        self.run_of(next(self.months), closely=False)
        for code in sorted(code for code, (_, status, _) in self.office.invoices().items() if status == "draft"):
            if post and self.office.invoices()[code][0] == "invoice":
                self.office.post(code)

    def run_of(self, month, *, closely=True):
        done = month in self.billed
        with self.database.transaction() as tx:
            closed = periods.is_closed(tx, ENTITY, month)
        plan = None if done or closed else self.planned(month)
        self.office.run(month)
        if plan is not None:
            self.billed.append(month)
            self.as_planned(plan, month)
        before = self.everything()
        self.office.run(month)
        assert self.everything() == before, "I3: billing twice changes nothing"
        if plan is not None and closely:
            if not self.adjusted_in(month):
                assert dry_run.preview(self.house, month, ENTITY)["invoices"] == [], "I3: all was billed at once"
            self.worth_what_it_is()

    def adjusted_in(self, month):
        """Say whether a run carried decisions: one that lowers a bill gives cap back, as a credit does (S04)."""
        with self.database.transaction() as tx:
            sql = "select count(*) from charges where run = %s and kind in ('adjustment', 'delta')"
            return bool(tx.value(sql, (time_to_billing.run_name(month, ENTITY),)))

    def as_planned(self, plan, month):
        """What a run wrote is what the plan said: nothing got lost on the way to the ledger."""
        wanted = plan.charges.filter(pl.col("bucket") == "on_draft").select("fact", "minutes", "amount")
        with self.database.transaction() as tx:
            made = tx.tuples(
                """
                select fact, minutes, amount from charges
                where run = %s and bucket = 'on_draft' and kind not in ('adjustment', 'delta')
                """,
                (time_to_billing.run_name(month, ENTITY),),
            )
            braked = tx.rows("select from holds where code = 'BRAKE' and released_at is null")
        if not braked:
            assert sorted(made, key=repr) == sorted(wanted.iter_rows(), key=repr), "I2: the run wrote what it planned"

    def worth_what_it_is(self):
        """I4: what is wholly on documents is there for what the plain engine says it is worth now, or is named."""
        with self.database.transaction() as tx:
            stands = tx.rows(
                """
                select t.gid, a.amount from time_entries t
                cross join lateral (
                    select sum(quantity) as minutes from buckets
                    where fact = t.gid and bucket in ('on_draft', 'invoiced')) b
                cross join lateral (
                    select coalesce(sum(a.amount), 0)::bigint as amount from charges c join allocations a on a.charge = c.key
                    where c.fact = t.gid and c.kind in ('time', 'overage', 'delta')) a
                where t.tombstone is null and t.status = 'approved' and b.minutes = t.minutes
                """
            )
            gids = [row["gid"] for row in stands]
            seen = facts.facts_as_new(tx, self.house.firm, ENTITY, gids, MONTHS[-1])
            named = {row["fact"] for row in rerating.find(tx, self.house, date(2026, 1, 1))}
            named |= {row["fact"] for row in tx.rows("select fact from edits")}
            named |= {
                row["fact"]
                for row in tx.rows(
                    """
                    select fact from adjustments join adjustment_facts on adjustment = number
                    where kind = 're_rate' and state = 'proposed'
                    """
                )
            }
            named |= {row["fact"] for row in tx.rows(BY_HAND)}
            named |= {row["fact"] for row in decided.waiting(tx, ENTITY) if row["kind"] == "re_rate"}
        plain = reference.plan_run(seen, last_day("9998-12"), "9998-12")
        worth = {}
        for _, fact, kind, _, bucket, _, amount, *_ in plain.charges:
            if kind == "time" and bucket == "on_draft":
                worth[fact] = worth.get(fact, 0) + amount
        for row in stands:
            if row["gid"] in worth and row["gid"] not in named:
                assert row["amount"] == worth[row["gid"]], (
                    f"I4: {row['gid']} is billed at another price than it is worth"
                )

    @rule(pick=PICK)
    def look_and_touch_nothing(self, pick):
        self.count("dry run")
        before = self.everything()
        dry_run.preview(self.house, MONTHS[pick], ENTITY)
        rerating.preview(self.house, date(2026, 1, 1), None)
        period_close.preview(self.house, ENTITY, MONTHS[pick])
        assert self.everything() == before, "a dry run changes nothing"

    @rule(done=st.sampled_from(["2026-08-20", "2026-09-30"]))
    def finish_the_milestone(self, done):
        self.count("milestone")
        self.office.milestone("X03", done)

    @rule(pick=PICK, what=st.sampled_from(["same", "next", "milestone", "credit"]))
    def two_at_once(self, pick, what):
        self.count("two at once")
        month = next(self.months)
        gid = gid_of(self.house, "milestone", "X03-M1")
        with self.database.transaction() as tx:
            complete = objects.one(tx, gid).body["completed_on"] is not None
        code = self.chosen(pick, "posted", "paid")
        beside = {
            "same": lambda: self.office.run(month),
            "next": lambda: self.office.run(MONTHS[MONTHS.index(month) + 1]),
            "milestone": lambda: milestone_billing.bill(self.house, gid, "m") if complete else None,
            "credit": lambda: self.credit_all(code) if code else None,
        }[what]
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(_unless_busy, call) for call in (lambda: self.office.run(month), beside)]
            for job in jobs:
                job.result()
        self.billed.append(month)
        if what == "next":
            self.billed.append(next(self.months))
        for one in self.billed[-2:]:
            self.office.run(one)
        self.worth_what_it_is()

    def credit_all(self, code):
        with self.database.transaction() as tx:
            gid = gid_of(self.house, "invoice", code)
            corrections.credit(tx, self.house, gid, by="Ana", reason="as agreed", again=True)

    # --- what stops a bill ------------------------------------------------------------------------------------------

    @rule(key=KEYS)
    def hold_or_let_go(self, key):
        self.count("hold")
        gid = self.office.entries[key]
        with self.database.transaction() as tx:
            stopped = holds.open_of(tx, scopes=[gid], codes=["MANUAL"])
            if stopped:
                holds.release(tx, [hold["number"] for hold in stopped], "Ana", "it is settled")
            else:
                reason = "the client asks what this was"
                holds.place(
                    tx, [holds.Hold("MANUAL", gid, "time_entry", "Ana", reason, "a decision", legal_entity=ENTITY)]
                )

    @rule(pick=PICK)
    def release_a_brake(self, pick):
        with self.database.transaction() as tx:
            stopped = holds.open_of(tx, codes=["BRAKE"])
            if not stopped:
                return
            self.count("release a brake")
            number = stopped[pick % len(stopped)]["number"]
            holds.release(tx, [number], "Ana", "it is a large month")
        brakes.bill_released(self.house, number, "braked_invoice")
        before = self.everything()
        brakes.bill_released(self.house, number, "braked_invoice")
        assert self.everything() == before, "I3: a released invoice is made once"

    @rule(cap=st.sampled_from([1500, 3000]))
    def raise_the_cap(self, cap):
        self.count("cap")
        with self.database.transaction() as tx:
            gid = tx.value("select gid from objects where kind = 'contract' and body ->> 'code' = 'X01'")
            lines = objects.one(tx, gid).body["lines"]
            lines[0]["cap"] = str(max(Decimal(cap), Decimal(lines[0]["cap"])))
            author(tx, self.house, [("contract", gid, {"lines": lines})], role="crm", actor="dealer")

    # --- what becomes of documents ----------------------------------------------------------------------------------

    def chosen(self, pick, *states):
        found = sorted(
            code for code, (kind, status, _) in self.office.invoices().items() if kind == "invoice" and status in states
        )
        return found[pick % len(found)] if found else None

    @rule(pick=PICK)
    def post(self, pick):
        if code := self.chosen(pick, "draft"):
            self.count("post")
            self.office.post(code)

    @rule(pick=PICK)
    def pay(self, pick):
        if code := self.chosen(pick, "posted"):
            self.count("pay")
            self.office.say(code, status="paid", balance="0.00")

    @rule(pick=PICK)
    def void(self, pick):
        if code := self.chosen(pick, "draft"):
            self.count("void")
            self.office.say(code, status="voided")

    @rule(pick=PICK, minutes=st.sampled_from([None, 1, 30]), again=st.booleans(), whole=st.booleans())
    def credit(self, pick, minutes, again, whole):
        code = self.chosen(pick, "posted", "paid")
        if code is None:
            return
        self.count("credit")
        with self.database.transaction() as tx:
            gid = gid_of(self.house, "invoice", code)
            on_it = tx.rows("select distinct fact from charges where document = %s order by fact", (gid,))
            fact = on_it[pick % len(on_it)]["fact"]
            if not fact.startswith("tim"):
                minutes = None
            try:
                corrections.credit(
                    tx,
                    self.house,
                    gid,
                    by="Ana",
                    reason="as agreed",
                    again=again,
                    facts=None if whole else {fact: minutes},
                )
            except Held:
                tx.run("rollback")

    @rule(pick=PICK, minutes=st.sampled_from([1, 30, 60]))
    def credited_in_the_erp(self, pick, minutes):
        code = self.chosen(pick, "posted", "paid")
        if code is None:
            return
        with self.database.transaction() as tx:
            stands = ledger.standing(tx, documents=[gid_of(self.house, "invoice", code)])
        timed = sorted({row["line_key"] for row in stands if row["minutes"] > 0 and row["amount"] > 0})
        if not timed:
            return
        line = timed[pick % len(timed)]
        of_line = [row for row in stands if row["line_key"] == line]
        minutes = min(minutes, sum(row["minutes"] for row in of_line))
        # Accounts receivable credits hours at what they were billed at: the newest first, as the rule takes them.
        taken = attribute_credit(standing_on(of_line), "EUR", minutes)
        net = from_units(int(taken.splits["amount"].sum()), "EUR")
        if net > 0:
            self.count("ERP credit")
            self.credits += 1
            self.office.erp_credit(code, line, minutes, format(net, "f"), number=f"CR-{self.credits}")

    # --- what people decide -----------------------------------------------------------------------------------------

    @rule(
        rate=st.sampled_from([90, 100, 133]), policy=st.sampled_from(rerating.POLICIES),
        code=st.sampled_from(["X01", "X01", "X02"]), now=st.booleans(),
    )  # fmt: skip
    def rerate(self, rate, policy, code, now):
        self.count("re-rate")
        self.office.rate(code, rate)
        found = rerating.propose(self.house, date(2026, 1, 1), None, policy, by="Ana", reason="the price changed")
        self.decisions += found["adjustments"]
        if now and found["adjustments"]:
            self.decide(len(self.decisions) - 1, "approve")

    @rule(
        key=st.sampled_from(["e1", "e2", "e3", "e4", "r1"]),
        kind=st.sampled_from(["write_off", "postponed", "non_billable", "courtesy", "write_down"]), now=st.booleans(),
    )  # fmt: skip
    def adjust(self, key, kind, now):
        gid = self.office.entries.get(key)
        if gid is None:
            return
        self.count("adjust")
        until = date(2027, 1, 15) if kind == "postponed" else None
        try:
            made = adjustments.propose(
                self.house, kind, [gid], by="Ana", reason="as agreed with the client", until=until
            )
        except Refused:
            return
        self.decisions.append(made["number"])
        if now:
            self.decide(len(self.decisions) - 1, "approve")

    @precondition(lambda self: self.decisions)
    @rule(pick=PICK, what=st.sampled_from(["approve", "approve", "reject", "undo"]))
    def decide(self, pick, what):
        self.count(what)
        number = self.decisions[pick % len(self.decisions)]
        try:
            if what == "undo":
                adjustments.undo(self.house, number, by="Bo", reason="on second thoughts")
            else:
                getattr(adjustments, what)(self.house, number, by="Bo")
        except (Refused, Held, Busy):
            pass

    # --- the books --------------------------------------------------------------------------------------------------

    @rule()
    def close_a_month(self):
        month = self.closes
        drafts = [c for c, (_, status, _) in self.office.invoices().items() if status == "draft" and c.endswith(month)]
        if drafts or month not in self.billed:
            return
        self.count("close")
        with self.database.transaction() as tx:
            begun = periods.begin(tx, ENTITY, month, "Ana")
        revision, attempt = str(begun["revision"]), str(begun["attempt"])
        period_close.book_revenue(self.house, month, ENTITY, revision, attempt)
        period_close.freeze(self.house, month, ENTITY, revision, attempt, "Ana")
        with self.database.transaction() as tx:
            assert tx.value("select count(*) from positions where period = %s", (month,)), f"{month} was booked"
        self.closes = next(self.closable)

    # --- the laws ---------------------------------------------------------------------------------------------------

    def everything(self):
        """Return a digest of each table that says what was worked, billed, decided and booked."""
        with self.database.transaction() as tx:
            one = (
                "select '{0}' as name, md5(coalesce(string_agg(t::text, '|' order by t::text), '')) as found from {0} t"
            )
            rows = tx.rows(" union all ".join(one.format(name) for name in BUSINESS))
        return {row["name"]: row["found"] for row in rows}

    @invariant()
    def every_law_holds(self):
        assert broken(self.database) == {}

    @invariant()
    def what_was_posted_stays(self):
        """Posted documents, and every charge, move and allocation, are never changed again: corrections are new rows."""
        with self.database.transaction() as tx:
            posted = tx.rows(
                """
                select gid, md5(concat_ws('|', body ->> 'code', body ->> 'number', body ->> 'net', body ->> 'tax',
                    body ->> 'gross', body ->> 'lines', body ->> 'invoice_date', body ->> 'period', body ->> 'currency',
                    body ->> 'customer', body ->> 'due_on')) as found
                from objects where kind = 'invoice' and status = any(%s)
                """,
                (list(POSTED),),
            )
            written = tx.rows(
                """
                select 'charge ' || key as name, md5(c::text) as found from charges c
                union all select 'move ' || key, md5(m::text) from moves m
                union all select 'allocation ' || charge || document || line_key, md5(a::text) from allocations a
                union all select 'posting ' || journal || legal_entity || line, md5(r::text) from revenue_postings r
                """
            )
        for kept, rows in ((self.posted, posted), (self.written, written)):
            now = {row.get("gid") or row["name"]: row["found"] for row in rows}
            changed = {name for name, found in kept.items() if now.get(name) != found}
            assert not changed, f"posted facts stay as they are: {sorted(changed)[:3]}"
            kept.update(now)


def standing_on(rows):
    """Return what stands on one line, oldest service first, as the rule for credits reads it."""
    return pl.DataFrame(
        [
            (row["charge"], row["fact"], row["service_on"], place, row["minutes"], row["amount"])
            for place, row in enumerate(reversed(rows))
            if row["amount"] > 0 or row["minutes"] > 0
        ],
        schema=ALLOCATIONS.empty().schema, orient="row",
    )  # fmt: skip


def _unless_busy(call):
    try:
        return call()
    except (Busy, Held):
        return None
