"""An auditor rebuilds invoices of every kind from raw bytes in an empty database, and one flipped byte is named."""

import hashlib
import http.client
import io
import json
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from typer.testing import CliRunner

import small_firm
from trueup.billing.schedules import Schedule
from trueup.billing.tax_rules import Answer, Service, State, TaxRules, Withholding
from trueup.billing.terms import Payer, Terms
from trueup.connectors.sdk.registry import Connector
from trueup.entrypoints import rebuild
from trueup.entrypoints.api import app
from trueup.entrypoints.cli import main
from trueup.kernel import clock
from trueup.kernel.errors import Broken
from trueup.kernel.strict_json import canonical
from trueup.pipeline import edition
from trueup.pipeline.house import Firm, Package, Prepayment
from trueup.processes import (
    adjustments,
    brakes,
    corrections,
    milestone_billing,
    opportunity_to_project,
    period_close,
    rerating,
    schedule_billing,
    time_to_billing,
)
from trueup.reporting import evidence_export
from trueup.reporting.explain import explain
from trueup.store import access, acts, holds, periods

PARTLY, REPRICED = "X01-DE01-2026-08-C1", "X01-DE01-2026-08-CA4"
KINDS = {
    "of time": "X01-DE01-2026-08",
    "before the cap": "T01-DE01-2026-09",
    "at the cap": "T01-DE01-2026-10",
    "of a retainer": "R01-DE01-2026-09",
    "of a retainer's next month": "R01-DE01-2026-10",
    "of a milestone": "X03-M1",
    "of a schedule": "S01-DE01-2026-10-S",
    "with adjusted lines": "A01-DE01-2026-10",
    "that a brake held": "B01-DE01-2026-10",
    "credit of hours": PARTLY,
    "credit of a price": REPRICED,
}


def connector_of(name: str) -> Connector:
    """Return an invented system's facts, as the registry returns a real one's."""
    return Connector(small_firm.manifest(name), Path(), small_firm.Desk, None, {}, {})


@contextmanager
def fresh(postgres, name):
    """An empty database, dropped afterwards."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    url = postgres.replace("/trueup?", f"/{name}?")
    try:
        yield url
    finally:
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm's August, then a capped deal and a retainer over two months, and a signed milestone."""
    with small_firm.opened(database_url, filled=False) as built:
        packages = dict(built.firm.packages)
        packages["ADV-RT"] = Package("ADV-RT", "Retainer", "Advisory", "Consulting", frozenset({"retainer"}), "ratable")
        built.firm = replace(built.firm, packages=packages)
        with built.database.transaction() as tx:
            edition.keep(tx, built, small_firm.default_ownership())
        add_terms(built)
        small_firm.fill(built)
        two_months(built)
        decisions(built)
        yield built


def add_terms(house):
    """Let the CRM say caps, fees and included hours, by a later version of its mapping."""
    old = house.inward[("dealer", "deal")]
    text = old.source.replace("version: 1", "version: 2").replace(
        "      markup_share: {share: markup, optional: true}\n",
        "      markup_share: {share: markup, optional: true}\n"
        "      cap: {money: cap, currency: currency, optional: true}\n"
        "      monthly_fee: {money: fee, currency: currency, optional: true}\n"
        "      included_hours: {number: included, optional: true}\n"
        "      overage_rate: {money: overage, currency: currency, optional: true}\n",
    )
    house.inward[("dealer", "deal")] = small_firm.load_mapping(text)
    with house.database.transaction() as tx:
        edition.keep(tx, house, small_firm.default_ownership())


def two_months(house):
    capped = {"key": "T01-L1", "package": "ADV-TM", "method": "time_and_materials", "amount": 3000, "cap": 3000}
    kept = {"key": "R01-L1", "package": "ADV-RT", "method": "retainer", "amount": 10000, "fee": 2000, "included": 10,
            "overage": 220}  # fmt: skip
    small_firm.hear(
        house, "dealer", "deal", small_firm.deal("T01", "a1", [capped]), small_firm.deal("R01", "a1", [kept])
    )
    prices = [
        {
            "id": f"p-{code}",
            "deal": f"d-{code}",
            "role": "Consultant",
            "rate": 150,
            "currency": "EUR",
            "from": "2026-01-01",
        }
        for code in ("T01", "R01")
    ]
    small_firm.hear(house, "dealer", "price", *prices)
    for code in ("T01", "R01"):
        opportunity_to_project.set_up(
            house, small_firm.gid_of(house, "contract", code), f"opportunity_to_project/{code}"
        )
    small_firm.carry_out(house)
    small_firm.hear(
        house,
        "timely",
        "entry",
        small_firm.entry("t1", 480, project="T01-DE01"),
        small_firm.entry("t2", 425, project="T01-DE01", day="2026-08-19"),
        small_firm.entry("r1", 700, project="R01-DE01", day="2026-08-20"),
    )
    house.firm = replace(house.firm, owners={"TAX_UNDETERMINED": "Tax desk"})
    with house.database.transaction() as tx:
        edition.keep(tx, house, small_firm.default_ownership())
    time_to_billing.bill(house, "2026-09", "DE01", "billing_run/2026-09/DE01")
    small_firm.carry_out(house)
    small_firm.hear(
        house,
        "timely",
        "entry",
        small_firm.entry("t3", 500, project="T01-DE01", day="2026-10-05"),
        small_firm.entry("r2", 90, project="R01-DE01", day="2026-10-05"),
        small_firm.entry("t1", 470, at="2026-09-02T08:00:00Z", project="T01-DE01"),
    )
    goal = small_firm.gid_of(house, "milestone", "X03-M1")
    small_firm.hear(
        house,
        "dealer",
        "goal",
        {"code": "X03-M1", "deal": "d-X03", "line": "X03-L1", "name": "Model live", "sequence": 1, "amount": 5000,
         "currency": "EUR", "sign": False},
    )  # fmt: skip
    milestone_billing.bill(house, goal, "milestone_billing/X03-M1/signed")


def worked(house, key):
    """Return our identifier of an entry of the PSA."""
    with house.database.transaction() as tx:
        return tx.value(
            "select gid from crosswalk where system = 'timely' and object = 'entry' and external_id = %s", (key,)
        )


def decisions(house):
    """A schedule, people's decisions about what is billed, a day too long, a closed month, and two credits."""
    advice = {"package": "ADV-TM", "method": "time_and_materials", "amount": 30000}
    fee = {"key": "S01-L1", "package": "DATA-FF", "method": "fixed_fee", "amount": 12000}
    small_firm.hear(
        house, "dealer", "deal",
        small_firm.deal("A01", "a1", [{"key": "A01-L1", **advice}]),
        small_firm.deal("B01", "a1", [{"key": "B01-L1", **advice}]), small_firm.deal("S01", "a1", [fee]),
    )  # fmt: skip
    price = {"role": "Consultant", "rate": 150, "currency": "EUR", "from": "2026-01-01"}
    for code in ("A01", "B01"):
        small_firm.hear(house, "dealer", "price", {"id": f"p-{code}", "deal": f"d-{code}", **price})
    for code in ("A01", "B01", "S01"):
        contract = small_firm.gid_of(house, "contract", code)
        opportunity_to_project.set_up(house, contract, f"opportunity_to_project/{code}")
    small_firm.carry_out(house)
    house.firm = replace(
        house.firm,
        schedules={"S01-L1": Schedule("S01-L1", "instalments", date(2026, 10, 1), count=3)},
        terms={("A01", "A01-L1"): Terms(name="of A01")},
    )
    with house.database.transaction() as tx:
        edition.keep(tx, house, small_firm.default_ownership())
    small_firm.hear(
        house, "timely", "entry",
        small_firm.entry("a1", 300, project="A01-DE01", day="2026-10-06"),
        small_firm.entry("a2", 60, project="A01-DE01", day="2026-10-07"),
        small_firm.entry("a3", 45, project="A01-DE01", day="2026-10-08"),
        small_firm.entry("a4", 30, project="A01-DE01", day="2026-10-09"),
        small_firm.entry("b1", 800, project="B01-DE01", day="2026-10-12"),
        small_firm.entry("b2", 700, project="B01-DE01", day="2026-10-12"),
    )  # fmt: skip
    by_ana = {"by": "Ana", "reason": "agreed with the client"}
    lower = adjustments.propose(
        house, "write_down", [worked(house, "a1"), worked(house, "a2")], amount=Decimal(100), **by_ana
    )
    free = adjustments.propose(house, "courtesy", [worked(house, "a3")], **by_ana)
    never = adjustments.propose(house, "write_off", [worked(house, "a4")], **by_ana)
    adjustments.approve(house, lower["number"], by="Bo")
    adjustments.approve(house, free["number"], by="Bo")
    adjustments.reject(house, never["number"], by="Bo")
    time_to_billing.bill(house, "2026-10", "DE01", "billing_run/2026-10/DE01")
    schedule_billing.bill(house, "2026-10", "DE01", "schedule_billing/2026-10/DE01")
    with house.database.transaction() as tx:
        (held,) = holds.open_of(tx, codes=["BRAKE"])
        holds.release(tx, [held["number"]], "Ana", "the day had 25 hours: the clocks went back")
    brakes.bill_released(house, held["number"], f"braked_invoice/{held['number']}")
    small_firm.carry_out(house)
    with house.database.transaction() as tx:
        month = periods.begin(tx, "DE01", "2026-09", "Ana")
    period_close.freeze(house, "2026-09", "DE01", str(month["revision"]), str(month["attempt"]), "Ana")
    invoice = small_firm.gid_of(house, "invoice", "X01-DE01-2026-08")
    corrections.give(house, invoice, by="Ana", reason="an hour too many", facts={worked(house, "e1"): 60})
    small_firm.hear(house, "dealer", "price", {"id": "p1", "deal": "d-X01", **price, "rate": 140, "at": "2"})
    found = rerating.propose(house, date(2026, 8, 1), "X01", "credit_partial", by="Ana", reason="price was wrong")
    adjustments.approve(house, found["adjustments"][0], by="Bo")


@pytest.fixture(scope="module")
def gids(house):
    """Every invoice of the firm: code -> identifier."""
    with house.database.transaction() as tx:
        rows = tx.rows("select gid, body ->> 'code' as code from objects where kind = 'invoice' order by 2")
        return {row["code"]: row["gid"] for row in rows}


@pytest.fixture(scope="module")
def parts(house, gids):
    """One bundle with all of them."""
    with house.database.transaction() as tx:
        tx.run("set transaction isolation level repeatable read")
        return rebuild.export(tx, list(gids.values()))


def again(url, parts, *wanted):
    """Rebuild from a bundle in the database of an address."""
    with rebuild.empty_database(url, lambda text: None) as database:
        return rebuild.rebuild(rebuild.check(parts), database, wanted, connector_of)


def test_invoices_of_every_kind_are_rebuilt_byte_for_byte(postgres, house, gids, parts):
    assert set(KINDS.values()) <= set(gids)
    with fresh(postgres, "rebuilt_all") as url:
        found = again(url, parts)
    assert [(one.code, one.differences) for one in found if not one.equal] == []
    assert {one.code for one in found} == set(gids)
    chains = [chain for one in found for chain in one.chains if chain["message"]]
    time = next(chain for chain in chains if chain["message"]["external_id"] == "e1")
    assert (
        time["message"]["sha256"]
        == hashlib.sha256(parts[evidence_export.raw_name(time["message"]["number"])]).hexdigest()
    )
    assert time["rate_line"]["role"] == "Consultant"
    assert time["rule"]
    assert time["rounding"]
    assert time["approval"]["mapping"] == "timely.entry -> time_entry"


@pytest.mark.parametrize("code", [*KINDS.values()], ids=[*KINDS])
def test_an_invoice_alone_is_rebuilt_from_what_it_depends_on(postgres, house, gids, parts, code):
    with house.database.transaction() as tx:
        alone = rebuild.export(tx, [gids[code]])
    assert len(json.loads(alone["messages.json"])) < len(json.loads(parts["messages.json"]))
    with fresh(postgres, "rebuilt_alone") as url:
        (found,) = again(url, alone, code)
    assert found.equal, found.differences


def test_the_cap_used_up_before_and_the_change_after_billing_count(house, gids):
    with house.database.transaction() as tx:
        first, second = (explain(tx, gids[code]) for code in ("T01-DE01-2026-09", "T01-DE01-2026-10"))
    assert first.net + second.net == 3000


def test_the_same_state_gives_the_same_bundle_and_the_same_zip(house, gids, parts):
    with house.database.transaction() as tx:
        other = rebuild.export(tx, list(reversed(gids.values())))
    assert other == parts
    assert rebuild.zipped(other) == rebuild.zipped(dict(reversed(parts.items())))
    assert rebuild.unzipped(rebuild.zipped(parts)) == parts


def test_the_day_and_the_clock_of_the_rebuild_do_not_matter(postgres, parts, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: datetime(2033, 11, 24, tzinfo=UTC))
    with fresh(postgres, "rebuilt_later") as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create schema later")
            connection.execute(
                "create function later.now() returns timestamptz language sql stable as "
                "$$ select '2033-11-24 03:00+00'::timestamptz + (pg_catalog.now() - pg_postmaster_start_time()) $$"
            )
            connection.execute("alter database rebuilt_later set search_path = public, later, pg_catalog")
        found = again(url, parts)
        with psycopg.connect(url) as connection:
            assert connection.execute("select min(received_at)::text from inbox").fetchone()[0].startswith("2033")
    assert all(one.equal for one in found)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_one_flipped_byte_in_any_message_is_named_before_anything_else(parts):
    listed = json.loads(parts["messages.json"])
    assert len(listed) > 15
    for row in listed:
        name = evidence_export.raw_name(row["number"])
        broken = {**parts, name: flipped(parts[name], len(parts[name]) // 2)}
        with pytest.raises(Broken) as told:
            rebuild.check(broken)
        assert f"message {row['number']} ({row['system']} {row['object']} {row['external_id']}) was changed" in str(
            told.value
        )


def test_a_byte_is_named_too_when_the_manifest_was_made_to_fit(parts):
    row = json.loads(parts["messages.json"])[3]
    name = evidence_export.raw_name(row["number"])
    content = flipped(parts[name], 5)
    digest = hashlib.sha256(content).hexdigest()
    manifest = json.loads(parts["manifest.json"])
    next(one for one in manifest["messages"] if one["number"] == row["number"])["sha256"] = digest
    manifest["parts"][name]["sha256"] = digest
    manifest["whole"] = evidence_export.whole(manifest["parts"])
    with pytest.raises(Broken, match=rf"message {row['number']} .* the ledger recorded at receipt"):
        rebuild.check({**parts, name: content, "manifest.json": canonical(manifest)})


def test_a_flipped_byte_of_the_zip_names_the_message(parts):
    row = json.loads(parts["messages.json"])[0]
    content = rebuild.zipped(parts)
    place = content.index(parts[evidence_export.raw_name(row["number"])])
    with pytest.raises(Broken, match=rf"message {row['number']} \({row['system']} {row['object']}"):
        rebuild.check(rebuild.unzipped(flipped(content, place + 7)))


def with_part(parts, name, content):
    """Return a bundle with another part, and every digest of it made to fit."""
    manifest = json.loads(parts["manifest.json"])
    manifest["parts"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["whole"] = evidence_export.whole(manifest["parts"])
    return {**parts, name: content, "manifest.json": canonical(manifest)}


def test_an_act_this_version_does_not_know_is_refused_by_name(postgres, parts):
    journal = json.loads(parts["journal.json"])
    step = next(one for one in journal if one.get("kind") == "milestone_billing")
    step["kind"] = "moon_billing"
    with fresh(postgres, "rebuilt_moon") as url, pytest.raises(Broken, match="cannot do the act moon_billing mil_"):
        again(url, with_part(parts, "journal.json", canonical(journal)))


def test_an_act_that_is_missing_never_gives_the_same_invoice(postgres, gids, parts):
    """Without the second person's approval the bill is another one: said by line and field, never passed over."""
    journal = json.loads(parts["journal.json"])
    rest = [one for one in journal if one.get("kind") != "adjustment_approved"]
    assert len(rest) == len(journal) - 3
    with fresh(postgres, "rebuilt_alone") as url:
        (found,) = again(url, with_part(parts, "journal.json", canonical(rest)), "A01-DE01-2026-10")
    assert not found.equal
    assert {one.field for one in found.differences} >= {"net", "gross"}


def test_an_act_whose_cause_is_missing_fails_by_name(postgres, parts):
    journal = json.loads(parts["journal.json"])
    rest = [one for one in journal if one.get("kind") != "adjustment_proposed"]
    with (
        fresh(postgres, "rebuilt_alone") as url,
        pytest.raises(Broken, match=r"adjustment_approved 1.*no adjustment 1"),
    ):
        again(url, with_part(parts, "journal.json", canonical(rest)))


def test_a_document_that_no_act_made_is_not_exported_as_if_it_could_be_rebuilt(house, gids):
    invoice = gids["R01-DE01-2026-09"]
    bill = small_firm.bill(house, "R01-DE01-2026-09", number="R-1002", net=2000, tax=380, gross=2380, open=2380)
    small_firm.hear(house, "ledgerly", "bill", bill)
    with house.database.transaction() as tx:
        tx.run("savepoint before")
        made = corrections.credit(tx, house, invoice, by="Ana", reason="behind every act")
        with pytest.raises(Broken, match=r"R01-DE01-2026-09-C1 was made by Ana in no act"):
            rebuild.export(tx, [made])
        tx.run("rollback to savepoint before")


def test_an_act_that_does_not_look_at_one_moment_is_refused(house):
    with pytest.raises(Broken, match="one moment"), house.database.transaction() as tx:
        acts.note(tx, "credit", (), house.edition)
    with house.database.transaction() as tx:
        tx.run("create temp table written (n int) on commit drop")
        with pytest.raises(Broken, match="written before"):
            acts.begin(tx, "credit", (), house.edition)


def test_the_rules_of_the_firm_survive_being_kept_as_text():
    terms = {("A01", "A01-L1"): Terms(name="of A01", payers=(Payer("c1", Decimal("0.3")), Payer("c2", Decimal("0.7"))))}
    plan = Schedule("S01-L1", "percent_complete", date(2026, 8, 1), progress=((date(2026, 8, 20), Fraction(1, 3)),))
    firm = Firm("Small", {}, {}, {}, schedules={"S01-L1": plan}, terms=terms)
    firm = replace(
        firm,
        tax=TaxRules(
            answers={"FR40303265045": Answer(valid=True, checked_on=date(2026, 1, 2))},
            registered_in={"DE01": ("FR", "NL")},
            states={"US01": {"NY": State(presence=True, rate_ppm=88_750), "TX": State()}},
            services={("package", "ADV-TM"): Service(code="saas"), ("contract", "X01"): Service(used_in="AT")},
            withholding=(Withholding("DE01", None, Decimal("0.1"), "net", date(2026, 1, 1)),),
        ),
        prepayments=(Prepayment("X01", "DE01", "A1", date(2026, 1, 1), "EUR", Decimal("59.50"), Decimal("9.50")),),
        duplicates="everywhere",
        labour_blocking=frozenset({"DAILY_MAX", "REST"}),
        entries_per_part=7,
    )
    read = edition.read_firm(edition.firm_text(firm))
    lists = ("transfer_prices", "fx_rates", "list_rates", "prepayments")
    assert replace(read, **{name: tuple(getattr(read, name)) for name in lists}) == firm
    assert edition.firm_text(read) == edition.firm_text(firm)


def test_a_missing_message_is_named(parts):
    row = json.loads(parts["messages.json"])[2]
    rest = {name: content for name, content in parts.items() if name != evidence_export.raw_name(row["number"])}
    with pytest.raises(Broken, match=rf"message {row['number']} .* is missing"):
        rebuild.check(rest)


def test_a_changed_mapping_or_firm_text_is_refused_by_its_digest(parts):
    for name in (name for name in parts if name.startswith("texts/")):
        with pytest.raises(Broken, match="was changed: it does not have the digest"):
            rebuild.check({**parts, name: parts[name] + b" "})


def test_any_other_changed_part_and_any_foreign_one_is_refused(parts):
    with pytest.raises(Broken, match=r"journal\.json was changed"):
        rebuild.check({**parts, "journal.json": parts["journal.json"] + b"\n"})
    with pytest.raises(Broken, match="does not list"):
        rebuild.check({**parts, "more": b""})
    squeezed = io.BytesIO()
    with zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"x" * 100)
    with pytest.raises(Broken, match="compressed"):
        rebuild.unzipped(squeezed.getvalue())


def test_an_invoice_that_was_changed_behind_the_ledger_differs_by_line_and_field(postgres, parts, gids):
    """The exported document says 10.00 more than the raw inputs give, with every digest made to fit."""
    gid = gids["X01-DE01-2026-08"]
    name = f"documents/{gid}.json"
    document = json.loads(parts[name])
    line = document["document"]["lines"][0]
    line["net"] = "9999.00"
    forged = {**parts, name: canonical(document)}
    manifest = json.loads(parts["manifest.json"])
    manifest["parts"][name]["sha256"] = hashlib.sha256(forged[name]).hexdigest()
    manifest["whole"] = evidence_export.whole(manifest["parts"])
    forged["manifest.json"] = canonical(manifest)
    with fresh(postgres, "rebuilt_forged") as url:
        (found,) = again(url, forged, "X01-DE01-2026-08")
    assert not found.equal
    (difference,) = found.differences
    assert (difference.line, difference.field, difference.exported) == (line["key"], "net", "9999.00")


def test_a_database_that_holds_something_is_left_alone(database_url, house, parts):
    with pytest.raises(Broken, match="not empty"):
        again(database_url, parts)


def test_a_bundle_is_written_as_a_folder_or_a_zip_and_read_again(parts, tmp_path):
    for place in (tmp_path / "bundle", tmp_path / "bundle.zip"):
        rebuild.save(parts, place)
        assert rebuild.load(place).parts == parts
    with pytest.raises(Broken, match="there already"):
        rebuild.save(parts, tmp_path / "bundle")


def test_the_command_says_two_for_a_broken_bundle_and_names_the_message(parts, tmp_path):
    row = json.loads(parts["messages.json"])[0]
    name = evidence_export.raw_name(row["number"])
    rebuild.save({**parts, name: flipped(parts[name], 1)}, tmp_path / "broken.zip")
    done = CliRunner().invoke(
        main.app, ["rebuild", "X01-DE01-2026-08", "--from", str(tmp_path / "broken.zip"), "--json"]
    )
    assert done.exit_code == 2
    assert f"message {row['number']} " in json.loads(done.stdout)["error"]


def test_the_api_hands_out_the_bundle_only_to_those_who_may_see_pay(house, gids):
    """Raw bytes cannot have pay taken out: `money:read` alone does not reach."""
    with house.database.transaction() as tx:
        tokens = {
            scopes: access.issue(tx, "auditor", scopes) for scopes in (("money:read",), ("money:read", "cost:read"))
        }
    with app.running(app.create(house)) as base:
        answers = {}
        for scopes, token in tokens.items():
            place = urlsplit(base)
            connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
            path = "/v1/invoices/X01-DE01-2026-08/evidence"
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            answers[scopes] = (answer.status, answer.getheader("content-type"), answer.read())
            connection.close()
    assert answers[("money:read",)][0] == 403
    status, kind, content = answers[("money:read", "cost:read")]
    assert (status, kind) == (200, "application/zip")
    bundle = rebuild.check(rebuild.unzipped(content))
    assert [one["gid"] for one in bundle.manifest["documents"]] == [gids["X01-DE01-2026-08"]]
