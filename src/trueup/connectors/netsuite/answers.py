"""The simulator's answers in NetSuite's own shape: error bodies, collections, links."""

from typing import Any, Final

import msgspec

from trueup.connectors.sdk.simulate import Reject, Response

ERROR_TYPE: Final = "application/vnd.oracle.resource+json; type=error"
COLLECTION_TYPE: Final = "application/vnd.oracle.resource+json; type=collection"
SINGLE_TYPE: Final = "application/vnd.oracle.resource+json; type=singular"
MOST_ITEMS: Final = 1000

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


def error(status: int, code: str, detail: str, *, title: str = "", **places: str) -> Response:
    """Return an error body.

    places  path, query_param or header: which part of the request is wrong
    Source  section_156570709583 (fields of an error response)
    """
    names = {"path": "o:errorPath", "query_param": "o:errorQueryParam", "header": "o:errorHeader"}
    details = {"detail": detail, "o:errorCode": code} | {names[place]: text for place, text in places.items() if text}
    body = {
        "type": "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.5",
        "title": title or _TITLES[status],
        "status": status,
        "o:errorDetails": [details],
    }
    return Response(status, body, {"Content-Type": ERROR_TYPE})


def refuse(code: str, detail: str, *, status: int = 400, **places: str) -> Reject:
    """Return the exception that ends a request with an error body."""
    return Reject(error(status, code, detail, **places))


def reason(no: Reject) -> str:
    """Return the sentence of a refusal, for the people who work on the screens."""
    return str(no.response.body["o:errorDetails"][0]["detail"])


def window(limit: str, offset: str) -> tuple[int, int]:
    """Read limit and offset of a collection.

    Raises    Reject when the limit is above 1000 or the offset is no multiple of it.
    """
    for name, text in (("limit", limit), ("offset", offset)):
        if not text.isdigit() or len(text) > 9:
            raise refuse("INVALID_PARAMETER", f"Invalid {name}: {text}. Provide a whole number.", query_param=name)
    size, start = int(limit), int(offset)
    if not 1 <= size <= MOST_ITEMS:
        text = f"Invalid limit {size}. Provide a number from 1 to {MOST_ITEMS}."
        raise refuse("INVALID_PARAMETER", text, query_param="limit")
    if start % size:
        text = f"Invalid offset {start}. The offset has to be a multiple of the limit {size}."
        raise refuse("INVALID_PARAMETER", text, query_param="offset")
    return size, start


def collection(place: str, items: list[Any], total: int, limit: int, offset: int) -> Response:
    """Return one page of a collection; `items` are the rows of the page."""
    more = offset + len(items) < total
    links = [{"rel": "self", "href": f"{place}?limit={limit}&offset={offset}"}]
    if more:
        links.append({"rel": "next", "href": f"{place}?limit={limit}&offset={offset + limit}"})
        links.append({"rel": "last", "href": f"{place}?limit={limit}&offset={(total - 1) // limit * limit}"})
    body = {
        "links": links,
        "count": len(items),
        "hasMore": more,
        "items": items,
        "offset": offset,
        "totalResults": total,
    }
    return Response(200, msgspec.json.encode(body), {"Content-Type": COLLECTION_TYPE})
