"""What must not come out (`redaction`), and what must not be followed (`trust`)."""
