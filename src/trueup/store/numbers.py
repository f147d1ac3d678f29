"""Document numbers: one series for each legal entity, type and fiscal year, without gaps, in order of their dates.

A number is given in the transaction that posts the document, under a row lock of its series: when that transaction is
rolled back, the number is free again. A number that was given stays: a document is voided by a credit note.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from trueup.kernel.errors import Held
from trueup.kernel.periods import fiscal_year
from trueup.store.database import Tx

PREFIXES: Mapping[str, str] = {"invoice": "{entity}-{year}-", "credit": "{entity}-CN-{year}-"}
"""Document type -> what stands before the ordinal, when the entity's file says nothing else."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """How one legal entity numbers its documents.

    prefixes     document type -> pattern with {entity} and {year}
    digits       the ordinal is written with at least this many
    year_starts  month in which its fiscal years begin
    """

    legal_entity: str
    prefixes: Mapping[str, str] = field(default_factory=lambda: dict(PREFIXES))
    digits: int = 6
    year_starts: int = 1

    def prefix(self, document_type: str, year: int) -> str:
        """Return what stands before the ordinal in a fiscal year."""
        return self.prefixes[document_type].format(entity=self.legal_entity, year=year)


@dataclass(frozen=True, slots=True)
class Series:
    """One series, and whether it is whole.

    owner    hub: we gave the numbers; erp: the ERP did, and we looked at those we hold
    missing  ordinals between the first and the last that no document has, the first hundred
    late     numbers dated before the one before them
    """

    owner: str
    legal_entity: str
    document_type: str
    fiscal_year: int | None
    prefix: str
    count: int
    first: str
    last: str
    last_day: date | None
    missing: tuple[int, ...]
    late: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Say whether no number is missing and the dates never step back."""
        return not self.missing and not self.late


def assign(tx: Tx, numbering: Numbering, document_type: str, day: date, document: str) -> str:
    """Return the number of a document, the next of its series; the same document keeps the one it has.

    Everybody who posts into the same series waits here until the other has posted or given up.

    numbering      the legal entity's own
    document_type  invoice or credit
    day            date of the document; never before the last one in the series
    document       identifier of the document

    Raises    Held NUMBER_DATE when the series has a later date already.
    """
    year = fiscal_year(day, numbering.year_starts)
    prefix = numbering.prefix(document_type, year)
    key: dict[str, Any] = {
        "entity": numbering.legal_entity,
        "type": document_type,
        "year": year,
        "prefix": prefix,
    }
    tx.run(
        """
        insert into number_series (legal_entity, document_type, fiscal_year, prefix)
        values (%(entity)s, %(type)s, %(year)s, %(prefix)s) on conflict do nothing
        """,
        key,
    )
    series = tx.row(
        """
        select last_ordinal, last_day from number_series
        where legal_entity = %(entity)s and document_type = %(type)s and fiscal_year = %(year)s and prefix = %(prefix)s
        for update
        """,
        key,
    )
    assert series is not None
    # Asked under the lock: two that post the same document meet here, and the second finds the first one's number.
    known = of_document(tx, document)
    if known is not None:
        return known
    if series["last_day"] is not None and day < series["last_day"]:
        raise Held(
            f"{prefix.rstrip('-/ ')} has a document of {series['last_day']} already; one of {day} would break "
            f"the order of the dates. Give it the date {series['last_day']} or a later one",
            "NUMBER_DATE",
        )
    ordinal = series["last_ordinal"] + 1
    number = f"{prefix}{ordinal:0{numbering.digits}d}"
    tx.run(
        """
        insert into document_numbers (number, legal_entity, document_type, fiscal_year, prefix, ordinal, day, document)
        values (%(number)s, %(entity)s, %(type)s, %(year)s, %(prefix)s, %(ordinal)s, %(day)s, %(document)s)
        """,
        {**key, "number": number, "ordinal": ordinal, "day": day, "document": document},
    )
    tx.run(
        """
        update number_series set last_ordinal = %(ordinal)s, last_day = %(day)s
        where legal_entity = %(entity)s and document_type = %(type)s and fiscal_year = %(year)s and prefix = %(prefix)s
        """,
        {**key, "ordinal": ordinal, "day": day},
    )
    return number


def of_document(tx: Tx, document: str) -> str | None:
    """Return the number we gave a document, or None."""
    return tx.text("select number from document_numbers where document = %s", (document,))


def report(tx: Tx, entity: str | None = None) -> tuple[Series, ...]:
    """Return every series with its gaps: those we number, and what we hold of those the ERP numbers.

    entity  only this legal entity
    """
    return (*_ours(tx, entity), *_theirs(tx, entity))


def _ours(tx: Tx, entity: str | None) -> list[Series]:
    """Look for gaps in the numbers themselves, not in the counter that should have prevented them."""
    rows = tx.rows(
        """
        select s.legal_entity, s.document_type, s.fiscal_year, s.prefix, s.last_ordinal, s.last_day,
            count(d.number) as count, min(d.number) filter (where d.ordinal = 1) as first,
            coalesce((select n.number from document_numbers n where n.legal_entity = s.legal_entity
                and n.document_type = s.document_type and n.fiscal_year = s.fiscal_year and n.prefix = s.prefix
                order by n.ordinal desc limit 1), '') as last,
            array(select g from generate_series(1, s.last_ordinal) g where not exists (
                select from document_numbers n where n.legal_entity = s.legal_entity
                    and n.document_type = s.document_type and n.fiscal_year = s.fiscal_year and n.prefix = s.prefix
                    and n.ordinal = g) order by g limit 100) as missing,
            array(select n.number from document_numbers n join document_numbers p
                on (p.legal_entity, p.document_type, p.fiscal_year, p.prefix)
                    = (n.legal_entity, n.document_type, n.fiscal_year, n.prefix) and p.ordinal = n.ordinal - 1
                where (n.legal_entity, n.document_type, n.fiscal_year, n.prefix)
                    = (s.legal_entity, s.document_type, s.fiscal_year, s.prefix) and n.day < p.day
                order by n.ordinal limit 100) as late
        from number_series s left join document_numbers d on (d.legal_entity, d.document_type, d.fiscal_year, d.prefix)
            = (s.legal_entity, s.document_type, s.fiscal_year, s.prefix)
        where %(entity)s::text is null or s.legal_entity = %(entity)s
        group by s.legal_entity, s.document_type, s.fiscal_year, s.prefix, s.last_ordinal, s.last_day
        order by s.legal_entity, s.document_type, s.fiscal_year, s.prefix
        """,
        {"entity": entity},
    )
    return [
        Series(
            "hub",
            row["legal_entity"],
            row["document_type"],
            row["fiscal_year"],
            row["prefix"],
            row["count"],
            row["first"] or "",
            row["last"],
            row["last_day"],
            tuple(row["missing"]),
            tuple(row["late"]),
        )
        for row in rows
    ]


def _theirs(tx: Tx, entity: str | None) -> list[Series]:
    """Read the ERP's own numbers as series: what stands before the last digits is the prefix."""
    rows = tx.rows(
        r"""
        with given as (
            select coalesce(o.body ->> 'legal_entity', '') as legal_entity, o.body ->> 'invoice_type' as document_type,
                o.body ->> 'number' as number, regexp_replace(o.body ->> 'number', '[0-9]+$', '') as prefix,
                substring(o.body ->> 'number' from '([0-9]{1,15})$')::bigint as ordinal,
                (coalesce(o.body ->> 'posted_on', o.body ->> 'invoice_date'))::date as day
            from objects o
            where o.kind = 'invoice' and o.tombstone is null and o.body ->> 'number' ~ '[0-9]{1,15}$'
                and not exists (select from document_numbers d where d.document = o.gid)
                and (%(entity)s::text is null or o.body ->> 'legal_entity' = %(entity)s))
        select legal_entity, document_type, prefix, count(*) as count, min(ordinal) as low, max(ordinal) as high,
            (array_agg(number order by ordinal))[1] as first, (array_agg(number order by ordinal desc))[1] as last,
            max(day) as last_day, array_agg(distinct ordinal) as ordinals
        from given group by legal_entity, document_type, prefix order by legal_entity, document_type, prefix
        """,
        {"entity": entity},
    )
    return [
        Series(
            "erp",
            row["legal_entity"],
            row["document_type"],
            None,
            row["prefix"],
            row["count"],
            row["first"],
            row["last"],
            row["last_day"],
            _missing(row["low"], row["high"], frozenset(row["ordinals"])),
            (),
        )
        for row in rows
    ]


def _missing(low: int, high: int, known: frozenset[int], most: int = 100) -> tuple[int, ...]:
    """Return the first ordinals between two that are not known; stops as soon as there are enough."""
    found: list[int] = []
    for one in range(low, high + 1):
        if len(found) == most:
            break
        if one not in known:
            found.append(one)
    return tuple(found)


def as_row(series: Series) -> dict[str, Any]:
    """Return a series as a JSON-plain row, with whether it is whole."""
    names = ("owner", "legal_entity", "document_type", "fiscal_year", "prefix", "count", "first", "last")
    return {
        **{name: getattr(series, name) for name in names},
        "last_day": series.last_day.isoformat() if series.last_day else None,
        "missing": list(series.missing),
        "late": list(series.late),
        "whole": series.whole,
    }
