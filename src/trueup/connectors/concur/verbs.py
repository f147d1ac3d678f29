"""Two words only these mappings need: a list of one message, and an amount that belongs to one project whole."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from trueup.kernel.money import minor_digits
from trueup.kernel.problems import Wrong

Convert = Callable[[Any, Any, Any], Any]
LONGEST_MESSAGE = 1300


def one_message(line: Any) -> Convert:
    """`{one_message: message, default: []}`: a text as the vendor's list of messages for its audit trail."""

    def convert(value: Any, row: Any, record: Any) -> list[dict[str, str]]:
        text = str(value).strip()[:LONGEST_MESSAGE]
        return [{"messageId": "TRUEUP", "messageLanguage": "EN", "messageShortText": text}]

    return convert


def approved_amount(line: Any) -> Convert:
    """`{approved_amount: entryApprovedAmount}`: the amount in the employee's currency.

    An entry split over several projects is a problem: each project would be charged the whole of it.
    """

    def convert(value: Any, row: Any, record: Any) -> Decimal:
        projects = {part.get("allocationCustom1Code") for part in row.get("allocation") or ()}
        if len(projects) > 1:
            split = ", ".join(sorted(str(project) for project in projects))
            raise Wrong("split_allocation", f"the entry is split over {split}; split the entry itself, one per project")
        currency = record["document"]["report"]["employeeCurrencyAlphaCode"]
        try:
            amount = Decimal(str(value))
            fitted = amount.quantize(Decimal(1).scaleb(-minor_digits(currency)))
        except InvalidOperation:
            raise Wrong("not_a_number", f"{value!r} is not an amount") from None
        if fitted != amount:
            raise Wrong("not_exact", f"{value} has more digits than {currency} has")
        return fitted

    return convert


VERBS: Mapping[str, Callable[[Any], Convert]] = {"one_message": one_message, "approved_amount": approved_amount}
