"""A WidowX that is not there: its servos behind their serial protocol, and what they move."""
