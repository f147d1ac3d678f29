"""Run 0004_billing.sql."""

from trueup.store.migrate import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0004_billing.sql")
