"""The local cloud from outside: its process, the CDK CLI on it, and assemblies deployed into it."""
