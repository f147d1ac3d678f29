"""The evidence behind a value: what came in, byte for byte, and what was decided on it, each with its sentence."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from trueup.kernel.ids import kind_of
from trueup.reporting.disagreements import label
from trueup.reporting.sight import HIDDEN, raw_is_open, taken_out
from trueup.store import objects
from trueup.store.database import Tx


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field a decision was about; `before` is None where it is not known or was empty."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision on one record's word, with the sentence that gives the reason.

    verdict  accept, agree, late, propose or hold
    actor    role of the system that spoke, or the process or person of ours
    system   None when we spoke ourselves
    message  number of the message that was decided on; None when we spoke ourselves
    """

    number: int
    gid: str
    kind: str
    version: int
    verdict: str
    sentence: str
    fields: tuple[FieldChange, ...]
    actor: str
    system: str | None
    message: int | None
    mapping: str | None
    mapping_version: int | None
    mapping_digest: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Raw:
    """One message as it came.

    text    its bytes as text; None when the reader may not see them, figures about cost taken out for readers without it
    sha256  digest of the bytes kept when it came in
    intact  the bytes still have that digest
    """

    number: int
    system: str
    object: str
    external_id: str
    stamp: str
    origin: str
    state: str
    reason: str | None
    received_at: datetime
    settled_at: datetime | None
    size: int
    sha256: str
    intact: bool
    text: str | None
    mapping: str | None
    mapping_version: int | None


def decisions(
    tx: Tx,
    *,
    gids: Sequence[str] = (),
    messages: Sequence[int] = (),
    cost: bool = False,
    money: bool = True,
    limit: int = 5000,
) -> tuple[Decision, ...]:
    """Return what was decided on objects or on messages, oldest first; repetitions that said nothing new are left out.

    cost, money  whether the reader may see what people cost, and amounts
    """
    rows = tx.rows(
        """
        select * from changes where gid = any(%(gids)s) or message = any(%(messages)s) order by number limit %(limit)s
        """,
        {"gids": list(gids), "messages": list(messages), "limit": limit},
    )
    found = []
    for row in rows:
        for said in row["decisions"]:
            found.append(
                Decision(
                    row["number"],
                    row["gid"],
                    row["kind"],
                    row["version"],
                    said["verdict"],
                    said["sentence"],
                    _fields(row["kind"], said["fields"], cost, money),
                    row["actor"] if row["message"] else row["system"] or row["actor"],
                    row["system"] if row["message"] else None,
                    row["message"],
                    row["mapping"],
                    row["mapping_version"],
                    row["mapping_digest"],
                    row["created_at"],
                )
            )
    return tuple(found)


def _fields(kind: str, fields: Mapping[str, Any] | list[str], cost: bool, money: bool) -> tuple[FieldChange, ...]:
    if isinstance(fields, list):
        return tuple(FieldChange(name, None, None) for name in fields)
    after = {name: pair[1] for name, pair in fields.items()}
    hide = taken_out(kind, after, cost, money)
    return tuple(
        FieldChange(name, HIDDEN if name in hide else pair[0], HIDDEN if name in hide else pair[1])
        for name, pair in fields.items()
    )


def labels(tx: Tx, said: Iterable[Decision], more: Iterable[Any] = ()) -> dict[str, str]:
    """Return what people call the objects that decisions (or further values) point to.

    Returns   our identifier -> label
    """
    values = [value for one in said for change in one.fields for value in (change.before, change.after)]
    wanted = {value for value in (*values, *more) if isinstance(value, str) and kind_of(value)}
    return {gid: label(held, gid) for gid, held in objects.load(tx, wanted).items()}


def raws(tx: Tx, numbers: Iterable[int], *, cost: bool = False) -> dict[int, Raw]:
    """Return messages with their bytes, by number."""
    wanted = sorted(set(numbers))
    if not wanted:
        return {}
    rows = tx.rows(
        """
        select i.*, (select c.kind from changes c where c.message = i.number order by c.number limit 1) as kind
        from inbox i where i.number = any(%s)
        """,
        (wanted,),
    )
    return {row["number"]: raw_of(row, cost=cost) for row in rows}


def raw_of(row: Mapping[str, Any], *, cost: bool = False, money: bool = True) -> Raw:
    """Return an inbox row as a message a person can read.

    row          a row of `inbox`, with `kind` of the object it became when that is known
    cost, money  whether the reader may see what people cost, and amounts
    """
    body = bytes(row["body"])
    kind = row.get("kind") or _kind_of_mapping(row["mapping"])
    return Raw(
        row["number"],
        row["system"],
        row["object"],
        row["external_id"],
        row["stamp"],
        row["origin"],
        row["state"],
        row["reason"],
        row["received_at"],
        row["settled_at"],
        len(body),
        bytes(row["digest"]).hex(),
        hashlib.sha256(body).digest() == bytes(row["digest"]),
        _readable(body, cost) if raw_is_open(row["gid"], kind, cost, money=money) else None,
        row["mapping"],
        row["mapping_version"],
    )


def sees_all(row: Mapping[str, Any], *, cost: bool = False, money: bool = True) -> bool:
    """Say whether a reader may see every value of an inbox row: who may not see it may not change it."""
    body = bytes(row["body"])
    return raw_of(row, cost=cost, money=money).text == body.decode("utf-8", "backslashreplace")


_ABOUT_COST = re.compile(
    r'("[^"]*(?:cost|salar|wage|compensation)[^"]*"\s*:\s*)("(?:[^"\\]|\\.)*"|[^\s,"{}\[\]]+)', re.I
)


def _readable(body: bytes, cost: bool) -> str:
    """Return bytes as text; without the right to cost, values under names that speak of cost are taken out."""
    text = body.decode("utf-8", "backslashreplace")
    return text if cost else _ABOUT_COST.sub(rf'\1"{HIDDEN}"', text)


def _kind_of_mapping(mapping: str | None) -> str | None:
    return mapping.partition(" -> ")[2] if mapping else None


def indented(text: str) -> str:
    """Return raw text as a person reads it: JSON is indented and keeps every character of its values."""
    try:
        return msgspec.json.format(text, indent=2)
    except msgspec.MsgspecError:
        return text
