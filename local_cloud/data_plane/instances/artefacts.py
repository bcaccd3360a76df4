"""Model artefacts from S3 to an instance's disk: streamed at the configured speed, and unpacked safely."""

import asyncio
import contextlib
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

from botocore.exceptions import BotoCoreError, ClientError
from tierfleet_server.model.archive import unpack
from tierfleet_server.model.refusal import BadModel

from local_cloud.core.disk_problems import disk_problem, is_disk_problem
from local_cloud.data_plane.instances.role_clients import Reader, RoleClients
from local_cloud.data_plane.invocation_errors import disk_full, missing_model_data, model_error, storage_failed
from local_cloud.data_plane.settings import DataPlaneSettings

_DOWNLOADS_AT_A_TIME = 8
_BLOCK_BYTES = 1 << 18
# S3 answers 403 for a missing key that the caller may not list.
_MISSING = ("NoSuchKey", "NoSuchBucket", "404", "AccessDenied", "403")


@dataclass
class Artefacts:
    """Fetches artefacts with the execution role's credentials if IAM is enforced, else with the account's."""

    ministack_url: str
    settings: DataPlaneSettings
    failing: bool = False  # the fault "S3 does not answer"
    _clients: RoleClients = field(init=False)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_DOWNLOADS_AT_A_TIME, "artefacts"))

    def __post_init__(self) -> None:
        self._clients = RoleClients(self.ministack_url, _DOWNLOADS_AT_A_TIME)

    async def fetch(self, reader: Reader, url: str, directory: Path, *, max_bytes: int) -> int:
        """Unpack the artefact at `url` (s3://bucket/key) into a new directory. Returns the bytes that it takes there.

        Raises ServiceError, as InvokeEndpoint answers it, and leaves nothing.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._fetch, reader, url, directory, max_bytes)

    def _fetch(self, reader: Reader, url: str, directory: Path, max_bytes: int) -> int:
        # A key may contain #.
        parsed = urlparse(url, allow_fragments=False)
        bucket, key = parsed.netloc, url.removeprefix(f"s3://{parsed.netloc}/")
        packed = directory.with_name(directory.name + ".tar.gz")
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            self._download(reader, bucket, key, packed, max_bytes)
            unpack(packed, directory, max_bytes=max_bytes)
        except BadModel as error:
            cause = error.__context__
            if isinstance(cause, OSError) and is_disk_problem(cause):  # not the artefact's fault
                raise disk_full(disk_problem(cause, directory)) from None
            if "unpacks to more than" in str(error):
                raise disk_full(str(error)) from None
            raise model_error(400, str(error).encode()) from None
        except OSError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise disk_full(disk_problem(error, directory)) from None
        finally:
            with contextlib.suppress(OSError):
                packed.unlink(missing_ok=True)
        return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file())

    def _download(self, reader: Reader, bucket: str, key: str, packed: Path, max_bytes: int) -> None:
        if self.failing:
            raise storage_failed("injected fault")
        started = time.monotonic()
        time.sleep(self.settings.s3_first_byte_milliseconds / 1000)
        try:
            answer = self._clients.client("s3", reader).get_object(Bucket=bucket, Key=key)
            # Before the first byte: a full disk would make the other models fail too.
            if answer["ContentLength"] > max_bytes:
                raise disk_full(f"{answer['ContentLength']} bytes to download, {max_bytes} free")
            received = 0
            with packed.open("wb") as file:
                while block := answer["Body"].read(_BLOCK_BYTES):
                    file.write(block)
                    received += len(block)
                    self._pace(started, received)
                    if self.failing:
                        raise storage_failed("injected fault")
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                raise missing_model_data(bucket, key) from None
            raise storage_failed(str(error)) from None
        except BotoCoreError as error:
            raise storage_failed(str(error)) from None
        except OSError as error:
            raise disk_full(disk_problem(error, packed)) from None

    def _pace(self, started: float, received_bytes: int) -> None:
        if self.settings.s3_mb_per_second:
            seconds = self.settings.s3_first_byte_milliseconds / 1000
            seconds += received_bytes / (self.settings.s3_mb_per_second * 10**6)
            time.sleep(max(0.0, started + seconds - time.monotonic()))
