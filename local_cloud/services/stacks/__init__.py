"""What runs on a stack at the same time: its operation, its cancellation, and what begins early."""
