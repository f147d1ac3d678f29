"""Makes sure that browser tests have a Chromium that starts; installs one where it is missing.

Looked for in this order: TRUEUP_CHROMIUM, a Chromium or Chrome on the PATH, Playwright's own. Where none starts, Debian
gets its `chromium` package (as root, or through sudo without a password), everything else Playwright's own download.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def candidates(own: str) -> list[str]:
    """Return the programs worth a try.

    own  where Playwright keeps its browser, whether there is one or not
    """
    named = os.environ.get("TRUEUP_CHROMIUM")
    found = [named] if named else [path for name in NAMES if (path := shutil.which(name))]
    return [path for path in (*found, own) if Path(path).exists()]


def starting() -> str | None:
    """Return the program that starts and loads a page; None when none does."""
    with sync_playwright() as playwright:
        for path in candidates(playwright.chromium.executable_path):
            try:
                browser = playwright.chromium.launch(executable_path=path)
                page = browser.new_page()
                page.goto("data:text/html,<title>ready</title>")
                title = page.title()
                browser.close()
            except Error:
                continue
            if title == "ready":
                return path
    return None


def debian() -> bool:
    """Say whether this is Debian itself: Ubuntu's package of that name is only a pointer to another store."""
    release = Path("/etc/os-release")
    return release.is_file() and "ID=debian" in release.read_text("utf-8").splitlines()


def install() -> None:
    """Install a Chromium the way this machine allows; what goes wrong is on stderr."""
    root: list[str] | None = [] if os.geteuid() == 0 else ["sudo", "-n"] if shutil.which("sudo") else None
    if debian() and root is not None:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*root, "apt-get", "update", "-q"], env=environment, stdout=sys.stderr, check=False)
        packages = ["chromium", "fonts-liberation"]
        command = [*root, "apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        if subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode == 0:
            return
    extra = ["--with-deps"] if root == [] and sys.platform.startswith("linux") else []
    subprocess.run(
        [sys.executable, "-m", "playwright", "install", *extra, "chromium"],
        stdout=sys.stderr,
        check=False,
    )


def main() -> int:
    """Print the path of a Chromium that starts; 1 when there is none and none could be installed."""
    found = starting()
    if found is None:
        print("chromium: none starts here; installing one", file=sys.stderr)
        install()
        found = starting()
    if found is None:
        print(
            "chromium: NONE COULD BE INSTALLED, so the tests in a browser are left out. Install Chromium or Chrome with\n"
            "this system's package manager, or name one: make test TRUEUP_CHROMIUM=path/to/chromium",
            file=sys.stderr,
        )
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
