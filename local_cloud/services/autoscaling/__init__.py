"""Application Auto Scaling: targets, policies, schedules and the controller that acts on them."""
