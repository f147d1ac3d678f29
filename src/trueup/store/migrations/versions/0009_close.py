"""Run 0009_close.sql."""

from trueup.store.migrate import run_file

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0009_close.sql")
