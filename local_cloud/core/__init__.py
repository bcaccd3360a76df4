"""What every other part uses: the clock, errors, the event log, subprocesses."""
