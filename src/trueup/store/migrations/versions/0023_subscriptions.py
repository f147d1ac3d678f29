"""Run 0023_subscriptions.sql."""

from trueup.store.migrate import run_file

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0023_subscriptions.sql")
