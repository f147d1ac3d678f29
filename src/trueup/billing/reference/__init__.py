"""The definition of each rule of billing, plain and slow: loops over `Decimal`, equal to the fast path bit for bit."""
