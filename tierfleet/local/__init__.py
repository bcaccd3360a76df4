"""A fleet on this machine: its deployment, its status, and traffic for it."""
