"""Recordings in the formats of other projects, there and back."""
