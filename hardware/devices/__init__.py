"""Input devices of a person: gamepads, a SpaceMouse, a Meta Quest."""
