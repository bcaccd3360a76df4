"""What every part of the local cloud stands on: the clock, errors, the event log, subprocesses."""
