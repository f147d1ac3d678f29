"""The firm's facts with the look-ups and the rules that need nothing but them (R1, R3, R9, R10, R13)."""

from collections import defaultdict
from decimal import Decimal

from trueup.sandbox.oracle.arithmetic import ZERO, Facts, Json, cents, in_force

EUROPEAN_UNION = frozenset({  # ISO 3166-1 codes of the member states
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU",
    "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
})  # fmt: skip
DOMESTIC_TAX = {"DE": Decimal("0.19"), "GB": Decimal("0.20"), "US": Decimal("0.00")}


class Firm:
    """The firm's facts with the few look-ups the rules need."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.entities: dict[str, Json] = {one["code"]: one for one in facts["entities"]}
        self.packages: dict[str, Json] = {one["code"]: one for one in facts["packages"]}
        self.people: dict[str, Json] = {one["key"]: one for one in facts["people"]}
        self.customers: dict[str, Json] = {one["key"]: one for one in facts["customers"]}
        self.deals: dict[str, Json] = {one["code"]: one for one in facts["deals"]}
        self.projects: dict[str, Json] = {one["code"]: one for one in facts["projects"]}
        self.time: dict[str, list[Json]] = defaultdict(list)
        self.expenses: dict[str, list[Json]] = defaultdict(list)
        for entry in sorted(facts["time"], key=lambda one: (one["date"], one["key"])):
            self.time[entry["project"]].append(entry)
        for expense in sorted(facts["expenses"], key=lambda one: (one["date"], one["key"])):
            self.expenses[expense["project"]].append(expense)

    def lines(self, project: Facts) -> list[Json]:
        """Return the contract lines a project works under: its deal's lines for its legal entity."""
        deal = self.deals[project["deal"]]
        return sorted((x for x in deal["lines"] if x["legal_entity"] == project["entity"]), key=lambda x: str(x["key"]))

    def labour_line(self, project: Facts) -> Json:
        """Return the line that pays for the project's work."""
        return next(line for line in self.lines(project) if line["billing_method"] != "pass_through")

    def travel_line(self, project: Facts) -> Json | None:
        """Return the line that pays for the project's expenses, if there is one."""
        return next((line for line in self.lines(project) if line["billing_method"] == "pass_through"), None)

    def milestones(self, project: Facts) -> list[Json]:
        """Return the milestones of the project's lines in order."""
        keys = {line["key"] for line in self.lines(project)}
        own = (one for one in self.deals[project["deal"]]["milestones"] if one["line_key"] in keys)
        return sorted(own, key=lambda one: (one["sequence"], one["key"]))

    def bill_to(self, project: Facts) -> Json:
        """Return the customer who is invoiced for the project."""
        return self.customers[self.labour_line(project)["bill_to"]]

    def change_orders(self, line: Facts, deal: str, day: str) -> list[Json]:
        """Return the lines that valid change orders won up to the day add to a line: same method, same entity."""
        return [
            added
            for order in self.deals.values()
            if order["amends"] == deal
            and order["stage"] == "won"
            and order["won_on"] <= day
            and not refusal(self, order)
            for added in order["lines"]
            if (added["billing_method"], added["legal_entity"]) == (line["billing_method"], line["legal_entity"])
        ]

    def cap(self, line: Facts, deal: str, day: str) -> Decimal | None:
        """R3: the line's cap and what won change orders added to it; None when there is none."""
        if line["cap"] is None:
            return None
        added = (Decimal(one["cap"]) for one in self.change_orders(line, deal, day) if one["cap"] is not None)
        return Decimal(line["cap"]) + sum(added, ZERO)

    def bill_rate(self, project: Facts, entry: Facts) -> Decimal | None:
        """R1: the contract's rate for the entry's role on the day worked, in the project's currency."""
        rates = self.deals[project["deal"]]["rates"]
        same = [one for one in rates if one["role"] == entry["role"] and one["currency"] == project["currency"]]
        rate = in_force(same, entry["date"])
        return None if rate is None else Decimal(rate["rate"])

    def labour_cost(self, entry: Facts) -> Decimal:
        """R13: minutes at the person's cost rate on the day worked."""
        rate = in_force(self.people[entry["person"]]["cost_rates"], entry["date"])
        if rate is None:
            raise ValueError(f"{entry['person']} has no cost rate on {entry['date']}")
        return cents(entry["minutes"] * Decimal(rate["amount"]) / 60)


def tax_treatment(seller: str, buyer: Facts) -> tuple[str, Decimal] | None:
    """R9: the treatment and its rate, or None when it cannot be determined."""
    country = buyer["country"]
    if seller == country:
        return f"domestic_{seller.lower()}", DOMESTIC_TAX[seller]
    if seller == "DE" and country in EUROPEAN_UNION:
        return ("reverse_charge", ZERO) if buyer["tax_id"] else None
    return "outside_scope", ZERO


def refusal(firm: Firm, deal: Facts) -> str | None:
    """R10: the reason why a won deal may not become a project, or None."""
    for line in deal["lines"]:
        package = firm.packages.get(line["package"])
        if package is None or package["billing_method"] != line["billing_method"]:
            return "PACKAGE_UNKNOWN"
        entity = firm.entities.get(line["legal_entity"])
        if entity is None:
            return "ENTITY_UNMAPPED"
        if firm.customers[line["bill_to"]]["country"] not in entity["nexus"]:
            return "TAX_UNDETERMINED"
        if line["currency"] != entity["currency"]:
            return "CURRENCY_MISMATCH"
    return None
