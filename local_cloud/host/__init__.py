"""The local emulator from outside: its process, the CDK CLI on it, and assemblies deployed into it."""
