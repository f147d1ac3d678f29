"""Every account that a month's journals name is in the mapping and in the simulated chart."""

from trueup.billing import journals
from trueup.connectors.netsuite.opening import ACCOUNTS
from trueup.connectors.sdk import registry

BY_DOCUMENTS_ALONE = {journals.OUTPUT_TAX, journals.RECEIVABLE}
"""Invoices are the ERP's own: no journal of ours books these."""


def test_the_erp_knows_every_account_a_journal_of_ours_can_name():
    text = registry.load("netsuite").mappings["journalEntry.out.yaml"]
    table = next(line for line in text.splitlines() if line.startswith("  accounts:"))
    named = set(journals.ACCOUNTS) - BY_DOCUMENTS_ALONE
    assert {account for account in named if f'"{account}": "{int(account) // 10}"' not in table} == set()
    assert named - {number for number, _, _ in ACCOUNTS} == set()
