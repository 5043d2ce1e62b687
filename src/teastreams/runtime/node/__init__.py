"""The child's side of one node's worker: wiring, running, reporting."""
