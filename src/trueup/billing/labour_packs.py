"""Labour rules by jurisdiction and day, as data: limits, what they are called, how serious a breach is.

Source: Directive 2003/88/EC arts 3-8; ArbZG 3-5, 9; Working Time Regulations 1998 (UK) regs 4, 10-12; Fair Labor
Standards Act 29 USC 207; California Labor Code 510, 512. Have a pack checked before it blocks anything.
"""

from dataclasses import dataclass
from datetime import date

SEVERITIES = ("info", "warn", "block_approval", "block_payroll")


@dataclass(frozen=True, slots=True)
class Pack:
    """Limits of one jurisdiction from a day on; None does not limit. Hours are given in minutes.

    name             for the reader
    countries        ISO 3166 alpha-2 it is for; empty: every country
    region           part of the country, None: all of it
    valid_from       first day; an entry is judged by every pack of its place that is valid on its day
    daily_max        most work of a day
    weekly_average   most work of a week on average over `weeks`, overtime included
    weeks            reference period that ends with the week
    weekly_overtime  work of a week above which hours are paid more
    rest             least rest between two days of work
    break_after      work without a break is allowed up to here
    night_max        most work of a day of which a part lies between 23:00 and 06:00
    days_in_a_row    most days of work without a day of rest
    severities       check -> severity where it is not `warn`
    """

    name: str
    countries: tuple[str, ...] = ()
    region: str | None = None
    valid_from: date = date(2003, 1, 1)
    daily_max: int | None = None
    weekly_average: int | None = None
    weeks: int = 17
    weekly_overtime: int | None = None
    rest: int | None = None
    break_after: int | None = None
    night_max: int | None = None
    days_in_a_row: int | None = None
    severities: tuple[tuple[str, str], ...] = ()

    def severity(self, check: str) -> str:
        """Return how serious a breach of a check is."""
        return dict(self.severities).get(check, "warn")


_EU = (
    "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT", "LU", "MT",
    "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE",
)  # fmt: skip

FLOOR = Pack(
    "every country",
    severities=(
        ("OVER_24H", "block_approval"), ("FUTURE", "block_approval"), ("LOCKED_PERIOD", "block_approval"),
        ("NOT_EMPLOYED", "block_payroll"), ("HOLIDAY", "info"),
    ),
)  # fmt: skip
"""What is wrong everywhere: more than a day in a day, overlap, the future, a locked period, a holiday, leave."""

PACKS: tuple[Pack, ...] = (
    FLOOR,
    Pack("European Union", _EU, weekly_average=2880, rest=660, break_after=360, night_max=480, days_in_a_row=12),
    Pack("Germany, ArbZG", ("DE",), daily_max=600, break_after=360, severities=(("DAILY_MAX", "block_approval"),)),
    Pack("United Kingdom, WTR", ("GB",), weekly_average=2880, rest=660, break_after=360, night_max=480,
         days_in_a_row=12),
    Pack("United States, FLSA", ("US",), weekly_overtime=2400, severities=(("OVERTIME_WEEK", "info"),)),
    Pack("California", ("US",), "CA", daily_max=720, break_after=300, days_in_a_row=6,
         severities=(("DAILY_MAX", "info"),)),
)  # fmt: skip
