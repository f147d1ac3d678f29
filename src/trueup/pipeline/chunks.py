"""A document with more lines than one call may carry is written in parts, and is one document with one identity.

What the vendor holds says how far we are: after a kill or a silence the lines that are there are not added again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.manifest import Chunks
from trueup.connectors.sdk.wire import Raw, Receipt
from trueup.kernel.errors import Broken, Refused, Unsettled


def send(client: VendorClient, object_name: str, key: str, body: Raw, external_id: str | None, once: str) -> Receipt:
    """Write a document, in one call or in as many as the vendor's limit asks for.

    once      idempotency key of the one call; parts need none, what is there says how far we are

    Raises    Refused TOTALS_DIFFER when the document does not hold our lines and our sum afterwards.
    """
    write = client.manifest.writes.get(object_name)
    chunks = write.chunks if write is not None else None
    lines = [] if chunks is None else _lines(body, chunks)
    if chunks is None or len(lines) <= chunks.max_lines:
        return client.post(object_name, key, body, external_id, once)
    ours = {str(line.get(chunks.key)): line for line in lines}
    if len(ours) < len(lines):
        raise Broken(f"{key}: two lines of {object_name} have the same {chunks.key}, which tells its parts apart")
    held = client.whole(object_name, key)
    if held is None or not _beginning(ours, _lines(held[1], chunks), chunks):
        # Nothing is there, or another version of the document: sending replaces its lines by our first ones.
        receipt = client.send(object_name, key, _with(body, chunks, lines[: chunks.max_lines]), external_id)
        left = lines[chunks.max_lines :]
    else:
        receipt = held[0]
        there = {str(line.get(chunks.key)) for line in _lines(held[1], chunks)}
        left = [line for line in lines if str(line.get(chunks.key)) not in there]
        client.part(object_name, receipt.external_id, _without(body, chunks))
    for start in range(0, len(left), chunks.max_lines):
        client.part(object_name, receipt.external_id, _with({}, chunks, left[start : start + chunks.max_lines]))
    return _tied(client, object_name, key, chunks, lines)


def _tied(client: VendorClient, object_name: str, key: str, chunks: Chunks, lines: Sequence[Raw]) -> Receipt:
    held = client.whole(object_name, key)
    if held is None:
        raise Unsettled(f"{client.manifest.title} took the parts of {object_name} {key} but does not show it yet")
    theirs = _lines(held[1], chunks)
    same = Counter(str(line.get(chunks.key)) for line in theirs) == Counter(str(line.get(chunks.key)) for line in lines)
    if not same or _sum(theirs, chunks) != _sum(lines, chunks):
        raise Refused(
            f"{client.manifest.title} holds {len(theirs)} lines with {_sum(theirs, chunks)} of {object_name} {key}, "
            f"we sent {len(lines)} with {_sum(lines, chunks)}: delete the draft there, then send it again",
            "TOTALS_DIFFER",
        )
    return held[0]


def _beginning(ours: Mapping[str, Raw], theirs: Sequence[Raw], chunks: Chunks) -> bool:
    """Say whether what is there is a part of this very document: each line once, with our amount."""
    keys = [str(line.get(chunks.key)) for line in theirs]
    return len(set(keys)) == len(keys) and all(
        key in ours and _amount(line, chunks) == _amount(ours[key], chunks)
        for key, line in zip(keys, theirs, strict=True)
    )


def _lines(body: Raw, chunks: Chunks) -> list[Raw]:
    found: Any = body
    for name in chunks.lines.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return list(found or [])


def _without(body: Raw, chunks: Chunks) -> Raw:
    return {name: value for name, value in body.items() if name != chunks.lines.split(".")[0]}


def _with(body: Raw, chunks: Chunks, lines: Sequence[Raw]) -> Raw:
    nested: Any = list(lines)
    for name in reversed(chunks.lines.split(".")):
        nested = {name: nested}
    return {**_without(body, chunks), **nested}


def _amount(line: Raw, chunks: Chunks) -> Decimal:
    return Decimal(str(line.get(chunks.amount, 0)))


def _sum(lines: Sequence[Raw], chunks: Chunks) -> Decimal:
    return sum((_amount(line, chunks) for line in lines), Decimal(0)).normalize()
