"""An artefact and its model; the server, the publisher and the local emulator share this package."""
