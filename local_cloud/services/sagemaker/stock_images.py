"""ECR's BatchGetImage with AWS's stock images in it: they are in the repositories of AWS's own accounts.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html
"""

import hashlib
from typing import Any

from ministack.core.responses import get_region, json_response
from ministack.services import ecr

from tierfleet import images

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def batch_get_image(request: dict[str, Any]) -> Any:
    region, name = get_region(), request.get("repositoryName", "")
    published = {
        images.ecr_parts(images.stock_image_uri(name, version, region))[2]["imageTag"]
        for version in images.STOCK_VERSIONS.get(name, ())
        if region in images.publishing_accounts()
    }
    if not published or request.get("registryId") != images.publishing_accounts()[region]:
        return _ministack_batch_get_image(request)
    described, failures = [], []
    for image_id in request.get("imageIds", []):
        tag = image_id.get("imageTag")
        if tag in published:
            digest = f"sha256:{hashlib.sha256(f'{name}:{tag}'.encode()).hexdigest()}"
            image = {"registryId": request["registryId"], "repositoryName": name, "imageManifest": "{}"}
            image |= {"imageId": {"imageTag": tag, "imageDigest": digest}, "imageManifestMediaType": _MANIFEST}
            described.append(image)
        else:
            reason = {"failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
            failures.append({"imageId": image_id, **reason})
    return json_response({"images": described, "failures": failures})


_ministack_batch_get_image = ecr._batch_get_image
