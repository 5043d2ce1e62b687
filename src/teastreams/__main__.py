"""`python -m teastreams`: the command line.

Only the door; what it does and its exit codes are in `teastreams.cli.main`.
"""

import sys

from teastreams.cli.main import main

sys.exit(main())
