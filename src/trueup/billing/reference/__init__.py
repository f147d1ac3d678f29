"""The definition of every rule of billing, in plain Decimal, one fact at a time; the vectorised path must agree."""
