"""An artefact and the model in it: what the server, the publisher and the local cloud share."""
