"""CloudFormation: nested stacks, clean-up, schemas and resource types."""
