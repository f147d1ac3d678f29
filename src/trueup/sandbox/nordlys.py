"""The fixed facts of the demo firm: its entities, price book, calendar and the words its records are made of."""

from datetime import date
from decimal import Decimal
from typing import Any

Row = dict[str, Any]
"""One record of the firm, JSON-plain: money as a string in major units, dates as ISO days, months as "2026-08"."""

FIRM_NAME = "Nordlys Consulting"
MONTHS = ("2026-08", "2026-09", "2026-10")
MONTH_OF_STAGE = {"august": "2026-08", "september": "2026-09", "october": "2026-10"}
"""The story's stages in which people work a month."""

MONTH_OF_POSTING = {f"{stage}_posted": month for stage, month in MONTH_OF_STAGE.items()}
"""The stages in which accounts receivable posts a month."""

FIRST_DAY = date(2026, 8, 1)
TODAY = date(2026, 10, 31)
RAISE_DAY = date(2026, 10, 1)
CHANGE_ORDER_DAY = date(2026, 9, 15)
LEAVING_DAY = date(2026, 9, 15)

PRACTICES = ("Advisory", "Technology", "Data")
DEPARTMENTS = ("Consulting", "Engineering", "Analytics")
ROLES = ("Partner", "Principal", "Senior Consultant", "Consultant", "Analyst")
LEADING_ROLES = ("Partner", "Principal", "Senior Consultant")

ENTITIES: tuple[Row, ...] = (
    {
        "code": "US01",
        "country": "US",
        "currency": "USD",
        "name": "Nordlys Inc",
        "nexus": ["US", "CA"],
        "letterhead": {
            "street": "410 Harbor View Ave",
            "city": "Boston",
            "post_code": "02110",
            "region": "MA",
            "tax_number": "00-4218805",
            "contact": "Accounts Receivable",
            "phone": "+1 617 555 0142",
            "email": "ar.us@nordlys.example",
        },
    },
    {
        "code": "DE01",
        "country": "DE",
        "currency": "EUR",
        "name": "Nordlys GmbH",
        "nexus": ["DE", "FR", "NL", "AT", "US"],
        "letterhead": {
            "street": "Nordlichtallee 12",
            "city": "Hamburg",
            "post_code": "20095",
            "vat_id": "DE288347563",
            "registration": "HRB 000417",
            "contact": "Debitorenbuchhaltung",
            "phone": "+49 40 5550142",
            "email": "ar.de@nordlys.example",
            "iban": "DE89370400440532013000",
        },
    },
    {
        "code": "UK01",
        "country": "GB",
        "currency": "GBP",
        "name": "Nordlys Ltd",
        "nexus": ["GB", "IE", "US"],
        "letterhead": {
            "street": "7 Aurora Yard",
            "city": "London",
            "post_code": "E1 0AA",
            "vat_id": "GB421880560",
            "registration": "00417042",
            "contact": "Accounts Receivable",
            "phone": "+44 20 7946 0142",
            "email": "ar.uk@nordlys.example",
            "iban": "GB29NWBK60161331926819",
        },
    },
)
CURRENCY_OF = {str(entity["code"]): str(entity["currency"]) for entity in ENTITIES}

_PRICE_BOOK = (
    ("ADV-TM", "Advisory", "time_and_materials", "as_invoiced", ("Assess", "Plan", "Execute", "Close")),
    ("TECH-TM", "Technology", "time_and_materials", "as_invoiced", ("Discovery", "Design", "Delivery", "Handover")),
    ("DATA-FF", "Data", "fixed_fee", "milestone", ("Data model", "Pipelines", "Dashboards", "Handover")),
    ("TECH-FF", "Technology", "fixed_fee", "hours", ("Architecture", "Build", "Test", "Go-live")),
    ("RETAIN", "Advisory", "retainer", "ratable", ("Board work", "Reviews", "Coaching")),
    ("TRAVEL", None, "pass_through", "as_invoiced", ()),  # takes the practice of the project's first line
)
PACKAGES: tuple[Row, ...] = tuple(
    {
        "code": code,
        "practice": practice,
        "billing_method": billing,
        "revenue_method": revenue,
        "phases": list(phases),
    }
    for code, practice, billing, revenue, phases in _PRICE_BOOK
)
METHOD_OF = {code: billing for code, _, billing, _, _ in _PRICE_BOOK}
PRACTICE_OF = {code: practice for code, practice, _, _, _ in _PRICE_BOOK}
PHASES_OF = {code: phases for code, _, _, _, phases in _PRICE_BOOK}
"""Phases of a project, by the package of its first line."""

HEADCOUNT = {  # people per role, in the order of ROLES
    "US01": (1, 2, 5, 5, 3),
    "DE01": (1, 2, 4, 4, 3),
    "UK01": (1, 2, 2, 3, 2),
}
BILL_RATES = {"Partner": 420, "Principal": 340, "Senior Consultant": 265, "Consultant": 205, "Analyst": 150}  # USD/hour
COST_RATES = {"Partner": 160, "Principal": 125, "Senior Consultant": 92, "Consultant": 68, "Analyst": 48}  # USD/hour
USD_PER_UNIT = {
    "USD": Decimal("1"),
    "EUR": Decimal("1.10"),
    "GBP": Decimal("1.25"),
    "CHF": Decimal("1.12"),
    "SEK": Decimal("0.10"),
}
"""What the firm plans with, and what a traveller's card statement used."""

RECEIPT_LIMIT = Decimal("25.00")
"""A billable expense above this, in the employee's currency, needs a receipt."""

SUBJECTS = {
    "time": ("operating model", "cloud migration", "finance transformation", "pricing review", "process redesign"),
    "data": ("data platform", "customer analytics", "reporting factory"),
    "tech": ("ERP rollout", "portal build"),
    "retainer": ("advisory retainer",),
    "travel": ("plant assessment", "store rollout", "site integration", "shop-floor programme"),
    "two_countries": ("global transformation",),
}
MILESTONES = {
    "data": ("Data model agreed", "Pipelines live", "Platform handed over"),
    "tech": ("Design frozen", "Build complete", "Go-live"),
}
NOTES = (
    "Workshop with the client",
    "Preparation of the steering committee",
    "Interviews and notes",
    "Requirements and open points",
    "Review with the client's team",
    "Configuration and testing",
    "Documentation",
    "Status report",
    "Data analysis",
    "Migration rehearsal",
)
MERCHANTS = {  # vendor names, lowest and highest amount
    "Airfare": (("Nordwind Air", "Atlantic Jet"), 180, 900),
    "Hotel": (("Hotel Central", "Station Inn", "Harbour House"), 110, 280),
    "Meals": (("Cafe Mitte", "The Corner Table", "Bistro Nine"), 8, 70),
    "Taxi": (("City Cabs", "Airport Taxi"), 9, 60),
    "Rail": (("Northern Rail", "Intercity Lines"), 20, 150),
}
INDUSTRIES = ("Manufacturing", "Retail", "Banking", "Energy", "Healthcare", "Logistics", "Media", "Public sector")
LEGAL_FORMS = {
    "US": "Inc",
    "CA": "Corp",
    "DE": "GmbH",
    "FR": "SAS",
    "NL": "BV",
    "AT": "GmbH",
    "GB": "plc",
    "IE": "DAC",
    "CH": "AG",
}
REGIONS = {  # ISO 3166-2, without the country
    "US": ("CA", "IL", "NY", "TX", "WA"),
    "CA": ("BC", "ON", "QC"),
    "DE": ("BE", "BY", "HH"),
    "FR": ("ARA", "IDF"),
    "NL": ("NH", "ZH"),
    "AT": ("5", "9"),
    "GB": ("BRS", "LND", "MAN"),
    "IE": ("CO", "D"),
    "CH": ("GE", "ZH"),
}
TAX_IDS = {  # "#" is a digit
    "US": "##-#######",
    "CA": "#########RT0001",
    "DE": "DE#########",
    "FR": "FR###########",
    "NL": "NL#########B01",
    "AT": "ATU########",
    "GB": "GB#########",
    "IE": "IE#######WA",
    "CH": "CHE-###.###.###",
}
CUSTOMER_NAMES = (
    "Aldermoor Foods",
    "Bergwerk Systems",
    "Brightwater Energy",
    "Calder Logistics",
    "Castellan Insurance",
    "Delphine Cosmetics",
    "Eastgate Rail",
    "Fennmark Chemicals",
    "Glasbruck Optics",
    "Harrow Textiles",
    "Ironvale Mining",
    "Juniper Clinics",
    "Kestrel Robotics",
    "Lindqvist Paper",
    "Marrow Street Bank",
    "Northmere Dairy",
    "Oakhollow Media",
    "Pellworm Shipping",
    "Quarrystone Cement",
    "Ravensholt Retail",
    "Silverfen Pharma",
    "Tannhaus Tools",
    "Umbra Lighting",
    "Vellum Publishing",
    "Westerbrook Homes",
    "Yarrow Biotech",
)
FIRST_NAMES = (
    "Ada",
    "Amir",
    "Anna",
    "Ben",
    "Carla",
    "Cem",
    "Chloe",
    "Daniel",
    "Dora",
    "Elena",
    "Emil",
    "Farah",
    "Felix",
    "Freya",
    "Grace",
    "Hannah",
    "Henrik",
    "Ines",
    "Ivan",
    "Jana",
    "Jonas",
    "Julia",
    "Kai",
    "Karim",
    "Lars",
    "Lena",
    "Leo",
    "Lucia",
    "Malik",
    "Maria",
    "Mateo",
    "Mina",
    "Nadia",
    "Nils",
    "Nora",
    "Oscar",
    "Paula",
    "Petra",
    "Priya",
    "Rafael",
    "Rosa",
    "Ruth",
    "Samir",
    "Selma",
    "Simon",
    "Sofia",
    "Tara",
    "Theo",
    "Tom",
    "Vera",
    "Victor",
    "Wanda",
    "Yuki",
    "Zoe",
)
LAST_NAMES = (
    "Abbott",
    "Adler",
    "Almeida",
    "Andersen",
    "Bauer",
    "Bennett",
    "Bianchi",
    "Brandt",
    "Carver",
    "Castro",
    "Cohen",
    "Dahl",
    "Dietrich",
    "Duarte",
    "Eriksen",
    "Fischer",
    "Fletcher",
    "Fontaine",
    "Garcia",
    "Granger",
    "Haas",
    "Hansen",
    "Hartmann",
    "Hughes",
    "Ivers",
    "Jansen",
    "Keller",
    "Kowalski",
    "Kumar",
    "Lange",
    "Larsen",
    "Lopez",
    "Marsh",
    "Meyer",
    "Moreau",
    "Nguyen",
    "Novak",
    "Okafor",
    "Olsen",
    "Park",
    "Petrov",
    "Quinn",
    "Ritter",
    "Rossi",
    "Sato",
    "Schmidt",
    "Silva",
    "Singh",
    "Steiner",
    "Tanaka",
    "Vogel",
    "Walsh",
    "Weber",
    "Young",
)
