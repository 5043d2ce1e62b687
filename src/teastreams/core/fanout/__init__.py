"""Who is owed which bytes of one stream, within limits, and how records and memory are counted."""
