"""`YAMLEngine`: documents in, graphs out.

Reading and checking are `workflow`'s; this is its public face. Loading executes nothing of a document.
"""

from __future__ import annotations

import os
from typing import Union

from teastreams.engine.declaring.state_graph import StateGraph
from teastreams.workflow import load


class YAMLEngine:
    """Loads workflow documents. Loading executes nothing of them; running one is running a program (see the README)."""

    def load_from_file(self, path: Union[str, os.PathLike[str]]) -> StateGraph:
        """The graph of a YAML file; `WorkflowError` lists every problem as file:line:column."""
        return StateGraph.from_graph(load.load_file(path))

    def load_from_string(self, text: str, name: str = "<string>") -> StateGraph:
        """The graph of a YAML text; `name` stands for the file in messages and tracebacks."""
        return StateGraph.from_graph(load.load_text(text, name))
