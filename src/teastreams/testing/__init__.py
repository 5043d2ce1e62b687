"""For tests of nodes: `run_node` runs one without a graph; `teastreams.testing.plugin` finds leaks."""

from teastreams.testing.node import NodeRun, run_node

__all__ = ["NodeRun", "run_node"]
