"""The tables tax is decided by: countries, standard rates by date, places, categories on the document, US states.

Every row is a fact of law with its source and the day it begins; a rate that ends is followed by the next one. What
nobody has confirmed for a state is marked `CHECK`: it holds an invoice instead of guessing. Have the tables checked by
a tax adviser before they decide real invoices; a row is changed here or overridden by the workspace, never in code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

EU = frozenset(
    {
        "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE",
        "IT", "LV", "LT", "LU", "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE",
    }
)  # fmt: skip
"""ISO 3166 alpha-2 of the member states of the European Union."""

NO_DATE = date(9999, 12, 31)
"""Stands for a date nobody gave: the newest row of a table applies."""

_ALWAYS = date(2011, 1, 4)

STANDARD_RATES: Mapping[str, tuple[tuple[date, int], ...]] = {
    "AT": ((_ALWAYS, 200_000),),
    "BE": ((_ALWAYS, 210_000),),
    "BG": ((_ALWAYS, 200_000),),
    "CH": ((_ALWAYS, 80_000), (date(2018, 1, 1), 77_000), (date(2024, 1, 1), 81_000)),
    "CY": ((date(2014, 1, 13), 190_000),),
    "CZ": ((date(2013, 1, 1), 210_000),),
    "DE": ((_ALWAYS, 190_000), (date(2020, 7, 1), 160_000), (date(2021, 1, 1), 190_000)),
    "DK": ((_ALWAYS, 250_000),),
    "EE": ((_ALWAYS, 200_000), (date(2024, 1, 1), 220_000), (date(2025, 7, 1), 240_000)),
    "ES": ((date(2012, 9, 1), 210_000),),
    "FI": ((date(2013, 1, 1), 240_000), (date(2024, 9, 1), 255_000)),
    "FR": ((date(2014, 1, 1), 200_000),),
    "GB": ((_ALWAYS, 200_000),),
    "GR": ((date(2016, 6, 1), 240_000),),
    "HR": ((date(2012, 3, 1), 250_000),),
    "HU": ((date(2012, 1, 1), 270_000),),
    "IE": ((date(2012, 1, 1), 230_000), (date(2020, 9, 1), 210_000), (date(2021, 3, 1), 230_000)),
    "IT": ((date(2013, 10, 1), 220_000),),
    "LT": ((_ALWAYS, 210_000),),
    "LU": ((date(2015, 1, 1), 170_000), (date(2023, 1, 1), 160_000), (date(2024, 1, 1), 170_000)),
    "LV": ((date(2012, 7, 1), 210_000),),
    "MT": ((_ALWAYS, 180_000),),
    "NL": ((date(2012, 10, 1), 210_000),),
    "NO": ((_ALWAYS, 250_000),),
    "PL": ((_ALWAYS, 230_000),),
    "PT": ((_ALWAYS, 230_000),),
    "RO": ((date(2017, 1, 1), 190_000), (date(2025, 8, 1), 210_000)),
    "SE": ((_ALWAYS, 250_000),),
    "SI": ((date(2013, 7, 1), 220_000),),
    "SK": ((_ALWAYS, 200_000), (date(2025, 1, 1), 230_000)),
}
"""Country -> (first day, parts per million), by day: the standard rate of value added tax. Source: the European
Commission's list of VAT rates applied in the member states; HMRC VAT rates; Swiss MWSTG art. 25; Norwegian Stortinget's
VAT resolution. Mainland rates: islands and special territories have their own and are not in here."""

PLACE_BOUND: Mapping[str, str] = {
    "land": "art. 47",
    "passenger_transport": "art. 48",
    "event": "art. 53",
    "restaurant": "art. 55",
    "vehicle_hire": "art. 56",
}
"""Service category -> article of the VAT Directive that taxes it where it happens, whoever buys it."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """How an invoice is taxed.

    name      tax code, as the books know it
    rate_ppm  parts per million of the net: 190_000 is 19 %
    reason    the rule, for the reader of the invoice
    """

    name: str
    rate_ppm: int
    reason: str


@dataclass(frozen=True, slots=True)
class TaxHold:
    """Why no treatment can be named.

    sentence  what is missing
    code      hold code
    """

    sentence: str
    code: str = "TAX_UNDETERMINED"


@dataclass(frozen=True, slots=True)
class Category:
    """How a treatment is written on an electronic invoice.

    code         EN 16931 VAT category (UNCL 5305): S, AE, O, G
    reason_code  VATEX code of the exemption, empty where tax is charged
    note         exemption reason for the reader, empty where tax is charged
    sales_list   whether the seller reports it in the EC sales list
    """

    code: str
    reason_code: str
    note: str
    sales_list: bool


CHARGED = Category("S", "", "", sales_list=False)
CATEGORIES: Mapping[str, Category] = {
    "reverse_charge": Category("AE", "VATEX-EU-AE", "Reverse charge", sales_list=True),
    "outside_scope": Category("O", "VATEX-EU-O", "Not subject to VAT", sales_list=False),
    "export": Category("G", "VATEX-EU-G", "Export outside the EU", sales_list=False),
    "disbursement": Category("E", "VATEX-EU-79-C", "Paid in the name of the customer", sales_list=False),
    "domestic_us": Category("O", "VATEX-EU-O", "Not subject to VAT", sales_list=False),
}
"""Treatments without tax. Source: EN 16931-1 BT-118 and BT-121; CEF VATEX code list; rules BR-AE-01..10, BR-O-01..14,
BR-G-01..10; VAT Directive art. 226 (11a) wants the words `Reverse charge`."""

# --- United States ----------------------------------------------------------------------------------------------------

WHOLE = 1_000_000
CHECK = -1
"""A cell nobody has confirmed: with nexus there it holds the invoice."""

SERVICES = ("consulting", "custom_software", "data_processing", "saas", "training")
"""Service codes the matrix knows."""

TAXABLE: Mapping[tuple[str, str], tuple[tuple[date, int], ...]] = {
    # Four states tax services unless they are exempted: HI GET (HRS 237), NM GRT (NMSA 7-9), SD (SDCL 10-45), WV 11-15.
    **{(service, state): ((_ALWAYS, WHOLE),) for service in SERVICES for state in ("HI", "NM", "SD", "WV")},
    # Data processing and hosted software are taxed on 80 % of the price (Texas Tax Code 151.351, 34 TAC 3.330).
    ("data_processing", "TX"): ((_ALWAYS, 800_000),),
    ("saas", "TX"): ((_ALWAYS, 800_000),),
    # Prewritten software used from afar is taxed (20 NYCRR 526.7; TSB-M opinions); information services are enumerated.
    ("saas", "NY"): ((_ALWAYS, WHOLE),),
    ("data_processing", "NY"): ((_ALWAYS, CHECK),),
    ("saas", "PA"): ((_ALWAYS, WHOLE),),
    ("saas", "WA"): ((_ALWAYS, WHOLE),),
    # From 1 October 2025 Washington taxes information technology services and custom software (ESSB 5814).
    ("custom_software", "WA"): ((date(2025, 10, 1), WHOLE),),
    ("consulting", "WA"): ((date(2025, 10, 1), CHECK),),
    ("training", "WA"): ((date(2025, 10, 1), CHECK),),
    # Computer and data processing services are taxed at 1 % for business use (Conn. Gen. Stat. 12-407, 12-408).
    ("data_processing", "CT"): ((_ALWAYS, CHECK),),
    ("saas", "CT"): ((_ALWAYS, CHECK),),
    ("custom_software", "CT"): ((_ALWAYS, CHECK),),
    # Iowa taxes enumerated services and exempts some uses by business (Iowa Code 423.2, 423.3).
    ("saas", "IA"): ((_ALWAYS, CHECK),),
    ("data_processing", "IA"): ((_ALWAYS, CHECK),),
    ("custom_software", "MS"): ((_ALWAYS, CHECK),),
    # Maryland taxes data and information technology services at 3 % from 1 July 2025 (HB 352).
    ("data_processing", "MD"): ((date(2025, 7, 1), CHECK),),
    ("custom_software", "MD"): ((date(2025, 7, 1), CHECK),),
}  # fmt: skip
"""(service code, state) -> (first day, taxed part of the price in ppm or `CHECK`); what is not listed is not taxed.
Source: billing.md S23 (thetaxadviser.com 2020-04, rsmus.com) and the statutes named; states change these often."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """When selling into a state alone makes a seller liable there.

    sales         US dollars of sales in the window
    transactions  number of sales in the window, None where they do not count
    both          whether sales and transactions must both be reached
    window        calendar: this or the last calendar year; rolling: the last twelve months
    valid_from    first day
    """

    sales: int
    transactions: int | None = None
    both: bool = False
    window: str = "calendar"
    valid_from: date = date(2018, 10, 1)


NO_SALES_TAX = frozenset({"DE", "MT", "NH", "OR"})
COMMON = Threshold(100_000)
THRESHOLDS: Mapping[str, tuple[Threshold, ...]] = {
    "AL": (Threshold(250_000),),
    "AR": (Threshold(100_000, 200),),
    "CA": (Threshold(500_000, valid_from=date(2019, 4, 1)),),
    "CT": (Threshold(100_000, 200, both=True, window="rolling", valid_from=date(2019, 7, 1)),),
    "GA": (Threshold(100_000, 200, valid_from=date(2020, 1, 1)),),
    "HI": (Threshold(100_000, 200),),
    "IL": (Threshold(100_000, 200, window="rolling"), Threshold(100_000, window="rolling", valid_from=date(2026, 1, 1))),
    "MS": (Threshold(250_000, window="rolling"),),
    "NY": (Threshold(500_000, 100, both=True, window="rolling"),),
    "TX": (Threshold(500_000, window="rolling", valid_from=date(2019, 10, 1)),),
}  # fmt: skip
"""State -> thresholds by first day; every other state with a sales tax takes `COMMON`. Sales of all kinds are counted,
which is on the safe side where a state counts taxable sales only. Source: Sales Tax Institute, economic nexus state by
state chart (2024-10-09); Avalara, states without transaction thresholds (2025-06)."""
