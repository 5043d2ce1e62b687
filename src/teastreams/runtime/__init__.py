"""The floor that meets the operating system.

`calls` comes first, whatever is imported: it says in words when this system is none that we can run on.
"""

from teastreams.runtime import calls as calls
