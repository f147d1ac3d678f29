"""A time tool that sends each entry whole in its signed call, and has nothing else to ask for."""

import json

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.wire import Notice, Page, Raw, Record


class Timely(VendorClient):
    """Reads calls; there is nothing behind them."""

    def changes(self, object: str, cursor: str | None) -> Page:
        """Return nothing: everything comes by calls."""
        return Page((), cursor or "0", more=False)

    @staticmethod
    def notices(body: Raw) -> list[Notice]:
        """Read the entry out of the call."""
        raw = json.dumps(body["entry"], ensure_ascii=False).encode()
        key = str(body["entry"]["id"])
        return [Notice("entry", key, record=Record("entry", key, str(body["entry"]["at"]), raw))]
