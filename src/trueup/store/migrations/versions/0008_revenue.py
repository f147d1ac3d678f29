"""Run 0008_revenue.sql."""

from trueup.store.migrate import run_file

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0008_revenue.sql")
