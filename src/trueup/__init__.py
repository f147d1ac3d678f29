"""Trueup keeps the systems of a professional services firm in agreement, from the won deal to the cash."""

__version__ = "0.1.0"
