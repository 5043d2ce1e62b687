"""Nodes that misbehave, by name: what each does, and how a run with it has to end."""
