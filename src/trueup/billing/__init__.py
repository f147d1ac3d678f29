"""What is it worth? Rating, caps, holds, grouping, tax, revenue, margin, journals; frames in, frames out."""
