"""The AWS services that ministack does not emulate, or not as AWS does."""
