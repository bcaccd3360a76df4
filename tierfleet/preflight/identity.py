"""Whose credentials they are."""

from collections.abc import Iterator

from tierfleet.preflight.finding import Account, Finding

AREA = "credentials"


def check(account: Account) -> Iterator[Finding]:
    """The credentials belong to the account that the fleet file names."""
    caller = account.client("sts").get_caller_identity()
    wanted = account.config.account
    if caller["Account"] == wanted:
        yield Finding(area=AREA, status="ok", message=f"account {wanted}, as {caller['Arn'].rpartition(':')[2]}")
        return
    yield Finding(
        area=AREA,
        status="problem",
        message=f"these credentials are for account {caller['Account']}, but the fleet file says {wanted}",
        remedy="set AWS_PROFILE to the fleet's account, or correct account in the fleet file",
    )
