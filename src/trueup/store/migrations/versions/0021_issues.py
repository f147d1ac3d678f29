"""Run 0021_issues.sql."""

from trueup.store.migrate import run_file

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0021_issues.sql")
