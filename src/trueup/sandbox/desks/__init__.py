"""The desks people work at, one per product: what they do there in each stage of the story.

A desk first says what it misses (`lacks`), changing nothing, and then does the stage's work (`act`). Done again, the
work changes nothing: every record has an id or a reference that follows from the firm.
"""
