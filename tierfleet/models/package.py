"""From a model file to the artefact that is published."""

from tierfleet.models.files import ModelFile


def package_file(model: ModelFile) -> bytes:
    """The tar.gz of a model file; one that is packaged already is taken as it is.

    Raises ValueError with one sentence for a model that must not be served.
    """
    content = model.file.read_bytes()
    if model.packaged:
        return content
    # Needs XGBoost: the extra "models".
    from tierfleet_server.packaging import package_model
    from tierfleet_server.refusal import BadModel

    try:
        archive, _ = package_model(content)
    except BadModel as error:
        raise ValueError(f"{model.file}: {error}") from error
    return archive
