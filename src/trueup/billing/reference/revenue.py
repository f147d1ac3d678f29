"""Revenue of one performance obligation, the definition: plain amounts and dates, one promise at a time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from trueup.kernel.money import from_units, round_money, round_units, split, to_units
from trueup.kernel.periods import last_day, month_of

DAY = timedelta(days=1)
ZERO = Decimal(0)


@dataclass(frozen=True)
class Term:
    """A change of what the obligation is worth, from a day on.

    kind  price, separate, prospective, catch_up or variable
    """

    on: date
    kind: str
    amount: Decimal
    service_to: date | None = None


@dataclass(frozen=True)
class Quantity:
    """Something done by a day, or expected in all as believed from a day on; cost, accepted and materials are money."""

    on: date
    measure: str
    quantity: Decimal


@dataclass(frozen=True)
class Promise:
    """One performance obligation with everything known of it. Amounts are in major units of its currency."""

    method: str
    currency: str = "EUR"
    terms: Sequence[Term] = ()
    estimates: Sequence[Quantity] = ()
    performed: Sequence[Quantity] = ()
    credits: Sequence[tuple[date, Decimal]] = ()
    convention: str = "days"
    service_from: date | None = None
    completed_on: date | None = None


@dataclass(frozen=True)
class State:
    """What an obligation has earned by a day. `installed` leaves out materials that only earn their cost."""

    price: Decimal
    done: Decimal
    whole: Decimal | None
    recognised: Decimal
    cost: Decimal
    expected_cost: Decimal | None
    provision: Decimal
    installed: Decimal = field(compare=False, default=ZERO)


def state(promise: Promise, cut: date, known: date | None = None) -> State:
    """Measure an obligation: performance up to `cut`, terms and estimates as known on `known`.

    Each prospective modification ends what was agreed before: what was earned by its eve stays, and the rest of the
    price is earned over the rest of the measure.
    """
    known = known or cut
    base, base_done = ZERO, ZERO
    turns = {term.on for term in promise.terms if term.kind == "prospective" and term.on <= known}
    for turn in sorted(turns):
        reached = _measure(promise, min(cut, turn - DAY), turn - DAY, base, base_done)
        base, base_done = reached.installed, reached.done
    return _measure(promise, cut, known, base, base_done)


def _measure(promise: Promise, cut: date, known: date, base: Decimal, base_done: Decimal) -> State:
    agreed = sum((term.amount for term in promise.terms if term.on <= known), ZERO)
    price = agreed - sum((amount for day, amount in promise.credits if day <= known), ZERO)
    completed = promise.completed_on is not None and promise.completed_on <= cut

    def so_far(measure: str) -> Decimal:
        found = (one.quantity for one in promise.performed if one.measure == measure and one.on <= cut)
        return sum(found, ZERO)

    def expected(measure: str) -> Decimal | None:
        held = [one for one in promise.estimates if one.measure == measure and one.on <= known]
        return max(held, key=lambda one: (one.on, one.quantity)).quantity if held else None

    materials = all_materials = ZERO
    if promise.method in ("cost_to_cost", "hours"):
        materials = so_far("materials")
        all_materials = max(expected("materials") or ZERO, materials)
    done, whole = _progress(promise, cut, known, agreed, completed, so_far, expected)
    done = max(ZERO, min(done, whole)) if whole is not None else ZERO
    rest = price - all_materials - base
    if promise.method == "at_completion":
        installed = price if completed else min(so_far("cost"), price)
    elif whole is not None and whole > base_done:
        installed = base + part(rest, max(ZERO, done - base_done), whole - base_done, promise.currency)
    else:
        installed = base + (rest if whole is not None and whole > 0 else ZERO)
    installed = min(installed, price - all_materials)
    recognised = installed + materials
    cost = so_far("cost") + so_far("materials")
    estimated = expected("cost")
    expected_cost = None if estimated is None else estimated + (expected("materials") or ZERO)
    return State(
        price,
        done,
        whole,
        recognised,
        cost,
        expected_cost,
        provision(price, cost, recognised, expected_cost),
        installed,
    )


def _progress(
    promise: Promise,
    cut: date,
    known: date,
    agreed: Decimal,
    completed: bool,
    so_far: Callable[[str], Decimal],
    expected: Callable[[str], Decimal | None],
) -> tuple[Decimal, Decimal | None]:
    measure = {"cost_to_cost": "cost", "hours": "minutes", "units": "pieces"}.get(promise.method)
    if measure:
        return so_far(measure), expected(measure)
    if promise.method == "milestone":
        return so_far("accepted"), agreed
    if promise.method == "ratable":
        ends = [(term.on, term.service_to) for term in promise.terms if term.on <= known and term.service_to]
        last = max(ends)[1] if ends else None
        if promise.service_from is None or last is None:
            return ZERO, None
        count = half_months if promise.convention == "months" else days
        return Decimal(count(promise.service_from, last, cut)), Decimal(count(promise.service_from, last, last))
    return Decimal(completed), Decimal(1)


def part(amount: Decimal, done: Decimal, whole: Decimal, currency: str) -> Decimal:
    """Return amount x done / whole with the full precision of the ratio, rounded once to the minor unit."""
    scale = 10**8
    top, bottom = int(done * scale), int(whole * scale)
    return from_units(round_units(to_units(amount, currency) * top, bottom, currency), currency)


def days(first: date, last: date, cut: date) -> int:
    """Count the days of service that passed.

    >>> days(date(2026, 2, 10), date(2027, 2, 9), date(2026, 2, 28))
    19
    """
    return max(0, (min(cut, last) - first).days + 1)


def half_months(first: date, last: date, cut: date) -> int:
    """Count the half months of service that passed: a month wholly in it counts two, one it starts or ends inside one.

    >>> half_months(date(2026, 2, 10), date(2027, 2, 9), date(2026, 3, 31))
    3
    """
    halves, month = 0, first.replace(day=1)
    while month <= last:
        end = last_day(month_of(month))
        if cut >= min(end, last):
            inside = 2 - (first > month) - (last < end)
            halves += max(inside, 1)
        month = end + DAY
    return halves


def provision(price: Decimal, cost: Decimal, recognised: Decimal, expected_cost: Decimal | None) -> Decimal:
    """Return the loss that is expected and not yet in the margin; as cost comes it moves there.

    Source    ASC 605-35-25-46; IAS 37.66

    >>> provision(Decimal(100_000), Decimal(48_000), Decimal(40_000), Decimal(120_000))
    Decimal('12000')
    """
    if expected_cost is None:
        return ZERO
    loss = max(expected_cost, cost) - price
    return max(ZERO, loss - (cost - recognised)) if loss > 0 else ZERO


def allocate(price: Decimal, standalone: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Share the price of a contract over its obligations by their standalone selling prices.

    >>> [str(one) for one in allocate(Decimal(300_000), [Decimal(240_000), Decimal(40_000), Decimal(60_000)], "EUR")]
    ['211764.70', '35294.12', '52941.18']
    """
    return split(price, list(standalone), currency)


def rebate(charged: Decimal, expected: Decimal, threshold: Decimal, share: Decimal, currency: str) -> Decimal:
    """Return the part of an expected volume rebate that belongs to the volume so far.

    >>> rebate(Decimal(300_000), Decimal(600_000), Decimal(500_000), Decimal("0.03"), "EUR")
    Decimal('1500.00')
    """
    volume = max(expected, charged)
    above = max(ZERO, volume - threshold)
    if not volume:
        return ZERO
    return from_units(
        round_units(
            int(share * 1_000_000) * to_units(above, currency) * to_units(charged, currency),
            1_000_000 * to_units(volume, currency),
            currency,
        ),
        currency,
    )


def release(advances: Sequence[tuple[Decimal, Decimal]], earned: Decimal, functional_currency: str) -> list[Decimal]:
    """Return what each advance has released, in the entity's currency; the oldest is used first.

    advances  (amount in the contract's currency, the same at the rate of its own day)
    earned    revenue to date in the contract's currency
    """
    released = []
    for amount, functional in advances:
        used = min(max(earned, ZERO), amount)
        released.append(part(functional, used, amount, functional_currency))
        earned -= used
    return released


def at_rate(amount: Decimal, per_unit: Decimal, currency: str) -> Decimal:
    """Convert by a rate quoted as foreign currency for one unit of ours, rounded once."""
    return round_money(amount / per_unit, currency)


@dataclass(frozen=True)
class Books:
    """A contract's standing with its customer, in one legal entity and currency.

    receivable_claim  what is earned and not billed needs only time
    """

    recognised: Decimal = ZERO
    billed: Decimal = ZERO
    tax: Decimal = ZERO
    provision: Decimal = ZERO
    receivable_claim: bool = False


def journal(before: Books, after: Books) -> dict[str, Decimal]:
    """Return what is booked between two standings: account to amount, debits above zero, credits below; adds up to 0."""

    def balances(books: Books) -> dict[str, Decimal]:
        open_value = books.recognised - books.billed
        asset, liability = max(open_value, ZERO), max(-open_value, ZERO)
        return {
            "1100": books.billed + books.tax,
            "1150": asset if books.receivable_claim else ZERO,
            "1160": ZERO if books.receivable_claim else asset,
            "2300": -books.tax,
            "2400": -liability,
            "2500": -books.provision,
            "4000": -books.recognised,
            "5900": books.provision,
        }

    old, new = balances(before), balances(after)
    return {account: new[account] - old[account] for account in new if new[account] != old[account]}


def months(first: date, last: date) -> Iterable[date]:
    """Return the month ends from the first day to the last, the last one cut to it."""
    end = last_day(month_of(first))
    while end < last:
        yield end
        end = last_day(month_of(end + DAY))
    yield last
