"""The executors of one run, each made when the first branch or section asks for it.

They bring the larger part of the runtime with them: the supervisor, the fan-out worker, threads. A workflow of plain
nodes, a document that is only validated, and the command line's other commands load nothing of that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Mapping, Optional

from teastreams.core.control.bodies import all_within
from teastreams.core.graph import Graph
from teastreams.errors import NodeError
from teastreams.executors.circuits import Circuits

if TYPE_CHECKING:
    from teastreams.executors.process import ProcessExecutor
    from teastreams.executors.thread import Stop, ThreadExecutor
    from teastreams.runtime.supervision.supervisor import Supervisor


def load_for(graph: Graph) -> None:
    """Load now what runs of this graph will need: where descriptors or memory have run out, nothing can be imported."""
    graphs = (graph, *all_within(graph))
    streaming = any(node.streaming for each in graphs for node in each.nodes)
    if any(node.body is not None for each in graphs for node in each.nodes):
        import_module("teastreams.engine.bodies")
    if streaming or any(edge.parallel for each in graphs for edge in each.edges) or len(graphs) > 1:
        for name in ("engine.sections", "executors.process"):
            import_module(f"teastreams.{name}")
    if any(edge.parallel and edge.stream_mode == "direct" for each in graphs for edge in each.edges) or len(graphs) > 1:
        import_module("teastreams.executors.thread")  # every library in the memory of the caller makes each fork slower


class Executors:
    """`circuits` are those of the runs before, `stop` is what stops the thread of a branch that this runs in."""

    def __init__(
        self, own_streams: Mapping[str, int], stepwise: bool, circuits: Optional[Circuits], stop: Optional[Stop]
    ) -> None:
        self._own_streams, self._stepwise, self._stop = own_streams, stepwise, stop
        self.circuits = circuits or Circuits()
        self._process: Optional[ProcessExecutor] = None
        self._thread: Optional[ThreadExecutor] = None
        self._progress_seconds: Optional[float] = None

    @property
    def process(self) -> ProcessExecutor:
        """For sections, and for branches in processes."""
        if self._process is None:
            from teastreams.executors.process import ProcessExecutor

            self._process = ProcessExecutor(self._own_streams, self._stepwise, self.circuits)
            self._process.progress_seconds = self._progress_seconds
        return self._process

    @property
    def thread(self) -> ThreadExecutor:
        """For branches in threads."""
        if self._thread is None:
            from teastreams.executors.thread import ThreadExecutor

            self._thread = ThreadExecutor(circuits=self.circuits, above=self._stop)
        return self._thread

    @property
    def at_work(self) -> Optional[Supervisor]:
        """Who is at work right now; None between two steps and in a plain node."""
        return None if self._process is None else self._process.current

    def errors(self) -> dict[str, NodeError]:
        """Of the branches that failed last time, by name."""
        made = [each for each in (self._thread, self._process) if each is not None]
        return {name: error for executor in made for name, error in executor.errors.items()}

    def report_progress(self, every_seconds: Optional[float]) -> None:
        """Ask for `Progress` events of everything that runs in workers; None for none."""
        self._progress_seconds = every_seconds
        if self._process is not None:
            self._process.progress_seconds = every_seconds
