"""Run 0001_inbox.sql."""

from trueup.store.migrate import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0001_inbox.sql")
