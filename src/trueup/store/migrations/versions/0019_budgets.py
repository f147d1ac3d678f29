"""Run 0019_budgets.sql."""

from trueup.store.migrate import run_file

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0019_budgets.sql")
