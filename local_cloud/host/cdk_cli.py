"""The real CDK CLI, pointed at the local emulator."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_cloud.core.disk_problems import disk_problem_printed, unwritable
from local_cloud.core.guarded import guard
from local_cloud.core.subprocesses import end_with_parent
from local_cloud.host.processes import LocalCloud

_REPOSITORY = Path(__file__).resolve().parents[2]
_CLI = _REPOSITORY / "node_modules" / ".bin" / "cdk"


class CdkError(RuntimeError):
    """The CDK CLI failed; the message is what it printed last."""


def environment(cloud: LocalCloud, account: str) -> dict[str, str]:
    """The variables by which the CDK CLI and any AWS SDK talk to the local emulator, and to nothing else."""
    return {
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        # A 12-digit access key is the account it belongs to.
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": cloud.region,
        "AWS_DEFAULT_REGION": cloud.region,
        # Without it an SDK asks the metadata service for credentials, and waits for its timeout.
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def bootstrap(cloud: LocalCloud, account: str, region: str) -> None:
    """`cdk bootstrap`, once per account and region."""
    ssm = cloud.client("ssm", account, region=region)
    versions = ssm.get_parameters(Names=["/cdk-bootstrap/hnb659fds/version"])
    if not versions["Parameters"]:
        # Outside the repository there is no cdk.json, so the CLI does not synthesise every fleet first.
        run(cloud, account, ["bootstrap", f"aws://{account}/{region}"], directory=cloud.state_dir)


def deploy(cloud: LocalCloud, account: str, stacks: Sequence[str], config: Path, *, synthesised: bool = False) -> str:
    """`cdk deploy` of these stacks (`<fleet>-<environment>/<stack>`) of the file or directory `config`; its output.

    `synthesised`: of the assembly that the last run left, without another synthesis.
    Raises CdkError where the deployment failed, for one whose stack rolled back too.
    """
    options = ["--exclusively", "--require-approval", "never", "--no-validation", "--progress", "events"]
    options += ["--app", str(_assembly(cloud))] if synthesised else ["--context", f"config={config.resolve()}"]
    return run(cloud, account, ["deploy", *stacks, *options])


def run(cloud: LocalCloud, account: str, arguments: Sequence[str], *, directory: Path = _REPOSITORY) -> str:
    """Run the CLI with these arguments, in the repository. Raises CdkError for another exit code than 0.

    Whatever interrupts it, Ctrl-C above all, ends the CLI and the app that it synthesises with; so does the end of
    this process.
    """
    if not _CLI.exists():
        raise CdkError(f"{_CLI} is missing; run make install")
    process = subprocess.Popen(
        [str(_CLI), *arguments, "--output", str(_assembly(cloud)), "--ci"],
        cwd=directory,
        env=_clean(os.environ) | environment(cloud, account) | _CLI_SETTINGS | _homes(cloud),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )
    guardian = None
    try:
        guardian = guard(process.pid, parent=os.getpid())
        printed = "".join(process.communicate())
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    finally:
        if guardian is not None:
            guardian.kill()
            guardian.wait()
    if process.returncode:
        # What the CLI says when it cannot write its own files is often about something else.
        disk = disk_problem_printed(printed, _assembly(cloud)) or unwritable(cloud.state_dir / "scratch")
        raise CdkError(disk or printed[-4000:])
    return printed


def _assembly(cloud: LocalCloud) -> Path:
    return cloud.state_dir / "scratch" / "cdk.out"


_CLI_SETTINGS = {
    "CDK_DISABLE_CLI_TELEMETRY": "true",
    "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "18,20",
}


def _homes(cloud: LocalCloud) -> dict[str, str]:
    # The CLI remembers which account a key belongs to, and would do so in the user's own home.
    return {
        "CDK_HOME": str(cloud.state_dir / "scratch" / "cdk-home"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


def _clean(variables: Mapping[str, str]) -> dict[str, str]:
    """Without the user's own AWS settings. Every variable that starts with CDK is an option to the CLI."""
    return {key: value for key, value in variables.items() if not key.startswith(("AWS_", "CDK_"))}
