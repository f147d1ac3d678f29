"""Writes the reference pages from the code; `--check` only says which of them no longer fit it.

Nothing under `docs/reference` is written by hand: what a page says is what the code says about itself.
"""

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from fastapi import FastAPI

from trueup.billing.holds import REASONS
from trueup.billing.metrics import METRICS
from trueup.connectors.sdk import registry, remedies
from trueup.entrypoints import bootstrap
from trueup.entrypoints.api.app import PARTS
from trueup.entrypoints.api.auth import SCOPES
from trueup.entrypoints.api.openapi import describe
from trueup.entrypoints.api.problems import KINDS as PROBLEMS
from trueup.entrypoints.cli.main import app as command_line
from trueup.governance import ownership
from trueup.kernel.ids import PREFIXES
from trueup.mapping.file import load as load_mapping
from trueup.mapping.verbs import VERBS
from trueup.model.delivery import STATES, STEPS
from trueup.model.events import CATALOGUE, type_name
from trueup.model.kinds import KINDS
from trueup.processes.undo import WITHDRAWN
from trueup.settings import ContractObligations, EntitySettings, RatesSettings, ScheduleSettings, TermsSettings, schema

PLACE = Path(__file__).with_name("reference")
NOTE = "<!-- Written by docs/generate.py from the code; change the code and run `make docs`. -->"
DEDUPE = {
    "A": "idempotent: the vendor takes our key, a repetition lands on the same record",
    "B": "idempotency key: the vendor remembers it for a time",
    "C": "found by our key before it is sent again",
    "D": "cannot be found: one attempt, after silence a person looks",
}
EXIT_CODES = (
    (0, "done"),
    (1, "finished; some items failed or differ"),
    (2, "usage or configuration is wrong"),
    (3, "a system or the database is away"),
    (4, "not allowed"),
    (5, "conflict: the state does not fit"),
    (6, "needs another person"),
    (70, "internal error"),
)


def main() -> int:
    """Write every page, or with --check say which ones are stale; 1 when one is."""
    made = dict(pages())
    known = {path.relative_to(PLACE).as_posix(): path.read_text("utf-8") for path in sorted(PLACE.rglob("*.md"))}
    if "--check" in sys.argv[1:]:
        stale = sorted(name for name in made.keys() | known.keys() if made.get(name) != known.get(name))
        print(f"reference: {len(made)} pages, " + (f"stale: {', '.join(stale)}; run `make docs`" if stale else "fresh"))
        return 1 if stale else 0
    for name in known.keys() - made.keys():
        (PLACE / name).unlink()
    for name, text in made.items():
        path = PLACE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    print(f"reference: {len(made)} pages written")
    return 0


def pages() -> Iterator[tuple[str, str]]:
    """Give every page: path under docs/reference, text."""
    yield "README.md", index()
    yield "objects.md", objects()
    yield "events.md", event_names()
    yield "ownership.md", owners()
    yield "verbs.md", verbs()
    yield "holds.md", holds()
    yield "remedies.md", ways_out()
    yield "metrics.md", metrics()
    yield "processes.md", processes()
    yield "deliveries.md", deliveries()
    yield "cli.md", commands()
    yield "api.md", routes()
    yield "errors.md", problems()
    yield "settings.md", settings()
    yield "connectors/README.md", connectors()
    for name in registry.folders():
        yield f"connectors/{name}.md", connector(name)


def page(title: str, *parts: str) -> str:
    """Put a page together."""
    return "\n\n".join([f"# {title}", NOTE, *(part.strip("\n") for part in parts if part)]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; what would break its cells is escaped."""

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    return "\n".join([line(columns), "|" + " --- |" * len(columns), *(line(row) for row in rows)])


def _cell(value: Any) -> str:
    return " ".join(("" if value is None else str(value)).split()).replace("|", "\\|")


def code(*words: str) -> str:
    """Return words as code, separated by commas."""
    return ", ".join(f"`{word}`" for word in words)


def index() -> str:
    """Say what stands where."""
    rows = [
        ("[Objects](objects.md)", "canonical objects, field by field, with their status machines"),
        ("[Events](events.md)", "business facts, as told in `/v1/events`"),
        ("[Ownership](ownership.md)", "which role may set which field in which status"),
        ("[Mapping verbs](verbs.md)", "the vocabulary of mapping files"),
        ("[Holds](holds.md)", "why something may not be billed yet, and who removes the reason"),
        ("[Ways out](remedies.md)", "what a failure means, and what to do, in order"),
        ("[Metrics](metrics.md)", "the figures on the pages, each with definition and formula"),
        ("[Processes](processes.md)", "what starts, what waits, what comes out"),
        ("[Deliveries](deliveries.md)", "the states of a write to another system, and which may follow which"),
        ("[Command line](cli.md)", "commands, options, exit codes"),
        ("[API](api.md)", "routes and scopes; `/v1/openapi.json` is the machine's copy"),
        ("[Problems](errors.md)", "what the API answers when it refuses"),
        ("[Settings](settings.md)", "`trueup.yaml` and the environment"),
        ("[Connectors](connectors/README.md)", "systems, what is read and written, refusals"),
    ]
    return page("Reference", "Every page here is written from the code.", table(("Page", "What it lists"), rows))


# ---------------------------------------------------------------- objects


def objects() -> str:
    """Describe every kind of canonical object."""
    start = (
        "Every object has an envelope: `gid` (our identifier, the first three letters say its kind), `kind`, `version` "
        "(raised by one with every accepted change), `status`, `legal_entity`, `created_at`, `updated_at`, `tombstone` "
        "and `sources` (what each system calls it). Amounts are exact decimals and written as text; days are "
        "`2026-08-31`; instants are UTC."
    )
    return page("Objects", start, *(_object(kind) for kind in KINDS))


def _object(kind: str) -> str:
    cls = KINDS[kind]
    shape = cls.model_json_schema()
    parts = [f"## {kind}", _prose(cls), f"Identifier `{PREFIXES[kind]}_…`."]
    parts.append(_fields(cls, shape, cls.references, cls.restricted))
    parts.append("Statuses:")
    steps = cls.lifecycle.steps.items()
    parts.append(table(("status", "may become"), [(f"`{a}`", code(*b) or "nothing: the end") for a, b in steps]))
    for name, nested in shape.get("$defs", {}).items():
        described = _class_named(cls, name)
        parts += [f"### {name}", _prose(described) if described else "", _fields(described, nested, {}, frozenset())]
    return "\n\n".join(part for part in parts if part)


def _class_named(cls: type[Any], name: str) -> type[Any] | None:
    return getattr(inspect.getmodule(cls), name, None)


def _fields(cls: type[Any] | None, shape: Mapping[str, Any], references: Mapping[str, str], hidden: Any) -> str:
    notes = _notes(cls)
    rows = []
    for name, field in shape["properties"].items():
        if name == "status":
            continue
        words = [f"identifier of a {references[name]}" if name in references else _type(field)]
        if name in hidden:
            words.append("restricted: `cost:read`")
        default = field.get("default")
        given = "" if default in (None, []) else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        needed = "yes" if name in _required(cls, shape) else ""
        rows.append((f"`{name}`", "; ".join(words), needed, given, notes.get(name, "")))
    return table(("field", "type", "required", "default", "meaning"), rows)


def _required(cls: type[Any] | None, shape: Mapping[str, Any]) -> set[str]:
    if cls is None:
        return set(shape.get("required", ()))
    return {name for name, field in cls.model_fields.items() if field.is_required()}


def _type(field: Mapping[str, Any]) -> str:
    """Say in words what a JSON Schema allows."""
    for choice in ("anyOf", "oneOf"):
        if choice in field:
            if {part.get("type") for part in field[choice]} >= {"number", "string"}:
                return "exact decimal" + (" or nothing" if {"type": "null"} in field[choice] else "")
            parts = [_type(part) for part in field[choice] if part.get("type") != "null"]
            return " or ".join(dict.fromkeys(parts)) + (" or nothing" if len(parts) < len(field[choice]) else "")
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "enum" in field:
        return "one of " + code(*(str(item) for item in field["enum"]))
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("type") == "object":
        inside = field.get("additionalProperties")
        return f"names to {_type(inside)}" if isinstance(inside, dict) else "object"
    return _plain_type(field)


def _plain_type(field: Mapping[str, Any]) -> str:
    pattern = str(field.get("pattern", ""))
    known = {
        "^[A-Z]{3}$": "currency code (ISO 4217)",
        "^[A-Z]{2}$": "country code (ISO 3166)",
        "^[0-9]{4}-(0[1-9]|1[0-2])$": "month",
        "^[a-z]{3}_[0-9a-z]{26}$": "identifier",
    }
    if pattern in known:
        return known[pattern]
    if field.get("type") == "string" and field.get("format"):
        return {"date": "day", "date-time": "instant"}.get(str(field["format"]), str(field["format"]))
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", "number": "number"}
    return words.get(str(field.get("type")), "anything")


def _prose(thing: Any) -> str:
    """Return the part of a docstring that is sentences."""
    lines = inspect.cleandoc(inspect.getdoc(thing) or "").split("\n")
    told = [line for line in lines if not re.match(r"^\w[\w, ]*?\s{2,}\S", line)]
    return "\n".join(told).strip()


def _notes(thing: Any) -> dict[str, str]:
    """Return the aligned part of a docstring: name -> meaning."""
    found: dict[str, str] = {}
    last = ""
    for line in inspect.cleandoc(inspect.getdoc(thing) or "").split("\n") if thing else ():
        said = re.match(r"^(\w[\w, ]*?)\s{2,}(\S.*)$", line)
        if said:
            last = said[1]
            found |= dict.fromkeys(re.split(r",\s*", last), said[2])
        elif last and line.startswith("  "):
            found[last] += " " + line.strip()
    return found


# ---------------------------------------------------------------- words and rules


def event_names() -> str:
    """List business events."""
    start = (
        "Stored in the transaction that made them true, and read at `/v1/events` (pages and a stream) as CloudEvents "
        "1.0. Their data is small and typed: `code`, `status`, `amount`, `currency`, `day`, `reason`, `count`. Who "
        "needs more asks for the object named by `subject`."
    )
    rows = [(f"`{name}`", meaning, f"`{type_name(name)}`") for name, meaning in CATALOGUE.items()]
    return page("Events", start, table(("event", "meaning", "CloudEvents type"), rows))


def owners() -> str:
    """Show the ownership matrix that ships with the house."""
    rules = ownership.load(bootstrap.default_ownership())
    start = (
        "A field has one owner at a time, and who that is may depend on the object's status. What a system says about "
        "a field it does not own is kept as a proposal: never applied, never lost. `hub` is what Trueup works out "
        "itself. A workspace may replace the whole matrix with its own `ownership.yaml`; it is checked when it is read."
    )
    makers = [(f"`{kind}`", code(*entry.create), f"`{entry.owner}`") for kind, entry in rules.objects.items()]
    named = [row for row in rules.rows() if row["field"] != "*"]
    several = {(row["kind"], row["field"]) for row in named if row["status"] != "*"}
    rows = []
    for row in named:
        status = "any other" if (row["kind"], row["field"]) in several else "any"
        shown = status if row["status"] == "*" else f"`{row['status']}`"
        rows.append((f"`{row['kind']}`", f"`{row['field']}`", shown, f"`{row['owner']}`"))
    parts = (
        "## Who creates, and who owns what is not named below",
        table(("object", "created by", "owner"), makers),
        "## Fields with an owner of their own",
        table(("object", "field", "while the status is", "owner"), rows),
    )
    return page("Ownership", start, *parts)


def verbs() -> str:
    """List the words of mapping files."""
    start = (
        "A line of a mapping file is `{verb: path, options}`. Paths are dotted, a list index is allowed (`lines.0.id`). "
        "There is no expression language: what these words cannot say becomes a new verb, which is a pure function "
        "with a docstring and a test. Options of every verb: `optional: true` (absent gives nothing) and `default: "
        "value`; without them, absence is the problem `missing`. A connector may bring verbs of its own: see its page."
    )
    return page("Mapping verbs", start, _verb_table(VERBS))


def _verb_table(known: Mapping[str, Any]) -> str:
    rows = []
    for name, maker in known.items():
        written, _, meaning = " ".join(inspect.cleandoc(maker.__doc__ or "").split()).partition("`: ")
        rows.append((f"`{name}`", f"{written}`" if meaning else "", meaning or written))
    return table(("verb", "written", "meaning"), rows)


def holds() -> str:
    """List why something may not be billed."""
    start = (
        "A hold keeps something out of billing, for one reason, with the amount it holds back. It ends by itself when "
        "the fact arrives that removes the reason, or when somebody releases it and says why; then the next billing "
        "run looks again. A workspace names the owners of its holds in `trueup.yaml` under `owners`."
    )
    rows = [(f"`{name}`", reason.sentence, reason.owner, reason.released_by) for name, reason in REASONS.items()]
    return page("Holds", start, table(("code", "what is wrong and what to do", "who", "ends with"), rows))


def ways_out() -> str:
    """List the catalogue of remedies."""
    start = (
        "What the issue page, `trueup issue show` and `GET /v1/issues/{issue}` offer, in the order in which to try it. A "
        "workspace adds its own in `remedies.yaml`: a list of entries with `id`, `source` (`message` or `delivery`), what must "
        "hold of the failure (`state`, `system`, `object`, `code`, `field`), `cause`, and up to three `ways` with `do`, `then` "
        "(`replay`, `edit`, `retry`, `itself`) and `who`. The entry that names most wins; one with the `id` of another takes its "
        "place; two about the same failures are refused at the start. What a connector's codes mean stands on its own page."
    )
    rows = [
        (
            f"`{one.id}`",
            one.source,
            one.cause,
            " ".join(f"{n}. {way.do}: *{way.then}*." for n, way in enumerate(one.ways, 1)),
        )
        for one in remedies.general()
    ]
    return page("Ways out", start, table(("entry", "of a", "cause", "ways out"), rows))


def metrics() -> str:
    """List the figures on the pages."""
    start = "Vendors divide by different things under one name, so a figure is never shown without its sentence."
    rows = [
        (
            m.title,
            f"`{m.name}`",
            m.unit,
            m.per,
            m.definition,
            f"{m.formula} (version {m.version})",
            m.numerator,
            m.denominator or "",
            m.owner,
        )
        for m in METRICS.values()
    ]
    return page(
        "Metrics",
        start,
        table(("figure", "name", "unit", "per", "definition", "formula", "numerator", "denominator", "owner"), rows),
    )


def processes() -> str:
    """Show what each process file says of itself."""
    start = (
        "A process is started in the transaction that makes it necessary, under a key made of business keys, so that "
        "it is started once; its steps are remembered, and a process whose worker dies is taken over by another."
    )
    told = [
        (name.rpartition(".")[2], module.__doc__ or "")
        for name, module in sorted(sys.modules.items())
        if name.startswith("trueup.processes.") and "Starts on" in (module.__doc__ or "")
    ]
    return page("Processes", start, *(f"## {name}\n\n{_process(text)}" for name, text in told))


def deliveries() -> str:
    """List the states of a delivery and the steps between them."""
    start = (
        "A write to another system is a row before it is a call. The database refuses every step that is not in this "
        "table; [the effect ledger](../explanation/idempotency.md) says why they are as they are."
    )
    rows = [
        (f"`{state}`", means, ", ".join(f"`{after}`" for after in STEPS[state]) or "nothing: it has ended")
        for state, means in STATES.items()
    ]
    return page("Deliveries", start, table(("state", "means", "may become"), rows))


def _process(text: str) -> str:
    lines = text.strip().split("\n")
    rows: list[list[str]] = []
    sentence = []
    for line in lines:
        said = re.match(r"^([A-Z][a-z]+(?: [a-z]+)?)\s{2,}(\S.*)$", line)
        if said:
            rows.append([said[1].lower(), said[2]])
        elif rows and line.startswith("  "):
            rows[-1][1] += " " + line.strip()
        elif not rows:
            sentence.append(line)
    return " ".join(sentence).strip() + "\n\n" + table(("", ""), rows)


# ---------------------------------------------------------------- ways in


def commands() -> str:
    """List the command line."""
    start = (
        "Data go to stdout, talk to stderr. `--json` gives JSON, also for errors. A command looks for its workspace in "
        "`--workspace`, then `TRUEUP_WORKSPACE`, then this folder, then the demo's under `.trueup/demo`."
    )
    parts = ["## Exit codes", table(("code", "means"), EXIT_CODES)]
    root = typer.main.get_command(command_line)
    for name, command in _walk(root, "trueup"):
        parts += [f"## `{name}`", " ".join((command.help or "").split()), _parameters(command)]
    return page("Command line", start, *parts)


def _walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for word in sorted(children):
        yield from _walk(children[word], f"{name} {word}")


def _parameters(command: Any) -> str:
    rows = []
    for one in command.params:
        if one.name == "help":
            continue
        argument = one.param_type_name == "argument"
        written = (one.metavar or str(one.name).upper()) if argument else ", ".join([*one.opts, *one.secondary_opts])
        default = one.default if isinstance(one.default, str | int) and not isinstance(one.default, bool) else ""
        shown = f"`{default}`" if default != "" else ("required" if one.required else "")
        rows.append((f"`{written}`", shown, getattr(one, "help", "") or ""))
    return table(("", "default", "meaning"), rows) if rows else ""


def routes() -> str:
    """List the API's routes and scopes."""
    app = FastAPI()
    for part in PARTS:
        app.include_router(part.router)
    document = describe(app)
    rows = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            wanted = [scope for one in operation.get("security", ()) for scopes in one.values() for scope in scopes]
            rows.append((f"`{method.upper()} {path}`", operation.get("summary", ""), code(*dict.fromkeys(wanted))))
    hooks = [
        ("`POST /hooks/{system}`", "A vendor's call: signature checked, kept, then answered", "the vendor's signature"),
        ("`GET /healthz`", "Whether the hub and its database answer", "none"),
        ("`GET /v1/openapi.json`", "This description for machines, OpenAPI 3.1", "none"),
    ]
    parts = (
        "## Routes",
        table(("route", "what it does", "scope"), [*rows, *hooks]),
        "## Scopes",
        table(("scope", "allows"), [(f"`{name}`", meaning) for name, meaning in SCOPES.items()]),
        "A token that speaks of objects also has exactly one scope `role:<role>`, for example `role:crm`.",
    )
    return page("API", str(document["info"]["description"]), *parts)


def problems() -> str:
    """List what the API refuses with."""
    start = (
        "Refusals are RFC 9457 `application/problem+json`. `type` is `/docs/errors/<code>`, a page the hub itself "
        "serves; `errors` points to each place of the body that is wrong; `retryable` says whether the same call may "
        "work later."
    )
    rows = [
        (f'<a id="{name}"></a>`{name}`', kind.status, kind.title, kind.advice, "yes" if kind.retryable else "no")
        for name, kind in PROBLEMS.items()
    ]
    return page("Problems", start, table(("code", "status", "title", "what to do", "retry"), rows))


def settings() -> str:
    """Describe the workspace's file."""
    start = (
        "A workspace is a folder, kept in git and without secrets: `trueup.yaml`, one file per legal entity in "
        "`entities/`, and where wanted `schedules/`, `obligations/CONTRACT.yaml`, `ownership.yaml`, "
        "`mappings/SYSTEM/FILE.yaml` (overlays), `terms/NAME.yaml` (how lines are billed), `rates/NAME.yaml` (list card, "
        "exchange rates), `intercompany.yaml` and `connectors/`. "
        "A credential is a reference: `secret://env/NAME` or `secret://file/path#dotted.key`.\n\n"
        "From the environment: `TRUEUP_WORKSPACE` (the folder), `TRUEUP_DATABASE` (`embedded` or a PostgreSQL URL), "
        "`TRUEUP_LISTEN` (host and port), `TRUEUP_HOME` (the hub's own data)."
    )
    shape = schema()
    entity = EntitySettings.model_json_schema()
    parts = [
        "## trueup.yaml",
        _setting_rows(shape),
        "## entities/CODE.yaml",
        entity["description"],
        _setting_rows(entity),
    ]
    schedule = ScheduleSettings.model_json_schema()
    parts += ["## schedules/ANY.yaml", schedule["description"].split("\n\n")[0], _setting_rows(schedule)]
    for name, nested in schedule["$defs"].items():
        parts += [f"## {name}", nested.get("description", ""), _setting_rows(nested)]
    for model, title in ((TermsSettings, "terms/NAME.yaml"), (RatesSettings, "rates/NAME.yaml")):
        described = model.model_json_schema()
        parts += [f"## {title}", described["description"], _setting_rows(described)]
        shape.setdefault("$defs", {}).update(described.get("$defs", {}))
    declared = ContractObligations.model_json_schema()
    parts += ["## obligations/CONTRACT.yaml", declared["description"].split("\n\n")[0], _setting_rows(declared)]
    for name, nested in (shape.get("$defs", {}) | declared.get("$defs", {})).items():
        parts += [f"## {name}", nested.get("description", "").split("\n\n")[0], _setting_rows(nested)]
    return page("Settings", start, *parts)


def _setting_rows(shape: Mapping[str, Any]) -> str:
    rows = []
    for name, field in shape["properties"].items():
        default = field.get("default")
        given = f"`{default}`" if default not in (None, "", [], {}) else ""
        rows.append((f"`{name}`", _type(field), "yes" if name in shape.get("required", ()) else "", given))
    return table(("setting", "type", "required", "default"), rows)


# ---------------------------------------------------------------- connectors


def connectors() -> str:
    """List the connectors."""
    rows = []
    for name in registry.folders():
        manifest = registry.load(name).manifest
        called = f" (also `{'`, `'.join(manifest.aliases)}`)" if manifest.aliases else ""
        rows.append(
            (f"[{manifest.title}]({name}.md)", f"`{name}`{called}", manifest.role, manifest.tier,
             len(manifest.reads), len(manifest.writes), "yes" if manifest.webhook else "no")
        )  # fmt: skip
    start = (
        "A connector is a folder: facts in `connector.yaml`, a client, mappings with examples, a simulator, recorded "
        "shapes from the vendor's documents. Its tier is checked by `trueup connector check NAME`. No connector here "
        "has been run against a live account of its vendor: each is tested against the vendor's published contract "
        "and against its own simulator."
    )
    columns = ("system", "connector", "role", "tier", "objects read", "objects written", "webhooks")
    return page("Connectors", start, table(columns, rows))


def connector(name: str) -> str:
    """Describe one connector."""
    found = registry.load(name)
    manifest = found.manifest
    mapped = {file: load_mapping(text, found.verbs) for file, text in found.mappings.items()}
    inward = {mapping.object: (file, mapping) for file, mapping in mapped.items() if not mapping.outward}
    back = {file: mapping for file, mapping in mapped.items() if mapping.kind.startswith(WITHDRAWN)}
    outward = {
        mapping.object: (file, mapping) for file, mapping in mapped.items() if mapping.outward and file not in back
    }
    withdrawn = [(f"`{mapping.object}`", *_mapped((file, mapping))) for file, mapping in sorted(back.items())]
    reads = [
        (f"`{o}`", f"`{read.kind}`", read.lane, *_mapped(inward.get(o)))
        for o, read in sorted(manifest.reads.items(), key=lambda item: (item[1].order, item[0]))
    ]
    writes = [
        (f"`{o}`", f"`{write.kind}`", f"{write.dedupe}: {DEDUPE[write.dedupe]}{_way(write)}", *_mapped(outward.get(o)))
        for o, write in manifest.writes.items()
    ]
    refusals = [
        (f"`{c}`", r.kind, r.meaning, " ".join(f"{n}. {way.do}." for n, way in enumerate(r.ways, 1)) or r.advice)
        for c, r in manifest.refusals.items()
    ]
    facts = [
        ("role", manifest.role),
        ("tier", manifest.tier),
        ("address", f"`{manifest.base_url}`"),
        ("signs in with", ", ".join(f"{key} `{value}`" for key, value in manifest.auth.items())),
        ("credentials", code(*manifest.credentials)),
        ("our restraint", f"{manifest.limits.concurrency} calls at a time, {manifest.limits.per_second:g} a second"),
        ("why", manifest.limits.source),
        ("webhook", _webhook(manifest)),
    ]
    parts = [table(("fact", ""), facts)]
    parts += ["## Reads", table(("object", "becomes", "lane", "mapping", "why"), reads)] if reads else []
    parts += ["## Writes", table(("object", "made from", "repetition", "mapping", "why"), writes)] if writes else []
    parts += ["## Taken back", table(("object", "mapping", "why"), withdrawn)] if withdrawn else []
    parts += ["## Verbs of its own", _verb_table(found.verbs)] if found.verbs else []
    parts += ["## Refusals", table(("code", "kind", "meaning", "what to do"), refusals)] if refusals else []
    parts += ["## Sources", "\n".join(f"- {source}" for source in manifest.sources)] if manifest.sources else []
    return page(manifest.title, *parts)


def _way(write: Any) -> str:
    """Say how a write is made, where it is not simply made while we wait."""
    late = f"; looked for until {write.cool_down:g} s after silence" if write.dedupe in ("B", "C") else ""
    job = f"; as a job from {write.async_from_lines} lines on" if write.mode == "async" else ""
    return late + job + ("; not read back" if write.read_back_minutes is None else "")


def _mapped(found: Any) -> tuple[str, str]:
    if found is None:
        return "", ""
    file, mapping = found
    return f"`{file}`, version {mapping.version}", mapping.text.why


def _webhook(manifest: Any) -> str:
    hook = manifest.webhook
    if hook is None:
        return "none: read by polling"
    return f"signature in `{hook.signature_header}`, over `{hook.signed}`, {hook.tolerance_seconds} s tolerance"


if __name__ == "__main__":
    sys.exit(main())
