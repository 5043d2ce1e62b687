"""The caller's side of a section: starting, watching, stopping, accounting."""
