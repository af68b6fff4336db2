"""Work spread over processes, and work done ahead by a thread."""
