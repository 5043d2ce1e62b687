"""`teastreams bench`: what streams cost on this machine, beside what the system does without them.

`tasks` says what is compared, `measuring` takes the times in alternating rounds, `figures` makes medians and ratios of
them, and `table`, `drawing` and `as_json` show the same figures.
"""
