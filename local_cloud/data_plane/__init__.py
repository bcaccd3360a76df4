"""The data plane: a process of its own that runs the endpoints' instances and answers InvokeEndpoint.

It holds the public port. Everything that is not InvokeEndpoint goes on to ministack, byte for byte.
Nothing here imports ministack: the control plane says over a socket what should run.
"""
