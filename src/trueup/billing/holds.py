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
    ages_into    what it counts as once it has waited too long
    """

    sentence: str
    owner: str
    released_by: str
    ages_into: str


REASONS: dict[str, Reason] = {
    "ENTITY_UNMAPPED": Reason(
        "The project or legal entity is not known to billing; map it to one that is.",
        "master data",
        "mapping of the project or entity",
        "master data",
    ),
    "APPROVAL_MISSING": Reason(
        "Not approved in the source system yet; ask the approver.",
        "approver",
        "approval",
        "approval bottleneck",
    ),
    "CONTRACT_INACTIVE": Reason(
        "No version of the contract is in force; activate or extend it.",
        "sales",
        "active contract",
        "sales",
    ),
    "CREDIT_DUE": Reason(
        "More was billed than the facts now support; issue a credit note.",
        "accounts receivable",
        "credit note",
        "finance",
    ),
    "RATE_MISSING": Reason(
        "No rate is agreed for this role on the day of work; add a rate line.",
        "sales",
        "rate line",
        "leakage",
    ),
    "RATE_AMBIGUOUS": Reason(
        "Two rate lines start on the same day for this role; end one of them.",
        "sales",
        "one rate line",
        "leakage",
    ),
    "FX_RATE_MISSING": Reason(
        "No exchange rate is published on or before the day; enter one with its source.",
        "finance",
        "exchange rate",
        "finance",
    ),
    "RECEIPT_MISSING": Reason(
        "Above the receipt limit and no receipt is attached; attach it.",
        "employee",
        "receipt",
        "employee",
    ),
    "POLICY_BREACH": Reason(
        "Above what the expense policy allows; waive it or bill less.",
        "approver",
        "waiver",
        "employee",
    ),
    "SIGNOFF_MISSING": Reason(
        "Completed, but the client has not signed; get the acceptance.",
        "project manager",
        "sign-off",
        "delivery",
    ),
    "CHANGE_ORDER_PENDING": Reason(
        "Work outside the agreed scope; get the change order approved.",
        "sales",
        "approved change order",
        "sales",
    ),
    "LABOUR_CHECK": Reason(
        "A labour rule that blocks billing is broken; correct the entry or waive the rule.",
        "human resources",
        "waiver",
        "human resources",
    ),
    "DUPLICATE_SUSPECT": Reason(
        "Two systems report the same work; say which entry counts.",
        "project manager",
        "decision of a person",
        "data quality",
    ),
    "CREDIT_HOLD": Reason(
        "The books have blocked the customer; collect what is due or lift the block.",
        "accounts receivable",
        "lifted block",
        "collections",
    ),
    "PERIOD_CLOSED": Reason(
        "The month of the work is closed and late work is not moved on; reopen it or agree to move it.",
        "finance",
        "open period",
        "finance",
    ),
    "MANUAL": Reason(
        "A person has stopped this; ask the one who did.",
        "whoever placed it",
        "the same role",
        "owner",
    ),
    "PO_MISSING": Reason(
        "The client wants a purchase order and none is entered; get one.",
        "project manager",
        "purchase order",
        "client",
    ),
    "PO_EXPIRED": Reason(
        "No purchase order is valid on the day of work; get it extended.",
        "project manager",
        "purchase order",
        "client",
    ),
    "PO_EXHAUSTED": Reason(
        "The purchase orders are used up; get another or a higher one.",
        "project manager",
        "purchase order",
        "client",
    ),
    "CAP_EXCEEDED": Reason(
        "Above what the contract lets us bill in total; agree a change order or write it off.",
        "project manager",
        "change order",
        "scope",
    ),
    "CAP_DAILY": Reason(
        "Above what a day may be billed; it waits for a change order or is written off.",
        "project manager",
        "change order",
        "scope",
    ),
    "BUDGET_EXCEEDED": Reason(
        "Above the budget of the work; agree a change order or write it off.",
        "project manager",
        "change order",
        "scope",
    ),
    "CURRENCY_MISMATCH": Reason(
        "The line's currency is not the legal entity's currency; correct the line.",
        "sales",
        "corrected line",
        "master data",
    ),
    "PACKAGE_UNKNOWN": Reason(
        "The package is not in the price book; add it or choose another.",
        "sales",
        "corrected line or price book",
        "sales",
    ),
    "METHOD_NOT_ALLOWED": Reason(
        "The price book does not sell the package this way; choose another billing method.",
        "sales",
        "corrected line",
        "sales",
    ),
    "BRAKE": Reason(
        "The invoice is outside the bounds of your firm; look at it, and release it with a reason when it is right.",
        "controller",
        "release with a reason",
        "finance",
    ),
    "VAT_ID_INVALID": Reason(
        "The customer's VAT id is not valid; correct it.",
        "master data",
        "valid VAT id",
        "master data",
    ),
    "TAX_UNDETERMINED": Reason(
        "The tax treatment cannot be decided; complete the customer's country and VAT id.",
        "master data",
        "country and VAT id of the customer",
        "master data",
    ),
}
"""Every hold billing raises, in the order in which the first one is named on a charge. The tax holds are last on purpose:
a charge that names one has no other hold, and is earned although it may not be billed."""

TAX = ("VAT_ID_INVALID", "TAX_UNDETERMINED")
"""What only the tax treatment lacks."""


def codes(*reasons: pl.Expr) -> pl.Expr:
    """Collect hold codes of a row, nulls left out; list[str].

    reasons  each text: a hold code where the reason applies, null where not; given in the order of `REASONS`
    """
    return pl.concat_list(*reasons).list.drop_nulls()


def with_more(parts: pl.DataFrame, more: pl.Expr) -> pl.DataFrame:
    """Add further reasons to those of a part, each once and in the order of `REASONS`.

    parts    hold_codes list[str], bucket str
    more     list[str] or null, without nulls inside; a part that waits for approval keeps that as its only reason
    """
    places = pl.Enum(list(REASONS))
    both = pl.concat_list("hold_codes", more.fill_null([]))
    ordered = (
        both.list.eval(pl.element().cast(places)).list.unique().list.sort().list.eval(pl.element().cast(pl.String))
    )
    added = (pl.col("bucket") != "waiting") & (more.list.len() > 0).fill_null(value=False)
    return parts.with_columns(hold_codes=pl.when(added).then(ordered).otherwise("hold_codes"))


def when(condition: pl.Expr, code: str) -> pl.Expr:
    """Return the hold code where the condition is true, null elsewhere."""
    return pl.when(condition).then(pl.lit(code))


def listed(parts: pl.DataFrame) -> pl.DataFrame:
    """List the reasons of held parts, one row per fact and reason.

    parts    fact str, kind str, project str, contract str, service_on date, currency str|null, amount i64 units,
             minutes i64|null, hold_codes list[str], tax_reason str|null: what the tax treatment lacks
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
            pl.col("tax_reason").first(),
        )
        .join(sentences, on="code", how="left")
        .with_columns(
            sentence=pl.when(pl.col("code").is_in(TAX) & pl.col("tax_reason").is_not_null())
            .then(pl.format("{} {}", "tax_reason", "sentence"))
            .otherwise("sentence")
        )
        .sort("scope", "code")
    )
