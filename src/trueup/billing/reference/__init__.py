"""The definitions: billing in plain Decimal loops, one module per area, the judge of the vectorised path."""
