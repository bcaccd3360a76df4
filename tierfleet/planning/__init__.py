"""The planner: traffic in, then hit ratios, tiers, sizes and costs. Needs the extra `planning`; knows no CDK."""
