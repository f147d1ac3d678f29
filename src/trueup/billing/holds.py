"""Why something may not be billed yet: each reason with its sentence, who removes it, and what removes it."""

from dataclasses import dataclass

import polars as pl

from trueup.billing.frames import HOLDS


@dataclass(frozen=True, slots=True)
class Reason:
    """One kind of hold.

    sentence     what is wrong and what to do, for a finance clerk
    owner        who can remove it
    released_by  the fact that removes it
    """

    sentence: str
    owner: str
    released_by: str


REASONS: dict[str, Reason] = {
    "ENTITY_UNMAPPED": Reason(
        "The project or legal entity is not known to billing; map it to one that is.",
        "master data",
        "mapping of the project or entity",
    ),
    "APPROVAL_MISSING": Reason(
        "Not approved in the source system yet; ask the approver.",
        "approver",
        "approval",
    ),
    "CONTRACT_INACTIVE": Reason(
        "No version of the contract is in force; activate or extend it.",
        "sales",
        "active contract",
    ),
    "CREDIT_DUE": Reason(
        "More was billed than the facts now support; issue a credit note.",
        "accounts receivable",
        "credit note",
    ),
    "RATE_MISSING": Reason(
        "No rate is agreed for this role on the day of work; add a rate line.",
        "sales",
        "rate line",
    ),
    "RATE_AMBIGUOUS": Reason(
        "Two rate lines start on the same day for this role; end one of them.",
        "sales",
        "one rate line",
    ),
    "RECEIPT_MISSING": Reason(
        "Above the receipt limit and no receipt is attached; attach it.",
        "employee",
        "receipt",
    ),
    "SIGNOFF_MISSING": Reason(
        "Completed, but the client has not signed; get the acceptance.",
        "project manager",
        "sign-off",
    ),
    "CAP_EXCEEDED": Reason(
        "Above what the contract lets us bill in total; agree a change order or write it off.",
        "project manager",
        "change order",
    ),
    "CURRENCY_MISMATCH": Reason(
        "The line's currency is not the legal entity's currency; correct the line.",
        "sales",
        "corrected line",
    ),
    "PACKAGE_UNKNOWN": Reason(
        "The package is not in the price book; add it or choose another.",
        "sales",
        "corrected line or price book",
    ),
    "METHOD_NOT_ALLOWED": Reason(
        "The price book does not sell the package this way; choose another billing method.",
        "sales",
        "corrected line",
    ),
    "BRAKE": Reason(
        "The invoice is outside the bounds of your firm; look at it, and release it with a reason when it is right.",
        "controller",
        "release with a reason",
    ),
    "TAX_UNDETERMINED": Reason(
        "The tax treatment cannot be decided; complete the customer's country and VAT id.",
        "master data",
        "country and VAT id of the customer",
    ),
}
"""Every hold billing raises, in the order in which the first one is named on a charge. The tax hold is last on purpose:
a charge that names it has no other hold, and is earned although it may not be billed."""


def codes(*reasons: pl.Expr) -> pl.Expr:
    """Collect hold codes of a row, nulls left out; list[str].

    reasons  each text: a hold code where the reason applies, null where not; given in the order of `REASONS`
    """
    return pl.concat_list(*reasons).list.drop_nulls()


def when(condition: pl.Expr, code: str) -> pl.Expr:
    """Return the hold code where the condition is true, null elsewhere."""
    return pl.when(condition).then(pl.lit(code))


def listed(parts: pl.DataFrame) -> pl.DataFrame:
    """List the reasons of held parts, one row per fact and reason.

    parts    fact str, kind str, project str, contract str, service_on date, currency str|null, amount i64 units,
             minutes i64|null, hold_codes list[str]
    Returns  `HOLDS`; a fact held in two parts for one reason has one row with both added up
    """
    sentences = pl.DataFrame({"code": list(REASONS), "sentence": [reason.sentence for reason in REASONS.values()]})
    return HOLDS.write(
        parts.filter(pl.col("hold_codes").list.len() > 0)
        .explode("hold_codes")
        .group_by(pl.col("fact").alias("scope"), pl.col("hold_codes").alias("code"))
        .agg(
            pl.col("kind").min(),
            pl.col("project").first(),
            pl.col("contract").first(),
            pl.col("service_on").first(),
            pl.col("currency").first(),
            pl.col("amount").sum(),
            pl.col("minutes").sum(),
        )
        .join(sentences, on="code", how="left")
        .sort("scope", "code")
    )
