"""What administrators have set up in the simulated account before anybody connects: lists, periods, dimensions."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from trueup.connectors.sdk.simulate import Row
from trueup.kernel.periods import last_day

CURRENCIES: Final = (("1", "USD", "US Dollar"), ("2", "EUR", "Euro"), ("3", "GBP", "British Pound"))
FIRST_OTHER_CURRENCY: Final = 4
ITEMS: Final = (("1", "TIME"), ("2", "EXPENSE"), ("3", "FEE"), ("4", "MILESTONE"))
ACCOUNTS: Final = (
    ("1000", "Checking", "Bank"),
    ("1100", "Accounts Receivable", "AcctRec"),
    ("1150", "Unbilled Receivable", "UnbilledRec"),
    ("1160", "Contract Asset", "OthCurrAsset"),
    ("2200", "VAT Payable", "OthCurrLiab"),
    ("2400", "Deferred Revenue", "DeferRevenue"),
    ("2500", "Provision for Losses", "OthCurrLiab"),
    ("4000", "Consulting Revenue", "Income"),
    ("5000", "Cost of Delivery", "COGS"),
    ("5090", "Labour Cost Applied", "COGS"),
    ("5900", "Losses on Contracts", "COGS"),
)
"""Number, name and type; the internal id is the number without its last digit: 1100 has the id 110."""
TAX_CODES: Final = (
    ("1", "domestic_us", "Services not taxed", "0"),
    ("2", "domestic_de", "VAT DE 19 %", "19"),
    ("3", "domestic_gb", "VAT GB 20 %", "20"),
    ("4", "reverse_charge", "Reverse charge", "0"),
    ("5", "outside_scope", "Outside the scope", "0"),
)
TERM_DAYS: Final = (30, 45, 60, 14, 90)
YEARS: Final = (2025, 2026, 2027)

Put = Callable[[str, str, Row], None]
"""(record type, id, row)."""


def lay_out(firm: Mapping[str, Any], put: Put) -> None:
    """Put the lists of an account.

    firm  entities [{code, name, country, currency}] and departments [name] as the demo firm has them;
          optional items, accounts, tax_codes as the tuples above
    """
    entities: Sequence[Mapping[str, Any]] = firm["entities"]
    symbols = {symbol: id for id, symbol, _ in CURRENCIES}
    for entity in entities:
        symbols.setdefault(str(entity["currency"]), str(FIRST_OTHER_CURRENCY + len(symbols) - len(CURRENCIES)))
    names = {symbol: name for _, symbol, name in CURRENCIES}
    for symbol, id in symbols.items():
        name = names.get(symbol, symbol)
        put("currency", id, {"name": name, "symbol": symbol, "currencyPrecision": 2})
    for number, entity in enumerate(entities, start=1):
        row = {"name": f"{firm.get('name', 'Firm')} : {entity['name']}", "legalName": entity["name"]}
        row |= {"country": entity["country"], "tranPrefix": entity["code"], "currency": symbols[entity["currency"]]}
        put("subsidiary", str(number), row)
    for number, name in enumerate(firm.get("departments", ()), start=1):
        put("department", str(number), {"name": name})
    for id, name in firm.get("items", ITEMS):
        put("serviceSaleItem", id, {"itemId": name, "displayName": name.capitalize()})
    for account, name, kind in firm.get("accounts", ACCOUNTS):
        put("account", str(int(account) // 10), {"acctNumber": account, "acctName": name, "acctType": kind})
    for id, code, text, rate in firm.get("tax_codes", TAX_CODES):
        put("salesTaxItem", id, {"itemId": code, "description": text, "rate": rate})
    for number, days in enumerate(TERM_DAYS, start=1):
        put("term", str(number), {"name": f"Net {days}", "daysUntilNetDue": days})
    for year in YEARS:
        for month in range(1, 13):
            first = date(year, month, 1)
            end = last_day(f"{year}-{month:02d}").isoformat()
            name = f"{_MONTHS[month - 1]} {year}"
            row = {"periodName": name, "startDate": first.isoformat(), "endDate": end}
            put("accountingPeriod", f"{year}{month:02d}", row | {"closed": False, "isPosting": True, "_closed_for": []})


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
