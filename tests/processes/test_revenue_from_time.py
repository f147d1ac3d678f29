"""A month end that measures an obligation by what approved time and expenses cost, and sees its loss coming."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

import small_firm
from small_firm import ENTITY, MONTH
from trueup.billing.obligations import Declaration, Declared
from trueup.kernel.money import to_units
from trueup.store import migrate
from trueup.store.database import Database

AUGUST = date(2026, 8, 1)
ADVICE = Declared(
    "ADVICE", "X01-L1", "cost_to_cost", Decimal(12_000), None, "days", None, None, None, from_time=True,
    estimates=((AUGUST, "cost", Decimal(15_500)),),
)  # fmt: skip


@pytest.fixture(scope="module")
def house(database_url):
    """The small firm, whose deal X01 is measured by cost: 675 minutes at 60.00 and a hotel, 775.00 of 15,500.00."""
    migrate.migrate(database_url)
    database = Database(database_url).open()
    built = small_firm.build(database)
    built.firm = replace(built.firm, obligations={"X01": Declaration("X01", AUGUST, None, (ADVICE,))})
    yield small_firm.fill(built)
    for system in built.systems.values():
        system.client.close()
    database.close()


def test_cost_of_approved_time_and_expenses_measures_progress_and_the_loss_is_provided_for(house):
    with house.database.transaction() as tx:
        row = tx.row("select recognised, provision, claim from positions where obligation = 'ADVICE'")
        # 5 % of 12,000.00; the whole loss of 3,500.00 less the 175.00 already in the margin
        assert row == {"recognised": eur("600"), "provision": eur("3325"), "claim": "contract_asset"}
        losses = tx.rows(
            "select account, debit, credit from revenue_postings where account in ('2500', '5900') order by account"
        )
        assert [tuple(row.values()) for row in losses] == [("2500", 0, eur("3325")), ("5900", eur("3325"), 0)]
        code = f"REV-{ENTITY}-{MONTH}"
        sent = tx.value("select body -> 'total_debit' from objects where body ->> 'code' = %s", (code,))
        posted = tx.value("select debit from revenue_journals where journal = %s", (code,))
        assert to_units(Decimal(sent), "EUR") == posted


def eur(amount: str) -> int:
    return to_units(Decimal(amount), "EUR")
