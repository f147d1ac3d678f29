"""What a check says of a document: findings, and which checks were made at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    rule        the official rule (BR-CO-15), or ours (EXACT-BT-110, XML-...)
    sentence    what is wrong, for the person who has to correct it
    term        BT or BG of EN 16931 it is about
    where       which line, tax row or place in the file
    stated      the amount as the document says it
    exact       the amount as it comes out to the last digit
    difference  stated less exact
    """

    severity: Severity
    rule: str
    sentence: str
    term: str | None = None
    where: str | None = None
    stated: Decimal | None = None
    exact: Decimal | None = None
    difference: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One check: whether it was made, and with what or why not."""

    name: Literal["reading", "schema", "official rules", "recomputation"]
    made: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """What we think of a document.

    syntax   UBL Invoice, UBL CreditNote, CII; None when it is neither
    carrier  pdf when the invoice was inside a PDF, else xml
    profile  BT-24, as the document says
    """

    readable: bool
    syntax: str | None
    carrier: Literal["xml", "pdf"]
    profile: str | None
    number: str | None
    stages: tuple[Stage, ...]
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Say whether nothing is wrong: it could be read, and no finding is an error."""
        return self.readable and not any(one.severity == "error" for one in self.findings)


def sentences(findings: Sequence[Finding], most: int = 5) -> str:
    """Return the first findings as one text."""
    told = "; ".join(f"{one.rule}: {one.sentence}" for one in findings[:most])
    return told + (f"; and {len(findings) - most} more" if len(findings) > most else "")
