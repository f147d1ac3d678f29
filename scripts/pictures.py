"""Takes the pictures of the README anew, from a demo that runs and whose story has ended: `make pictures`.

python scripts/pictures.py [ADDRESS] [DEMO FOLDER]
"""

import os
import sys
from pathlib import Path

from chromium import starting
from playwright.sync_api import Page, sync_playwright

PLACE = Path(__file__).resolve().parents[1] / "docs" / "images"
PAGES = {
    "work": "/work",
    "executive": "/executive",
    "flows": "/flows",
    "billing": "/billing",
    "compare": "/compare",
    "close": "/close",
    "intake": "/intake",
    "issues": "/issues",
    "project": "/projects/D07-US01",
    "invoice": "/invoices/D07-US01-2026-08",
}


def main() -> int:
    """Sign in and take one picture of each page; 1 when there is no browser or the demo does not answer."""
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8787"
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else ".trueup/demo")
    program = os.environ.get("TRUEUP_CHROMIUM") or starting()
    if program is None:
        print("pictures: no Chromium starts here", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        page = browser.new_page(viewport={"width": 1360, "height": 900}, color_scheme="light")
        page.goto(f"{address}/sign-in")
        page.fill("#token", (folder / "token").read_text("utf-8").strip())
        page.click("button.primary")
        page.wait_for_url("**/work")
        for name, path in PAGES.items():
            page.goto(f"{address}{path}")
            if name == "invoice":
                unfold(page)
            page.screenshot(path=PLACE / f"{name}.png")
            print(f"pictures: {name}")
        plan(page, address)
        page.screenshot(path=PLACE / "plan.png")
        print("pictures: plan")
        browser.close()
    return 0


def plan(page: Page, address: str) -> None:
    """Plan to judge again what the invoice was billed from, and stay on the plan: it says that nothing would change."""
    page.goto(f"{address}{PAGES['invoice']}")
    source = page.locator("a[href^='/messages/']").first.get_attribute("href")
    page.goto(f"{address}{source}")
    page.fill("#why", "shown to the auditor")
    page.click("form[action='/plans'] button")
    page.wait_for_url("**/plans/*")


def unfold(page: Page) -> None:
    """Open a line of the invoice, and its last charge, the one that crossed the cap, down to the bytes."""
    line = page.locator("details:not(details details)", has_text="Principal at").first
    line.locator(":scope > summary").click()
    charge = line.locator("details.charge").last
    charge.locator(":scope > summary").click()
    charge.locator("details > summary").first.click()
    page.evaluate(
        "top => window.scrollTo(0, top)", charge.evaluate("one => one.getBoundingClientRect().top + scrollY - 260")
    )


if __name__ == "__main__":
    sys.exit(main())
