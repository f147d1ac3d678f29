"""Builds the house once from settings: database, connectors, mappings, ownership; hands it down."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from importlib.resources import files
from typing import Any

from trueup import engine
from trueup.billing import parts
from trueup.billing.brakes import Bounds
from trueup.billing.obligations import Advance, Declaration, Declared
from trueup.billing.schedules import Schedule
from trueup.billing.tax_rules import Answer, Service, State, TaxRules, Withholding
from trueup.billing.terms import (
    Exchange,
    ExpenseRule,
    Increment,
    Minimum,
    Overtime,
    Payer,
    PurchaseOrder,
    RateOrder,
    RollOver,
    Step,
    TaskCap,
    Terms,
    Tiers,
    TimeType,
)
from trueup.connectors.sdk import registry, remedies
from trueup.connectors.sdk.courier import Subscriber
from trueup.connectors.sdk.manifest import Manifest, Write, WriteBudget
from trueup.connectors.sdk.wire import Connection
from trueup.documents.issue import Letterhead
from trueup.governance import ownership
from trueup.governance.ownership import Ownership
from trueup.kernel.errors import Broken
from trueup.mapping.file import MappingFile
from trueup.mapping.file import load as load_mapping
from trueup.model.events import CATALOGUE
from trueup.pipeline import edition, settling
from trueup.pipeline.house import Firm, FxRate, House, LegalEntity, ListLine, Package, Prepayment, System, TransferPrice
from trueup.pipeline.pace import SharedBudget
from trueup.pipeline.windows import Posting, Window
from trueup.processes.reactions import REACTIONS
from trueup.processes.undo import WITHDRAWN
from trueup.settings import (
    ContractObligations,
    EntitySettings,
    QuantitySettings,
    ScheduleSettings,
    ServiceSettings,
    Settings,
    SettingsError,
    SubscriberSettings,
    SystemSettings,
    TaxSettings,
    TermsSettings,
)
from trueup.store import cursors, embedded, inbox, migrate, subscriptions
from trueup.store.database import Database
from trueup.store.numbers import PREFIXES, Numbering

Tell = Callable[[str], None]


def open_database(
    settings: Settings, tell: Tell = lambda text: None, *, size: int = 12, name: str = "trueup"
) -> Database:
    """Start or find the database, bring it to the schema this code needs, and connect."""
    url = settings.database
    if url == "embedded":
        url = embedded.start(settings.home, tell)
    elif url.startswith("secret://"):
        url = settings.secret(url)
    if migrate.migrate(url):
        tell("the schema is up to date")
    database = Database(url, name=name, size=size).open()
    engine.Engine(database).prepare()
    return database


def build(settings: Settings, database: Database) -> House:
    """Load connectors, mappings and ownership, check them together, and make everything known to the database.

    Raises    Broken when a file is wrong or something could run in a circle.
    """
    systems: dict[str, System] = {}
    inward: dict[tuple[str, str], MappingFile] = {}
    outward: dict[tuple[str, str, str], MappingFile] = {}
    for name, configured in settings.systems.items():
        connector = registry.load(configured.connector, settings.connector_folders)
        connector = replace(connector, manifest=patient(connector.manifest, configured))
        if unsafe := settling.wrong([connector]):
            raise Broken("writes that could not be repeated safely: " + "; ".join(unsafe))
        connection = Connection(
            system=name,
            base_url=configured.base_url,
            credentials={key: settings.secret(value) for key, value in configured.credentials.items()},
            token_url=configured.token_url,
            webhook_secret=settings.secret(configured.webhook_secret),
            options=configured.options,
        )
        client = connector.client(paced(connector.manifest, configured), connection)
        account = configured.account or name
        client.pace.shared = SharedBudget(database, account, client.manifest.title, client.manifest.limits)
        systems[name] = System(name, connector.manifest.role, connector, client, account, posting(configured))
        for file, text in connector.mappings.items():
            mapping = load_mapping(settings.overlays.get(f"{name}/{file}", text), connector.verbs)
            if mapping.outward:
                outward[(mapping.kind, name, mapping.object)] = mapping
            else:
                inward[(name, mapping.object)] = mapping
    rules = ownership.load(settings.ownership or default_ownership())
    circles = ownership.check_flows(rules, _heard(systems, inward), _told(systems, outward))
    if circles:
        raise Broken("ownership and mappings do not fit: " + "; ".join(circles))
    known = firm(settings)
    if known.duplicates == "across_systems" and len(_timed_by(inward)) < 2:
        known = replace(known, duplicates="ignore")  # one system alone cannot report what another did
    told = {name: _subscriber(settings, name, one) for name, one in settings.subscribers.items()}
    house = House(database, systems, inward, outward, rules, known, list(REACTIONS), subscribers=told)
    if settings.remedies:
        house.own_remedies = remedies.read(settings.remedies, "remedies.yaml")
    house.remedies()  # a catalogue that contradicts itself is refused now, not when somebody needs it
    _check_numbering(house.firm.entities, rules)
    with database.transaction() as tx:
        for system in systems.values():
            cursors.register(tx, system.name, system.connector.name, system.role)
        subscriptions.register(tx, list(told))
        edition.keep(tx, house, settings.ownership or default_ownership())
        for mapping in inward.values():
            inbox.judge_again(tx, mapping.name, mapping.version)
    return house


def _subscriber(settings: Settings, name: str, said: SubscriberSettings) -> Subscriber:
    """Return a subscriber whose address and secret are fit to be used.

    Raises    Broken naming what is wrong.
    """
    unknown = sorted(set(said.types) - set(CATALOGUE))
    if unknown:
        raise Broken(f"subscribers: {name}: there is no event {', '.join(unknown)}; `GET /v1/events/types` lists them")
    more = said.model_dump(exclude={"secret", "types"})
    subscriber = Subscriber(name, secret=settings.secret(said.secret), types=tuple(said.types), **more)
    subscriber.check()
    return subscriber


def _timed_by(inward: Mapping[tuple[str, str], MappingFile]) -> set[str]:
    """Return the systems that report time."""
    return {system for (system, _), mapping in inward.items() if mapping.kind == "time_entry"}


def paced(manifest: Manifest, configured: SystemSettings) -> Manifest:
    """Return the manifest with the share of the limits the workspace gives us."""
    share = {"per_second": configured.per_second, "concurrency": configured.concurrency}
    given = {name: value for name, value in share.items() if value is not None}
    return manifest.model_copy(update={"limits": manifest.limits.model_copy(update=given)}) if given else manifest


def patient(manifest: Manifest, configured: SystemSettings) -> Manifest:
    """Return the manifest with what the workspace says about late writes, reading back and writes that come back."""
    budget = configured.write_budget
    said = {
        "late_commit_seconds": configured.late_commit_seconds,
        "read_back_minutes": configured.read_back_minutes,
        "write_budget": None if budget is None else WriteBudget(turns=budget.turns, hours=budget.hours),
    }
    given = {name: value for name, value in said.items() if value is not None}
    if not given:
        return manifest

    def changed(write: Write) -> Write:
        fixed = {} if write.read_back_minutes is not None else {"read_back_minutes": None}  # it cannot be read back
        return write.model_copy(update=given | fixed)

    return manifest.model_copy(update={"writes": {name: changed(write) for name, write in manifest.writes.items()}})


def posting(configured: SystemSettings) -> Posting:
    """Return when documents may be posted into a system."""
    return Posting(
        tuple(
            Window(one.closed_from, one.closed_to, one.timezone, frozenset(one.kinds), frozenset(one.entities))
            for one in configured.posting_windows
        ),
        configured.closed_period,
    )


def default_ownership() -> str:
    """Return the ownership file that ships with the house."""
    return files("trueup.governance").joinpath("ownership.yaml").read_text("utf-8")


def firm(settings: Settings) -> Firm:
    """Return the firm's rules from its settings."""
    return Firm(
        settings.company,
        {
            code: LegalEntity(
                code,
                entity.name,
                entity.country,
                entity.currency,
                frozenset(entity.sells_to),
                close_blocks=frozenset(entity.close_blocks),
                numbering=_numbering(entity),
                bounds=bounds(entity),
                adjustment_limit=entity.adjustment_limit,
                letterhead=letterhead(entity),
            )
            for code, entity in settings.entities.items()
        },
        {
            code: Package(
                code,
                package.name,
                package.practice,
                package.department,
                frozenset(package.billing_methods),
                package.revenue_method,
                tuple(package.phases),
            )
            for code, package in settings.packages.items()
        },
        dict(settings.owners),
        schedules={line: _schedule(schedule) for line, schedule in settings.schedules.items()},
        transfer_prices=tuple(
            TransferPrice(one.lender, one.borrower, one.rule, one.value, one.valid_from)
            for one in settings.transfer_prices
        ),
        terms={_applies_to(one): _terms(name, one) for name, one in settings.terms.items()},
        list_rates=tuple(
            ListLine(
                f"{name}:{number}", line.role, line.resource, line.currency, line.rate, line.valid_from, line.valid_to
            )
            for name, card in settings.rates.items()
            for number, line in enumerate(card.lines, 1)
        ),
        fx_rates=tuple(
            FxRate(rate.day, rate.base, rate.to, rate.rate, rate.source, rate.purpose)
            for card in settings.rates.values()
            for rate in card.exchange
        ),
        obligations={code: _declaration(declared) for code, declared in settings.obligations.items()},
        late_revenue=settings.late_revenue,
        invoice_template=settings.invoice_template,
        entries_per_part=settings.entries_per_part or parts.SIZE,
        tax=_tax_rules(settings.tax) if settings.tax else None,
        prepayments=tuple(
            Prepayment(one.contract, one.legal_entity, one.key, one.received_on, one.currency, one.gross, one.tax)
            for one in settings.prepayments
        ),
        duplicates=settings.duplicates,
        labour_blocking=frozenset(settings.labour_blocking),
    )


def _tax_rules(said: TaxSettings) -> TaxRules:
    newest = sorted(said.vat_ids, key=lambda one: one.checked_on)
    return TaxRules(
        check_vat_ids=said.check_vat_ids,
        answers={one.vat_id.replace(" ", "").upper(): Answer(one.valid, one.checked_on) for one in newest},
        registered_in={code: tuple(one.registered_in) for code, one in said.entities.items()},
        states={
            code: {
                state.state: State(state.presence, None if state.rate is None else int(state.rate * 1_000_000))
                for state in one.states
            }
            for code, one in said.entities.items()
        },
        services={_applies_to(one): Service(one.category, one.used_in, one.code) for one in said.services},
        withholding=tuple(
            Withholding(one.entity, one.customer, one.rate, one.base, one.valid_from) for one in said.withholding
        ),
    )


def _declaration(declared: ContractObligations) -> Declaration:
    def quantities(given: list[QuantitySettings]) -> tuple[tuple[date, str, Decimal], ...]:
        return tuple(
            (one.effective_on, "minutes", one.quantity * 60)
            if one.measure == "hours"
            else (one.effective_on, one.measure, one.quantity)
            for one in given
        )

    return Declaration(
        declared.contract,
        declared.starts_on,
        declared.price,
        tuple(
            Declared(
                one.key,
                one.line,
                one.method,
                one.price,
                one.standalone_price,
                one.convention,
                one.service_from,
                one.service_to,
                one.completed_on,
                one.measured_from == "time",
                tuple((term.effective_on, term.kind, term.amount, term.service_to) for term in one.modifications),
                quantities(one.estimates),
                quantities(one.performed),
                tuple((r.effective_on, r.expected, r.threshold, r.share) for r in one.rebates),
            )
            for one in declared.obligations
        ),
        tuple(
            Advance(one.key, one.received_on, one.amount, one.functional, one.functional_currency)
            for one in declared.advances
        ),
    )


def letterhead(entity: EntitySettings) -> Letterhead | None:
    """Return what an entity's documents say of it, or None when its file does not say."""
    if entity.letterhead is None:
        return None
    said = entity.letterhead.model_dump()
    return Letterhead(
        **said
        | {"code": entity.code, "name": said["name"] or entity.name, "country": said["country"] or entity.country}
    )


def _applies_to(one: TermsSettings | ServiceSettings) -> tuple[str, str]:
    for scope in ("line", "contract", "package"):
        if key := getattr(one.applies_to, scope):
            return scope, key
    return "defaults", ""


def _terms(name: str, one: TermsSettings) -> Terms:
    """Return terms as billing knows them; what they stand on is told when the facts are read."""
    return Terms(
        name=name,
        rate_order=RateOrder(tiers=one.rate_order.tiers, by=one.rate_order.by),
        increment=Increment(one.increment.minutes, one.increment.direction, one.increment.scope),
        minimum_minutes=one.minimum_minutes_per_day,
        hours_2dp_first=one.hours_2dp_first,
        time_types={key: TimeType(kind.bill, kind.cost) for key, kind in one.time_types.items()},
        overtime=Overtime(**one.overtime.model_dump()) if one.overtime else None,
        daily_cap_minutes=one.daily_cap_minutes,
        cap_policy=one.cap_policy,
        warn_at=tuple(one.warn_at),
        task_caps=tuple(TaskCap(cap.task, cap.amount) for cap in one.task_caps),
        discount_share=one.discount_share,
        tiers=Tiers(
            one.tiers.kind,
            tuple(
                Step(None if step.up_to_hours is None else int(step.up_to_hours * 60), step.rate)
                for step in one.tiers.steps
            ),
            one.tiers.per,
        )
        if one.tiers
        else None,
        header_discount=one.header_discount_share,
        minimum=None if one.monthly_minimum is None else Minimum(one.monthly_minimum),
        po_required=one.po_required,
        purchase_orders=tuple(PurchaseOrder(**order.model_dump()) for order in one.purchase_orders),
        expenses={category: ExpenseRule(**rule.model_dump()) for category, rule in one.expenses.items()},
        exchange=Exchange(**one.exchange.model_dump()) if one.exchange else None,
        split_by=tuple(one.split_by),
        lines_by=tuple(one.lines_by),
        payers=tuple(Payer(payer.customer, payer.share) for payer in one.payers),
        roll_over=RollOver(one.roll_over.months, int(one.roll_over.cap_hours * 60), one.roll_over.use_first)
        if one.roll_over
        else None,
        retention_share=one.retention_share,
        late_work=one.late_work,
    )


def _numbering(entity: EntitySettings) -> Numbering | None:
    """Return how the hub numbers an entity's documents, or None when the ERP does."""
    if entity.numbering == "erp":
        return None
    prefixes: dict[str, str] = dict(PREFIXES)
    prefixes.update(entity.number_prefixes.items())
    return Numbering(entity.code, prefixes, entity.number_digits, entity.fiscal_year_starts)


def _check_numbering(entities: Mapping[str, LegalEntity], rules: Ownership) -> None:
    """Refuse a workspace whose files say different things about who numbers invoices.

    Raises    Broken when the hub numbers for an entity but may not set the number, or the other way round.
    """
    by_hub = sorted(code for code, entity in entities.items() if entity.numbering is not None)
    owner = rules.owner("invoice", "number", "posted")
    if by_hub and (owner != "hub" or len(by_hub) < len(entities)):
        raise Broken(
            f"the hub numbers the invoices of {', '.join(by_hub)} (entities/), and ownership.yaml gives invoice.number "
            f"to {owner}: set `number: hub` under invoice there, and `numbering: hub` for every entity"
        )


def _schedule(written: ScheduleSettings) -> Schedule:
    """Return a schedule as billing knows it.

    Raises    SettingsError when its parts do not fit together.
    """
    try:
        return Schedule(
            **written.model_dump(exclude={"prices", "progress"}),
            prices=tuple((one.valid_from, one.price) for one in written.prices),
            progress=tuple((one.on, one.share) for one in written.progress),
        )
    except ValueError as wrong:
        raise SettingsError(f"schedules/: {wrong}") from wrong


def bounds(entity: EntitySettings) -> Bounds:
    """Return the bounds of a legal entity: the usual ones, with what its file says.

    Raises    Broken naming the bound that does not exist, or that has no such value.
    """
    usual = Bounds()
    for name, value in entity.bounds.items():
        if name not in Bounds.__slots__:
            raise Broken(
                f"entities/{entity.code}.yaml: bounds: there is no bound {name}; see {', '.join(Bounds.__slots__)}"
            )
        switch = isinstance(getattr(usual, name), bool)
        fits = isinstance(value, bool) if switch else not isinstance(value, bool)
        if not fits or (value is None and name in ("mean_of", "mean_at_least")):
            raise Broken(f"entities/{entity.code}.yaml: bounds: {name} is {'true or false' if switch else 'a number'}")
    checked: dict[str, Any] = dict(entity.bounds)
    return replace(usual, **checked)


def _heard(systems: dict[str, System], inward: dict[tuple[str, str], MappingFile]) -> dict[str, dict[str, set[str]]]:
    found: dict[str, dict[str, set[str]]] = {}
    for (name, _), mapping in inward.items():
        role = systems[name].role
        found.setdefault(mapping.kind, {}).setdefault(role, set()).update(mapping.text.fields)
    return found


def _told(
    systems: dict[str, System], outward: dict[tuple[str, str, str], MappingFile]
) -> dict[str, dict[str, set[str]]]:
    """Return which canonical fields each role is told; a write-back's own words are no fields of the kind."""
    found: dict[str, dict[str, set[str]]] = {}
    for (kind, name, _), mapping in outward.items():
        if kind in ("expense_report", "contract") or kind.startswith(WITHDRAWN):
            continue
        role = systems[name].role
        sources = {str(next(iter(line.values()))).split(".")[0] for line in mapping.text.fields.values()}
        known_as = "invoice" if kind == "credit" else kind  # a credit is an invoice with a mapping of its own
        found.setdefault(known_as, {}).setdefault(role, set()).update(sources)
    return found
