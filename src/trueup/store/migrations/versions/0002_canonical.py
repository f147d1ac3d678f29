"""Run 0002_canonical.sql."""

from trueup.store.migrate import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0002_canonical.sql")
