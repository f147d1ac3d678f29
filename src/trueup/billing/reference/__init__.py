"""The rules of billing once more, in plain `Decimal`: short, readable, the definition the vectorised path must match."""
