"""Our identifier and every system's identifier of the same thing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trueup.store.database import Tx, array

ANY = "*"
"""Pseudo-system of keys that are the firm's own: project codes, work e-mail addresses."""


@dataclass(frozen=True, slots=True)
class Link:
    """One row: who it is, and the newest stamp of it we have applied."""

    system: str
    object: str
    external_id: str
    gid: str
    stamp: str = ""
    written: str | None = None


Key = tuple[str, str, str]
"""(system, object, external id)"""


def find(tx: Tx, keys: Iterable[Key]) -> dict[Key, Link]:
    """Return the links of many keys at once; a key of the firm's own answers for every system."""
    wanted = list(dict.fromkeys(keys))
    if not wanted:
        return {}
    rows = tx.tuples(
        """
        select k.system, c.object, c.external_id, c.gid, c.stamp, c.written
        from unnest(%s::text[], %s::text[], %s::text[]) as k (system, object, external_id)
        join crosswalk c on c.object = k.object and c.external_id = k.external_id and c.system in (k.system, '*')
        """,
        (array(k[0] for k in wanted), array(k[1] for k in wanted), array(k[2] for k in wanted)),
    )
    return {row[:3]: Link(*row) for row in rows}


def of(tx: Tx, gids: Sequence[str]) -> list[Link]:
    """Return every system's identifiers of these objects."""
    rows = tx.rows(
        "select system, object, external_id, gid, stamp, written from crosswalk where gid = any(%s) order by created_at",
        (list(gids),),
    )
    return [Link(**row) for row in rows]


def put(tx: Tx, links: Sequence[Link]) -> None:
    """Add or update links; a stamp or fingerprint that is not given stays."""
    if not links:
        return
    last = {(link.system, link.object, link.external_id): link for link in links}
    ordered = [last[key] for key in sorted(last)]
    tx.run(
        """
        insert into crosswalk (system, object, external_id, gid, stamp, written)
        select * from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
        on conflict (system, object, external_id) do update
        set gid = excluded.gid, stamp = greatest(crosswalk.stamp, excluded.stamp),
            written = coalesce(excluded.written, crosswalk.written), updated_at = now()
        """,
        (
            array(link.system for link in ordered),
            array(link.object for link in ordered),
            array(link.external_id for link in ordered),
            array(link.gid for link in ordered),
            array(link.stamp for link in ordered),
            array(link.written for link in ordered),
        ),
    )


def forget_written(tx: Tx, system: str, object: str, external_id: str) -> None:
    """Forget what we last wrote to a record: something else stands there, so that the same again is no echo."""
    tx.run(
        "update crosswalk set written = null where system = %s and object = %s and external_id = %s",
        (system, object, external_id),
    )


def anything(tx: Tx, identifier: str) -> list[Link]:
    """Find objects by any identifier of any system, also our own and business codes."""
    rows = tx.rows(
        """
        select system, object, external_id, gid, stamp, written from crosswalk where external_id = %(id)s or gid = %(id)s
        union all
        select 'trueup', kind, body ->> 'code', gid, '', null from objects
        where body ->> 'code' = %(id)s or body ->> 'number' = %(id)s or body ->> 'reference' = %(id)s or gid = %(id)s
        """,
        {"id": identifier},
    )
    return [Link(**row) for row in rows]
