"""From a trained model, saved by any version, to the artefact that is published."""
