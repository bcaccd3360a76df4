"""What would have happened to a trace on a fleet: the trace is served again, call by call."""
