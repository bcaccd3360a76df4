"""What the planner says when its input is no good."""


class PlanningInputError(ValueError):
    """A trace, a rates table or a size that cannot be planned with. The message says what, where and what to do."""
