"""Run 0020_sweeps.sql."""

from trueup.store.migrate import run_file

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0020_sweeps.sql")
