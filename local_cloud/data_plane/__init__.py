"""The data plane: a process of its own that runs the endpoints' instances and answers InvokeEndpoint.

It holds the public port. Everything that is not InvokeEndpoint goes on to the emulator, byte for byte.
Nothing here imports the emulator: the control plane says over a socket what should run.
"""
