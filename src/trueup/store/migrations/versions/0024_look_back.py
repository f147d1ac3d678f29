"""Run 0024_look_back.sql."""

from trueup.store.migrate import run_file

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0024_look_back.sql")
