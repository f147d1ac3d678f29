"""Builds the house once from settings: database, connectors, mappings, ownership; hands it down."""

from collections.abc import Callable
from importlib.resources import files

from trueup import engine
from trueup.connectors.sdk import registry
from trueup.connectors.sdk.manifest import Manifest
from trueup.connectors.sdk.wire import Connection
from trueup.governance import ownership
from trueup.kernel.errors import Broken
from trueup.mapping.file import MappingFile
from trueup.mapping.file import load as load_mapping
from trueup.pipeline import edition
from trueup.pipeline.house import Firm, House, LegalEntity, Package, System
from trueup.processes.reactions import REACTIONS
from trueup.settings import Settings, SystemSettings
from trueup.store import cursors, embedded, inbox, migrate
from trueup.store.database import Database

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
        connection = Connection(
            system=name,
            base_url=configured.base_url,
            credentials={key: settings.secret(value) for key, value in configured.credentials.items()},
            token_url=configured.token_url,
            webhook_secret=settings.secret(configured.webhook_secret),
            options=configured.options,
        )
        systems[name] = System(
            name, connector.manifest.role, connector, connector.client(connector.manifest, connection)
        )
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
    house = House(database, systems, inward, outward, rules, firm(settings), list(REACTIONS))
    with database.transaction() as tx:
        for system in systems.values():
            cursors.register(tx, system.name, system.connector.name, system.role)
        edition.keep(tx, house, settings.ownership or default_ownership())
        for mapping in inward.values():
            inbox.judge_again(tx, mapping.name, mapping.version)
    return house


def paced(manifest: Manifest, configured: SystemSettings) -> Manifest:
    """Return the manifest with the share of the limits the workspace gives us."""
    share = {"per_second": configured.per_second, "concurrency": configured.concurrency}
    given = {name: value for name, value in share.items() if value is not None}
    return manifest.model_copy(update={"limits": manifest.limits.model_copy(update=given)}) if given else manifest


def default_ownership() -> str:
    """Return the ownership file that ships with the house."""
    return files("trueup.governance").joinpath("ownership.yaml").read_text("utf-8")


def firm(settings: Settings) -> Firm:
    """Return the firm's rules from its settings."""
    return Firm(
        settings.company,
        {
            code: LegalEntity(code, entity.name, entity.country, entity.currency, frozenset(entity.sells_to))
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
    )


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
        if kind in ("expense_report", "contract"):
            continue
        role = systems[name].role
        sources = {str(next(iter(line.values()))).split(".")[0] for line in mapping.text.fields.values()}
        found.setdefault(kind, {}).setdefault(role, set()).update(sources)
    return found
