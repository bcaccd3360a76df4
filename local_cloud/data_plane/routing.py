"""Which instance takes a request.

AWS says that requests for a model keep going to the instance that has it and that another loads it too under load,
not how it chooses or from what load on; that part is our reading.
https://docs.aws.amazon.com/sagemaker/latest/dg/multi-model-endpoints.html
"""

import zlib
from collections.abc import Sequence

from local_cloud.data_plane.instances.instance import Instance


def dedicated_instance(instances: Sequence[Instance]) -> Instance | None:
    """The instance with the fewest requests; None if no instance is in service."""
    return min((i for i in instances if i.in_service), key=lambda i: i.requests_in_flight, default=None)


def multi_model_instance(instances: Sequence[Instance], model: str, *, spill_in_flight: int) -> Instance | None:
    """The first instance that has the model and is not busy with it, else the least busy one that has it.

    An instance that has it on disk, or has room, comes before one that would have to evict for it.
    """
    able = [instance for instance in instances if instance.in_service and instance.cache is not None]
    if not able:
        return None
    holders = [instance for instance in able if instance.cache and instance.cache.holds(model)]
    for holder in holders:
        if holder.in_flight[model] < spill_in_flight:
            return holder
    if holders:
        return min(holders, key=lambda holder: holder.in_flight[model])
    return _roomiest(able, model)


def spill_target(instances: Sequence[Instance], model: str, *, spill_in_flight: int) -> Instance | None:
    """The instance that should load the model too, if all that have it are busy with it; None if there is none."""
    able = [instance for instance in instances if instance.in_service and instance.cache is not None]
    others = [instance for instance in able if instance.cache and not instance.cache.holds(model)]
    holders = [instance for instance in able if instance not in others]
    if not others or not holders or any(holder.in_flight[model] < spill_in_flight for holder in holders):
        return None
    return _roomiest(others, model)


def _roomiest(instances: Sequence[Instance], model: str) -> Instance:
    """The cheapest instance for the model: one with room (on disk first, then the emptiest), else one with it on disk.

    Equals are told apart by a hash of model and instance, so that the same model comes back to the same one.
    """

    def cost(instance: Instance) -> tuple[bool, bool, int, int]:
        cache = instance.cache
        if cache is None:
            raise ValueError(f"instance {instance.id} has no cache")
        models = len(cache.memory) + len(cache.loading)
        on_disk = model in cache.disk.models
        return cache.full, not on_disk, 0 if cache.full else models, zlib.crc32(f"{instance.id}/{model}".encode())

    return min(instances, key=cost)
