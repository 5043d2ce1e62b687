"""What was measured on: kernel, processor, cores, Python, date, and how busy it was when it began.

Figures without these say nothing to anybody else. What the system does not tell is left as "".
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from datetime import datetime, timezone
from typing import Union


def machine() -> dict[str, Union[str, int, float]]:
    """One value for each, ready for JSON. `load` is the average of the last minute."""
    return {
        "kernel": f"{platform.system()} {platform.release()}",
        "processor": processor() or platform.processor() or platform.machine(),
        "cores": cores(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "load": round(os.getloadavg()[0], 2),
    }


def cores() -> int:
    """Those that this process may use, where the system says; else all."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def processor() -> str:
    """The model as Linux names it; "" elsewhere."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        return model_in(file.read())
    return ""


def model_in(cpuinfo: str) -> str:
    """From the text of /proc/cpuinfo; on ARM there is none, and other lines say less."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return ""
