"""Everything an invoice depends on, as a bundle somebody else can check it with: raw messages, rules, and what was done.

A bundle is a set of named parts. The same state of the database always gives the same parts, byte for byte.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trueup import __version__
from trueup.kernel.errors import Broken
from trueup.kernel.ids import kind_of
from trueup.kernel.strict_json import canonical
from trueup.store import objects
from trueup.store.database import Tx

FORMAT = "trueup-evidence/1"
MANIFEST, MESSAGES, JOURNAL, RULES = "manifest.json", "messages.json", "journal.json", "rules.json"
LATER = frozenset({"status", "number", "balance", "posted_on"})
"""Fields of a document that its ERP fills in afterwards: no raw input of the billing gives them."""
OURS = ("billing", "milestone_billing", "opportunity_to_project", "schedule_billing")
"""Who ends a hold by himself; every other release is a person's decision."""

Parts = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class _Act:
    """One thing the house did, and which transactions it had seen.

    seen     (first not begun yet, first unfinished, those under way): a PostgreSQL snapshot
    numbers  of the decisions about bills it proposed
    """

    kind: str
    arguments: list[Any]
    edition: int | None
    transaction: int
    seen: tuple[int, int, frozenset[int]]
    numbers: list[int]

    def had_seen(self, transaction: int) -> bool:
        """Say whether a transaction was visible to this act."""
        beyond, _, under_way = self.seen
        return transaction < beyond and transaction not in under_way


@dataclass(slots=True)
class _Scope:
    """What the documents depend on.

    contracts, projects  whose every fact counts, because caps and fees are used up by all of them together
    """

    contracts: set[str]
    projects: set[str]
    gids: set[str]
    changes: list[dict[str, Any]]


def bundle(tx: Tx, gids: Sequence[str], tzdata: str) -> Parts:
    """Return the parts of a bundle for some invoices or credits; read it in one snapshot.

    gids    our identifiers of the documents
    tzdata  version of the time-zone database of this installation, for the record
    Raises  Broken when they were billed before acts were written down, or do not exist
    """
    documents = {gid: _document(tx, gid) for gid in sorted(set(gids))}
    born = {gid: _birth(tx, gid, documents[gid]["document"]["code"]) for gid in documents}
    scope = _scope(tx, documents, max(born.values()))
    journal, editions, numbers = _journal(tx, scope, set(born.values()))
    messages = _messages(tx, numbers)
    outward = _outward(tx, scope)
    rules, texts = _rules(tx, journal, editions, outward, messages)
    parts: Parts = {
        MESSAGES: canonical([{name: row[name] for name in row if name != "body"} for row in messages]),
        JOURNAL: canonical(journal),
        RULES: canonical(rules),
    }
    parts |= {raw_name(row["number"]): bytes(row["body"]) for row in messages}
    parts |= {f"texts/{digest}.txt": text.encode() for digest, text in texts.items()}
    parts |= {f"documents/{gid}.json": canonical(found) for gid, found in documents.items()}
    listed = {name: {"bytes": len(parts[name]), "sha256": _sha(parts[name])} for name in sorted(parts)}
    manifest = {
        "format": FORMAT,
        "engine": __version__,
        "tzdata": tzdata,
        "documents": [
            {"gid": gid, "code": found["document"]["code"], "number": _number(tx, gid), "lines": lines_digest(found)}
            for gid, found in documents.items()
        ],
        "messages": [
            {
                **{name: row[name] for name in ("number", "system", "object", "external_id")},
                "sha256": _sha(bytes(row["body"])),
            }
            for row in messages
        ],
        "parts": listed,
        "whole": whole(listed),
    }
    return {MANIFEST: canonical(manifest), **{name: parts[name] for name in sorted(parts)}}


def raw_name(number: int) -> str:
    """Return the name of the part that holds a message's bytes.

    >>> raw_name(7)
    'messages/000000000007'
    """
    return f"messages/{number:012d}"


def whole(listed: Mapping[str, Any]) -> str:
    """Return the digest over the digests of all parts."""
    return _sha(canonical(dict(listed)))


def lines_digest(found: Mapping[str, Any]) -> str:
    """Return the digest of a document's lines alone."""
    return _sha(canonical(found["document"]["lines"]))


def document_of(tx: Tx, gid: str) -> bytes:
    """Return a document and its charges in their canonical form: what a rebuild must give again, byte for byte."""
    return canonical(_document(tx, gid))


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _document(tx: Tx, gid: str) -> dict[str, Any]:
    held = objects.one(tx, gid)
    if held is None or held.kind != "invoice":
        raise Broken(f"there is no invoice {gid}")
    charges = tx.rows(
        """
        select a.line_key, a.charge, a.minutes as allocated_minutes, a.amount as allocated_amount, c.fact, c.fact_version,
            c.kind, c.project, c.contract_line, c.currency, c.minutes, c.rate, c.amount, c.rate_line, c.service_on, c.period,
            c.run, c.trace
        from allocations a join charges c on c.key = a.charge where a.document = %s order by a.line_key, a.charge
        """,
        (gid,),
    )
    return {"document": {name: held.body[name] for name in held.body if name not in LATER}, "charges": charges}


def _number(tx: Tx, gid: str) -> str | None:
    held = objects.one(tx, gid)
    return None if held is None else held.body["number"]


def _birth(tx: Tx, gid: str, code: str) -> int:
    """Return the transaction in which a document came into being."""
    found = tx.value(
        "select transaction::text::bigint from changes where gid = %s order by number limit 1",
        (gid,),
    )
    if found is None:
        raise Broken(
            f"{code} was made before the hub wrote down what each act had seen; it cannot be repeated with certainty"
        )
    return int(found)


# --- what it depends on ----------------------------------------------------------------------------------------------


def _scope(tx: Tx, documents: Mapping[str, Any], until: int) -> _Scope:
    """Follow every thread from the documents to what they were made of, as far as a transaction."""
    named = {found["document"]["contract"] for found in documents.values()} - {None}
    for gid, found in documents.items():
        named.update(c.body["contract"] for c in objects.load(tx, _gids(found["document"], "project")).values())
        corrected = objects.load(tx, [found["document"]["corrects"] or ""])
        named.update(one.body["contract"] for one in corrected.values() if one.body["contract"])
        sql = "select distinct c.contract from allocations a join charges c on c.key = a.charge where a.document = %s"
        named.update(row["contract"] for row in tx.rows(sql, (gid,)))
    family, projects = _family(tx, named), set[str]()
    while True:
        projects = {
            row["gid"]
            for row in tx.rows(
                "select gid from objects where kind = 'project' and body ->> 'contract' = any(%s)", (sorted(family),)
            )
        }
        wider = _family(tx, family | _decided_together(tx, projects))
        if wider == family:
            break
        family = wider
    seeds = {*documents, *family, *projects, *_of(tx, sorted(family), sorted(projects))}
    scope = _Scope(family, projects, set(), [])
    fresh, messages = seeds, set[int]()
    while fresh:
        scope.gids |= fresh
        said = tx.rows(
            """
            select number, gid, kind, version, message, actor, system, mapping, mapping_digest, edition, decisions,
                transaction::text::bigint as transaction
            from changes where gid = any(%s) and (transaction is null or transaction::text::bigint <= %s) order by number
            """,
            (sorted(fresh), until),
        )
        if any(row["transaction"] is None for row in said):
            raise Broken("a record this depends on was decided before the hub wrote down in which order it decides")
        scope.changes += said
        found = {gid for row in said for gid in _mentioned(row["decisions"])}
        new = {row["message"] for row in said if row["message"]} - messages
        messages |= new
        found.update(
            row["gid"] for row in tx.rows("select distinct gid from changes where message = any(%s)", (sorted(new),))
        )
        fresh = found - scope.gids
    scope.changes.sort(key=lambda row: row["number"])
    return scope


def _family(tx: Tx, contracts: Iterable[str]) -> set[str]:
    """Return contracts with those that amend them and those they amend."""
    family: set[str] = set()
    fresh = set(contracts)
    while fresh:
        family |= fresh
        rows = tx.rows(
            """
            select o.gid from objects o join objects one on one.gid = any(%s)
            where o.kind = 'contract' and (o.body ->> 'amends' = one.body ->> 'code' or o.body ->> 'code' = one.body ->> 'amends')
            """,
            (sorted(fresh),),
        )
        fresh = {row["gid"] for row in rows} - family
    return family


def _decided_together(tx: Tx, projects: Iterable[str]) -> set[str]:
    """Return the contracts of facts about which a person decided in one go with facts of some projects.

    Their values share what was decided; a re-rating decides for each charge by itself.
    """
    rows = tx.rows(
        """
        select distinct p.body ->> 'contract' as contract from adjustment_facts mine
        join adjustments a on a.number = mine.adjustment and a.kind <> 're_rate'
        join adjustment_facts f on f.adjustment = a.number join objects p on p.gid = f.project
        where mine.project = any(%s) and p.body ->> 'contract' is not null
        """,
        (sorted(projects),),
    )
    return {row["contract"] for row in rows}


def _of(tx: Tx, contracts: list[str], projects: list[str]) -> set[str]:
    """Return everything that is priced, prices, or was billed under some contracts."""
    rows = tx.rows(
        """
        select gid from objects where kind in ('milestone', 'rate_line') and body ->> 'contract' = any(%(contracts)s)
        union select gid from objects where kind = 'invoice'
            and (body ->> 'contract' = any(%(contracts)s) or body ->> 'project' = any(%(projects)s))
        union select credit.gid from objects credit join objects o on o.gid = credit.body ->> 'corrects'
            where credit.kind = 'invoice' and o.body ->> 'project' = any(%(projects)s)
        union select gid from time_entries where project = any(%(projects)s)
        union select gid from expense_lines where project = any(%(projects)s)
        union select other.gid from time_entries mine join time_entries other using (resource, worked_on)
            where mine.project = any(%(projects)s) -- a brake counts all the work of a person's day
        union select fact from charges where project = any(%(projects)s)
        union select rate_line from charges where project = any(%(projects)s) and rate_line is not null
        """,
        {"contracts": contracts, "projects": projects},
    )
    return {row["gid"] for row in rows if kind_of(row["gid"])}


def _gids(body: Mapping[str, Any], name: str) -> list[str]:
    found = {body.get(name), *(line.get(name) for line in body["lines"])}
    return sorted(gid for gid in found if gid)


def _mentioned(value: Any) -> set[str]:
    """Return every identifier of ours that stands anywhere in a value."""
    if isinstance(value, str):
        return {value} if kind_of(value) else set()
    if isinstance(value, dict):
        return {gid for item in value.values() for gid in _mentioned(item)}
    if isinstance(value, list):
        return {gid for item in value for gid in _mentioned(item)}
    return set()


# --- in which order ---------------------------------------------------------------------------------------------------


def _journal(tx: Tx, scope: _Scope, births: set[int]) -> tuple[list[dict[str, Any]], set[int], set[int]]:
    """Put everything in order: what each act had seen stands before it, in the order it was decided.

    Returns   (steps, numbers of the editions they name, numbers of the messages they name)
    """
    acts = _acts(tx, scope, max(births))
    known = _known(tx, scope, max(births))
    told = {act.transaction for act in acts} | {row["transaction"] for row in known}
    heard = {row["transaction"] for row in scope.changes if row["message"]}
    words: dict[tuple[int, int], dict[str, Any]] = {}
    decided: dict[int, list[dict[str, Any]]] = {}
    for row in scope.changes:
        if row["message"]:
            words.setdefault((row["transaction"], row["message"]), row)
        elif row["transaction"] not in told | heard:
            _made_in_an_act(tx, row)
            decided.setdefault(row["transaction"], []).append(row)
    steps: list[tuple[int, float, int, dict[str, Any]]] = []
    # A confirmation has its place before the first decision of a transaction that began after it.
    order = sorted((row["transaction"], row["number"]) for row in scope.changes)
    batches: dict[int, list[dict[str, Any]]] = {}
    for (transaction, _), row in words.items():
        batches.setdefault(transaction, []).append(row)
    for transaction, heard_now in batches.items():
        rows = sorted(heard_now, key=lambda one: int(one["message"]))
        listed = [{"number": row["message"], "mapping": row["mapping_digest"]} for row in rows]
        step = {"does": "hear", "edition": rows[0]["edition"], "messages": listed}
        steps.append((transaction, min(row["number"] for row in rows), 1, step))
    for transaction, rows in decided.items():
        step = {"does": "decide", "edition": rows[0]["edition"], "items": _decisions(tx, rows)}
        if step["items"]:
            steps.append((transaction, min(row["number"] for row in rows), 1, step))
    beside = [(row, {"system": row["system"], "delivery": row["delivery"]}, "know") for row in known]
    for row in _releases(tx, scope, max(births)):
        beside.append((row, {name: row[name] for name in ("code", "scope", "by", "reason")}, "release"))
    for row, words_of, does in beside:
        place = min((number for began, number in order if began > row["transaction"]), default=2**62) - 0.5
        steps.append((row["transaction"], place, 0, {"does": does, "edition": None, **words_of}))
    journal = _in_order(acts, steps, births)
    editions = {step["edition"] for step in journal if step["edition"] is not None}
    return journal, editions, {one["number"] for step in journal for one in step.get("messages", ())}


def _made_in_an_act(tx: Tx, row: Mapping[str, Any]) -> None:
    """Refuse a document of ours that no act has made: nobody could say what was seen when it was.

    Raises  Broken naming it.
    """
    if row["kind"] == "invoice" and row["actor"] == "hub" and row["version"] == 1:
        held = objects.one(tx, row["gid"])
        code = row["gid"] if held is None else held.body["code"]
        raise Broken(f"{code} was made by {row['system']} in no act that can be done again; it cannot be rebuilt")


def _in_order(
    acts: Sequence[_Act], steps: Sequence[tuple[int, float, int, dict[str, Any]]], births: set[int]
) -> list[dict[str, Any]]:
    """Merge acts and what they had seen; what comes after the last document was made is left out."""
    phases: list[list[tuple[float, int, int, dict[str, Any]]]] = [[] for _ in range(len(acts) + 1)]
    for transaction, place, rank, step in steps:
        first = next((n for n, act in enumerate(acts) if act.had_seen(transaction)), len(acts))
        phases[first].append((place, rank, transaction, step))
    journal: list[dict[str, Any]] = []
    end = 0
    for number, phase in enumerate(phases):
        for _, _, transaction, step in sorted(phase, key=lambda item: item[:3]):
            journal.append(step)
            end = len(journal) if transaction in births else end
        if number < len(acts):
            act = acts[number]
            journal.append(
                {"does": "act", "kind": act.kind, "arguments": act.arguments, "edition": act.edition,
                 "numbers": act.numbers}
            )  # fmt: skip
            end = len(journal) if act.transaction in births else end
    return journal[:end]


def _acts(tx: Tx, scope: _Scope, until: int) -> list[_Act]:
    """Return the acts about the scope, in the order they looked: what was set up, billed, decided, and closed."""
    entities = {held.body["legal_entity"] for held in objects.load(tx, scope.projects).values()}
    rows = tx.rows(
        """
        select kind, arguments, edition, transaction::text::bigint as transaction,
            pg_snapshot_xmax(snapshot)::text::bigint as beyond, pg_snapshot_xmin(snapshot)::text::bigint as oldest,
            array(select x::text::bigint from pg_snapshot_xip(snapshot) x) as under_way,
            array(select number from adjustments a where a.transaction = acts.transaction and exists (
                select from adjustment_facts f where f.adjustment = a.number and f.project = any(%(projects)s))
                order by number) as numbers
        from acts where transaction::text::bigint <= %(until)s
            and (legal_entity is null or legal_entity = any(%(entities)s))
            and (about = '{}' or about && %(gids)s)
        """,
        {"until": until, "gids": sorted(scope.gids), "entities": sorted(entities), "projects": sorted(scope.projects)},
    )
    found = [
        _Act(
            row["kind"], row["arguments"], row["edition"], row["transaction"],
            (row["beyond"], row["oldest"], frozenset(row["under_way"])), row["numbers"],
        )
        for row in rows
    ]  # fmt: skip
    # What is visible only ever grows: a later look sees further, or fewer transactions under way.
    return sorted(found, key=lambda act: (act.seen[0], act.seen[1], -len(act.seen[2]), act.transaction))


def _known(tx: Tx, scope: _Scope, until: int) -> list[dict[str, Any]]:
    """Return which identifiers the systems gave to our objects, and in which transaction we learned it."""
    rows = tx.rows(
        """
        select d.key, d.system, d.object, d.gid, d.kind, d.purpose, d.external_id,
            e.transaction::text::bigint as transaction
        from deliveries d join events e on e.key = 'delivery.confirmed/' || d.key
        where d.gid = any(%s) and d.external_id is not null and e.transaction::text::bigint <= %s
        order by e.number
        """,
        (sorted(scope.gids), until),
    )
    names = ("key", "object", "gid", "kind", "purpose", "external_id")
    return [
        {
            "transaction": row["transaction"],
            "system": row["system"],
            "delivery": {name: row[name] for name in names},
        }
        for row in rows
    ]


def _decisions(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what a person (or a process that is no act) decided by itself: the accepted values, and new links."""
    items = []
    for row in rows:
        values = {
            name: pair[1]
            for one in row["decisions"]
            if one["verdict"] == "accept"
            for name, pair in one["fields"].items()
        }
        if not values:
            continue
        links = tx.rows(
            """
            select c.system, c.object, c.external_id from crosswalk c where c.gid = %s and c.system <> '*'
                and not exists (select from deliveries d where d.gid = c.gid and d.system = c.system
                    and d.object = c.object and d.external_id = c.external_id)
                and not exists (select from inbox i where i.system = c.system and i.external_id = c.external_id)
            order by c.system, c.object, c.external_id
            """,
            (row["gid"],),
        )
        items.append(
            {"kind": row["kind"], "gid": row["gid"], "values": values, "role": row["actor"], "actor": row["system"],
             "links": links}
        )  # fmt: skip
    return items


def _releases(tx: Tx, scope: _Scope, until: int) -> list[dict[str, Any]]:
    """Return the holds that people ended, and in which transaction."""
    return tx.rows(
        """
        select released_in::text::bigint as transaction, code, scope, released_by as by, release_reason as reason
        from holds
        where released_in::text::bigint <= %s and released_by <> all(%s)
            and (scope = any(%s) or project = any(%s) or contract = any(%s))
        order by released_in, number
        """,
        (until, list(OURS), sorted(scope.gids), sorted(scope.projects), sorted(scope.contracts)),
    )


# --- the raw inputs and the rules -------------------------------------------------------------------------------------


def _messages(tx: Tx, numbers: set[int]) -> list[dict[str, Any]]:
    rows = tx.rows(
        """
        select number, system, object, external_id, stamp, digest, body, headers, origin, lane, deleted, received_at
        from inbox where number = any(%s) order by number
        """,
        (sorted(numbers),),
    )
    return [
        {**row, "digest": bytes(row["digest"]).hex(), "received_at": row["received_at"].isoformat()} for row in rows
    ]


def _outward(tx: Tx, scope: _Scope) -> list[str]:
    """Return the digests of the mappings that write the scope's objects."""
    rows = tx.rows(
        """
        select distinct on (t.name) t.digest from deliveries d
        join systems s on s.system = d.system
        join texts t on t.name = d.kind || ' -> ' || s.connector || '.' || d.object
        where d.gid = any(%s) order by t.name, t.version desc, t.digest
        """,
        (sorted(scope.gids),),
    )
    return sorted({row["digest"] for row in rows})


def _rules(
    tx: Tx, journal: Sequence[Mapping[str, Any]], numbers: set[int], outward: Sequence[str], messages: Sequence[Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return which rules were in force, and their texts by digest."""
    editions = tx.rows(
        "select number, ownership, firm, engine from editions where number = any(%s) order by number",
        (sorted(numbers),),
    )
    mappings = {one["mapping"] for step in journal for one in step.get("messages", ())} - {None}
    wanted = {*mappings, *outward, *(row[name] for row in editions for name in ("ownership", "firm"))}
    rows = tx.rows("select digest, name, version, body from texts where digest = any(%s)", (sorted(wanted),))
    texts = {row["digest"]: row["body"] for row in rows}
    lost = sorted(wanted - set(texts))
    if lost:
        raise Broken(f"a text that was used is not kept any more: {lost[0]}")
    named = {row["digest"]: {"name": row["name"], "version": row["version"]} for row in rows}
    systems = tx.rows("select system, connector, role from systems order by system")
    return {"editions": editions, "outward": list(outward), "systems": systems, "texts": named}, texts
