"""IAM for the services we add: ministack's evaluator, called with AWS's actions, resources and keys."""

import json
from typing import Any

from ministack import app as ministack_app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.iam_evaluator import AuthError, enforce
from ministack.core.responses import get_account_id, get_region
from ministack.core.router import extract_access_key_id
from ministack.services import appconfig
from ministack.services import iam as roles

from local_cloud.core.errors import ServiceError


def require(headers: dict[str, str], iam_action: str, resource_arn: str, **condition_keys: str | None) -> None:
    """Raise AccessDeniedException unless the caller may; condition keys that are None are absent."""
    if not ministack_app.AUTH:
        return
    context = {key.replace("__", ":"): value for key, value in condition_keys.items() if value is not None}
    denied = enforce(
        extract_access_key_id(headers),
        iam_action,
        iam_action.split(":")[0],
        get_region(),
        resource_arn=resource_arn,
        service_context=context,
    )
    if denied is None:
        return
    if isinstance(denied, AuthError):
        raise ServiceError("UnrecognizedClientException", "The security token included in the request is invalid.")
    reason = (
        "with an explicit deny in an identity-based policy"
        if denied.decision == "Deny"
        else f"because no identity-based policy allows the {iam_action} action"
    )
    raise ServiceError(
        "AccessDeniedException",
        f"User: {denied.principal_arn} is not authorized to perform: {iam_action} on resource: {resource_arn} {reason}",
        status=403,
    )


_CONFIGURATION_DATA = {
    ("POST", "/configurationsessions"): "appconfig:StartConfigurationSession",
    ("GET", "/configuration"): "appconfig:GetLatestConfiguration",
}


def pin_request_origin(source_ip: str, _secure_transport: bool) -> None:
    """Plain HTTP on loopback counts as aws:SecureTransport, or every bucket that demands it would refuse."""
    _ministack_pin_request_origin(source_ip, True)


def action(service: str, method: str, path: str, *rest: Any) -> str | None:
    """ministack lets AppConfig's data calls pass unchecked: they sign as appconfig, with other paths."""
    known: str | None = _ministack_action(service, method, path, *rest)
    return _CONFIGURATION_DATA.get((method, path)) or known


def resource(service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any) -> str:
    """AppConfig's data calls name application, environment and profile.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsappconfig.html
    """
    if (method, path) not in _CONFIGURATION_DATA:
        return str(_ministack_resource(service, method, path, headers, body, *rest))
    session = _appconfig_session(path, body, rest[0])
    if session is None:
        return "*"
    application, environment, profile = session
    return (
        f"arn:aws:appconfig:{get_region()}:{get_account_id()}:application/{application}"
        f"/environment/{environment}/configuration/{profile}"
    )


def s3_context(
    action: str, query: dict[str, Any] | None, path: str = "", headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """ministack's condition keys of an S3 request, and those of conditional writes, which it does not know.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
    """
    context: dict[str, Any] = _ministack_s3_context(action, query, path, headers)
    if action == "s3:PutObject":
        # Starting a multipart upload, and its parts, create no object.
        creates = not {"uploads", "partNumber"} & (query or {}).keys()
        context["s3:ObjectCreationOperation"] = "true" if creates else "false"
        for name in ("if-none-match", "if-match"):
            if value := (headers or {}).get(name):
                context[f"s3:{name}"] = value
    return context


def condition_key(key: str, context: Any) -> Any:
    """ministack's value of a key; aws:PrincipalArn of a session is its role's ARN, not the session's own.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    value = _ministack_condition_key(key, context)
    if key.lower() == "aws:principalarn" and isinstance(value, str) and ":assumed-role/" in value:
        role = roles._roles.get(value.split("/")[1])
        return role["Arn"] if role else value
    return value


def _appconfig_session(path: str, body: bytes, query: dict[str, Any]) -> tuple[str, str, str] | None:
    if path.startswith("/configurationsessions"):
        request = json.loads(body or b"{}")
        application = appconfig._resolve_application_id(request.get("ApplicationIdentifier", ""))
        if not application:
            return None
        return (
            application,
            appconfig._resolve_environment_id(application, request.get("EnvironmentIdentifier", "")) or "",
            appconfig._resolve_configuration_profile_id(application, request.get("ConfigurationProfileIdentifier", ""))
            or "",
        )
    token = query.get("configuration_token", "")
    session = appconfig._sessions.get(token[0] if isinstance(token, list) else token)
    if session is None:
        return None
    return (
        session["ApplicationIdentifier"],
        session["EnvironmentIdentifier"],
        session["ConfigurationProfileIdentifier"],
    )


_ministack_pin_request_origin = ministack_app.pin_request_origin
_ministack_action = iam_actions.extract_iam_action
_ministack_resource = iam_actions.extract_resource_arn
_ministack_s3_context = iam_actions.s3_service_context
_ministack_condition_key = iam_evaluator._resolve_condition_key
