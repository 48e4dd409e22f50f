"""Robots, cameras and input devices of the real-robot experiment (Sec. VI) have their place here."""
