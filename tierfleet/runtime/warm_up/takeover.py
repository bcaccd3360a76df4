"""Whether a new multi-model endpoint may take over from the one that serves its tier.

The routes send all traffic to the new endpoint at once, and no canary watches that. The warm gate's probes are the only
evidence. So the gate compares: a tenant that the new endpoint fails and the old endpoint answers would lose service.
A model that neither endpoint can serve is a bad model, and holds up no deployment.
"""

from collections.abc import Callable, Sequence
from typing import Final

from tierfleet.runtime.warm_up.report import WarmUpReport

MAX_REGRESSED_SHARE: Final = 0.02
"""Share of the tenants probed, 0 to 1, that may fail on the new endpoint only. With fewer than 50 probes, none may."""

MAX_COMPARED: Final = 50
"""Tenants asked for at the old endpoint, hottest first. It serves live traffic, and a bad model costs it a load."""

COMPARISON_SECONDS: Final = 60.0
"""How long the old endpoint may take to answer for all of them."""

MAX_NAMED: Final = 10
"""Tenants named in the reason. CloudFormation shows some 1,000 characters of it; the log names all of them."""


def refusal(
    report: WarmUpReport, *, endpoint_name: str, old_endpoint: str, probe_old: Callable[[Sequence[str]], WarmUpReport]
) -> str | None:
    """Why the new endpoint must not get the routes, in one sentence; None if it may.

    `report` is the warm-up of `endpoint_name`. `probe_old` probes these tenants at `old_endpoint`, and is called only
    where the new endpoint failed more tenants than may fail. Whatever it raises counts as an answer for every tenant:
    without a comparison, the failures are the new endpoint's.
    """
    failed = report.probe_errors
    probed = len(report.warmed) + len(failed)
    if not report.warmed and (reasons := {**report.failed, **failed}):
        return (
            f"endpoint {endpoint_name} does not serve, {old_endpoint} still does; "
            f"none of {len(reasons)} probes was answered: {next(iter(reasons.values()))}"
        )
    allowed = int(MAX_REGRESSED_SHARE * probed)
    if len(failed) <= allowed:
        return None
    asked = list(failed)[:MAX_COMPARED]
    try:
        old = probe_old(asked)
    except Exception:
        regressed = asked
    else:
        bad_models = {*old.failed, *old.missing, *old.skipped}
        regressed = [tenant for tenant in asked if tenant not in bad_models]
    if len(regressed) * len(failed) <= allowed * len(asked):
        return None
    named = ", ".join(regressed[:MAX_NAMED])
    if len(regressed) > MAX_NAMED:
        named += f" and {len(regressed) - MAX_NAMED} more"
    return (
        f"endpoint {endpoint_name} fails tenants that {old_endpoint} serves: {len(failed)} of {probed} probes failed, "
        f"and the old endpoint answers {len(regressed)} of the {len(asked)} tenants compared: {named}. "
        f"{regressed[0]}: {failed[regressed[0]]}. At most {MAX_REGRESSED_SHARE:.0%} of the tenants probed may fail on "
        "the new endpoint only. Correct the image or its settings, publish models that it can serve, or take these "
        "tenants off the warm-up list"
    )
