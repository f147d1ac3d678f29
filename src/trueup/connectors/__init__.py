"""One folder per vendor; everything about a vendor is in its folder."""
