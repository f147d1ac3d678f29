"""What does a vendor's record mean? Declarative files, a closed vocabulary, examples inside."""
