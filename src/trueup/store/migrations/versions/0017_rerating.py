"""Run 0017_rerating.sql."""

from trueup.store.migrate import run_file

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0017_rerating.sql")
