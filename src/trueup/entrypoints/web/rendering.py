"""Turns a page's facts into HTML: templates, the frame around every page, and the headers that keep scripts out."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from trueup import __version__
from trueup.entrypoints.web import wording
from trueup.entrypoints.web.visitor import SCOPES, Desk
from trueup.kernel.clock import now
from trueup.kernel.strict_json import write
from trueup.pipeline.house import House
from trueup.reporting import work
from trueup.reporting.evidence import indented
from trueup.store.database import Tx

HERE = Path(__file__).parent
STATIC = HERE / "static"

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}

NAVIGATION = (
    ("work", "/work", "Work", "work:read"),
    ("flows", "/flows", "Flows", "work:read"),
    ("issues", "/issues", "Issues", "work:read"),
    ("billing", "/billing", "Billing", "money:read"),
    ("projects", "/projects", "Projects", "money:read"),
    ("compare", "/compare", "Compare", "money:read"),
    ("close", "/close", "Month end", "money:read"),
    ("executive", "/executive", "Executive", "money:read"),
    ("metrics", "/metrics", "Figures", "money:read"),
)
BEHIND_MORE = (
    ("einvoices", "/einvoices", "E-invoices", "money:read"),
    ("quarantine", "/quarantine", "Quarantine", "work:read"),
    ("plans", "/plans", "Plans", "work:read"),
    ("intake", "/intake", "Intake", "work:read"),
    ("events", "/events", "Events", "work:read"),
    ("labour", "/labour", "Labour", "work:read"),
)
"""Pages one goes to for a question, not every day: behind one entry, so that the bar stays one line."""

DONE: Mapping[str, str] = {
    "released": "released, with your reason kept. The next billing run looks at the fact again.",
    "closing": "started; the checklist follows by itself.",
    "accepted": "accepted, with your name and reason kept. Close again to go on.",
    "proposed": "asked, with your reason kept. Another person approves it.",
    "reopened": "reopened; its snapshot is kept, and closing it again shows what differs.",
    "assigned": "given, and the break says so.",
    "noted": "kept with the break.",
    "accepted_break": "accepted, with your name and reason kept; that ends when the difference becomes another one.",
    "repairing": "under way. The break ends with the tie-out that finds both sides the same.",
    "prepared": "prepared. Another person signs it.",
    "signed": "signed off, with both names and the hash of what was signed.",
    "unsigned": "reopened; what was signed, by whom and why it was reopened is kept.",
    "restarted": "queued again; remembered steps are not done twice.",
}
"""What an action says when it is done, after the number of things."""


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        digits=wording.digits,
        count=wording.count,
        number=wording.number,
        times=wording.times,
        sentence=wording.sentence,
        hours=wording.hours,
        took=wording.took,
        span=wording.span,
        instant=wording.instant,
        day=wording.day,
        month=wording.month,
        plainly=wording.plainly,
        word=wording.word,
        status_of=wording.status_of,
        kind_name=wording.kind_name,
        named=wording.named,
        indented=indented,
        as_json=lambda value: indented(write(value).decode()),
    )
    environment.globals.update(
        roles=wording.ROLES,
        scopes=SCOPES,
        navigation=NAVIGATION,
        behind_more=BEHIND_MORE,
        static=_static_paths().__getitem__,
        version=__version__,
    )
    return environment


def _static_paths() -> dict[str, str]:
    """Return name -> path with the file's digest, so that a browser may keep it for ever."""
    return {
        path.relative_to(STATIC).as_posix(): f"/static/{path.relative_to(STATIC).as_posix()}?v={_digest(path)}"
        for path in sorted(STATIC.rglob("*"))
        if path.is_file()
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]


_TEMPLATES = _environment()


def titles(house: House) -> dict[str, str]:
    """Return each system's name as its maker writes it."""
    return {name: system.connector.manifest.title for name, system in house.systems.items()}


def show(
    desk: Desk,
    tx: Tx,
    template: str,
    *,
    here: str,
    title: str,
    cli: str = "",
    listed: list[work.Work] | None = None,
    status: int = 200,
    **facts: Any,
) -> HTMLResponse:
    """Render a page inside the frame.

    here    which entry of the navigation is lit
    cli     the command that says the same
    listed  the list of work, when the page has it already
    """
    query = desk.request.query_params
    done = DONE.get(query.get("done", ""))
    number = query.get("count", "")
    context = {
        "title": title,
        "here": here,
        "cli": cli,
        "desk": desk,
        "visitor": desk.visitor,
        "company": desk.house.firm.name,
        "titles": titles(desk.house),
        "headline": work.headline(tx, listed),
        "moment": now(),
        "sees_money": desk.can("money:read"),
        "sees_cost": desk.can("cost:read"),
        "may_act": desk.can("act"),
        "done": f"{number if number.isdigit() else 'It was'} {done}" if done else "",
        "refused": query.get("refused", "")[:300],
        "path": desk.request.url.path,
        "query": query,
        **facts,
    }
    return HTMLResponse(_TEMPLATES.get_template(template).render(context), status, headers=dict(HEADERS))


def show_bare(template: str, *, title: str, status: int = 200, **facts: Any) -> HTMLResponse:
    """Render a page without the frame: sign-in, and what went wrong."""
    context = {"title": title, "moment": now(), **facts}
    return HTMLResponse(_TEMPLATES.get_template(template).render(context), status, headers=dict(HEADERS))
