"""The same rows as a file a spreadsheet opens: one line each, exact figures, nothing that could run."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from fastapi.responses import Response

from trueup.entrypoints.web.rendering import HEADERS
from trueup.reporting.amounts import Amount

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins like this is a formula to a spreadsheet (OWASP, "CSV injection")."""


def spreadsheet(name: str, rows: Sequence[Any], leave_out: Iterable[str] = ()) -> Response:
    """Return frozen rows as a CSV file: a column for each field, an amount as figure and currency.

    leave_out  fields nobody wants in a spreadsheet
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    if rows:
        skip = frozenset(leave_out)
        names = [field.name for field in fields(rows[0]) if field.name not in skip]
        writer.writerow(names)
        writer.writerows([cell(getattr(row, one)) for one in names] for row in rows)
    headers = dict(HEADERS) | {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response("\ufeff" + out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def cell(value: Any) -> str:
    """Write one value so that a spreadsheet takes it as what it is.

    >>> cell(Amount(Decimal("-12.50"), "EUR")), cell("=1+1"), cell(Decimal("-3.10"))
    ('-12.50 EUR', "'=1+1", '-3.10')
    """
    if value is None:
        return ""
    if isinstance(value, Amount):
        return f"{value.amount:f} {value.currency}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int | datetime | date):
        return value.isoformat() if isinstance(value, datetime | date) else str(value)
    if isinstance(value, tuple | list):
        return "; ".join(cell(one) for one in value)
    if isinstance(value, dict):
        return "; ".join(f"{name} {cell(one)}" for name, one in value.items())
    text = str(value)
    return f"'{text}" if text.startswith(DANGEROUS) else text
