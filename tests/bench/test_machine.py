"""What is said about the machine: from the system's own text, and on this one."""

from __future__ import annotations

import re

from teastreams.bench.machine import machine, model_in


def test_the_model_is_that_of_the_first_processor() -> None:
    """Nothing where the text has none, as on ARM."""
    text = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz: fast\n\nmodel name\t: other\n"
    assert model_in(text) == "Some CPU @ 3 GHz: fast"
    assert model_in("processor\t: 0\nBogoMIPS\t: 50\n") == ""


def test_this_machine_has_it_all() -> None:
    """Names and numbers that a stranger can judge figures by."""
    told = machine()
    assert re.fullmatch(r"\w+ \S+", str(told["kernel"]))
    assert re.fullmatch(r"\w+ 3\.\d+\.\S+", str(told["python"]))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(told["date"]))
    assert told["processor"]
    assert isinstance(told["cores"], int)
    assert told["cores"] >= 1
    assert isinstance(told["load"], float)
