"""Which endpoint serves a tenant, as an AppConfig hosted configuration."""

import json
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_appconfig as appconfig
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct, IDependable

from constructs_lib import arns
from constructs_lib.alarms import AlarmAudience, AlarmSpec, add_alarm
from constructs_lib.metric import fleet_metric
from tierfleet.config import FleetConfig, routes
from tierfleet.config.hosted_routes import hosted_routes
from tierfleet.runtime import metrics
from tierfleet.runtime.names import ROUTES_PROFILE, routes_application
from tierfleet.runtime.warm_up.route_guard import RESOURCE_TYPE


class RouteTable(Construct):
    """The route document and everything that hosts it, except its Deployment.

    `RouteTable(self, "Routes", config=config, audience=audience).document` is the hosted version.

    Defines AWS::AppConfig::Application, ConfigurationProfile (with a draft-04 validator), HostedConfigurationVersion,
    DeploymentStrategy and Environment (with one monitor: the clients' RouteErrors).
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: FleetConfig, audience: AlarmAudience) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self.hosted = hosted_routes(config)
        application = appconfig.CfnApplication(
            self, "Application", name=routes_application(config.fleet, config.environment)
        )
        self.application_id = application.ref
        profile = appconfig.CfnConfigurationProfile(
            self,
            "Profile",
            application_id=application.ref,
            name=ROUTES_PROFILE,
            location_uri="hosted",
            type="AWS.Freeform",
            validators=[
                appconfig.CfnConfigurationProfile.ValidatorsProperty(
                    type="JSON_SCHEMA", content=json.dumps(routes.route_schema(config), separators=(",", ":"))
                )
            ],
        )
        self.profile_id = profile.ref
        self.document = appconfig.CfnHostedConfigurationVersion(
            self,
            "Document",
            application_id=application.ref,
            configuration_profile_id=profile.ref,
            content=self.hosted.document,
            content_type="application/json",
        )
        self.strategy_id = appconfig.CfnDeploymentStrategy(
            self,
            "Strategy",
            name=routes_application(config.fleet, config.environment),
            deployment_duration_in_minutes=0,
            growth_factor=100,
            final_bake_time_in_minutes=config.routes.bake_minutes,
            replicate_to="NONE",
        ).ref
        alarm = self._route_errors_alarm(audience)
        monitor_role = self._monitor_role(alarm)
        environment = appconfig.CfnEnvironment(
            self,
            "Environment",
            application_id=application.ref,
            name=config.environment,
            # Exactly one, and no cache, memory or latency alarm: AppConfig also rolls back on INSUFFICIENT_DATA.
            monitors=[
                appconfig.CfnEnvironment.MonitorsProperty(
                    alarm_arn=alarm.attr_arn, alarm_role_arn=monitor_role.role_arn
                )
            ],
        )
        environment.node.add_dependency(monitor_role)
        self.environment_id = environment.ref

    def grant_read_deployed(self, grantee: iam.IGrantable) -> None:
        """Lets the grantee read the deployed document (AppConfig data)."""
        resource = (
            f"application/{self.application_id}/environment/{self.environment_id}/configuration/{self.profile_id}"
        )
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["appconfig:StartConfigurationSession", "appconfig:GetLatestConfiguration"],
            resource_arns=[arns.appconfig(self._config, resource)],
        )

    def grant_read_hosted(self, grantee: iam.IGrantable) -> None:
        """Lets the grantee read the newest hosted document, deployed or not."""
        application = f"application/{self.application_id}"
        profile = f"{application}/configurationprofile/{self.profile_id}"
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["appconfig:ListHostedConfigurationVersions", "appconfig:GetHostedConfigurationVersion"],
            resource_arns=[
                arns.appconfig(self._config, application),
                arns.appconfig(self._config, profile),
                arns.appconfig(self._config, f"{profile}/hostedconfigurationversion/*"),
            ],
        )

    def grant_take_back(self, grantee: iam.IGrantable) -> None:
        """Lets the grantee list, stop and revert the deployments of this environment."""
        environment = f"application/{self.application_id}/environment/{self.environment_id}"
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["appconfig:ListDeployments", "appconfig:StopDeployment"],
            resource_arns=[
                arns.appconfig(self._config, f"application/{self.application_id}"),
                arns.appconfig(self._config, environment),
                arns.appconfig(self._config, f"{environment}/deployment/*"),
            ],
        )

    def deployment_properties(self) -> dict[str, str]:
        """The properties that name the next Deployment: application, environment, profile and version."""
        return {
            "ApplicationId": self.application_id,
            "EnvironmentId": self.environment_id,
            "ConfigurationProfileId": self.profile_id,
            "ConfigurationVersion": self.document.ref,
        }

    def _route_errors_alarm(self, audience: AlarmAudience) -> cloudwatch.CfnAlarm:
        spec = AlarmSpec(
            id="RouteErrors",
            watches=fleet_metric(self._config, metrics.ROUTE_ERRORS),
            threshold=self._config.routes.max_route_errors_per_minute,
            period_seconds=60,
            datapoints=(1, 1),
            meaning="Clients reach endpoints that are not there; AppConfig takes the last route change back.",
            section="route-errors",
        )
        return add_alarm(self, spec, audience)

    def _monitor_role(self, alarm: cloudwatch.CfnAlarm) -> iam.Role:
        role = iam.Role(
            self,
            "MonitorRole",
            # Without a condition, as in AppConfig's guide. AWS documents no aws:SourceAccount here.
            # docs.aws.amazon.com/appconfig/latest/userguide/setting-up-appconfig.html
            assumed_by=iam.ServicePrincipal("appconfig.amazonaws.com"),
            description="AppConfig reads the alarm that takes a route change back",
        )
        role.add_to_policy(
            iam.PolicyStatement(sid="ReadMonitor", actions=["cloudwatch:DescribeAlarms"], resources=[alarm.attr_arn])
        )
        return role


class RouteGuard(Construct):
    """Restores the routes when the stack rolls back, before an endpoint that they name is deleted.

    `RouteGuard(self, "Guard", route_table=routes, guard_function=function, wait_seconds=60)`

    It changes with every Deployment, so a rollback of a Deployment updates it in place, and CloudFormation makes
    updates in place before deletions. `wait_seconds` is the time that callers then get to read the routes again.

    Defines a custom resource of type Custom::RouteGuard.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        route_table: RouteTable,
        guard_function: lambda_.IFunction,
        wait_seconds: int,
    ) -> None:
        super().__init__(scope, construct_id)
        cdk.CustomResource(
            self,
            "Guard",
            service_token=guard_function.function_arn,
            resource_type=RESOURCE_TYPE,
            # The function's own limit. It starts no further run.
            service_timeout=cdk.Duration.minutes(15),
            properties={**route_table.deployment_properties(), "WaitSeconds": str(wait_seconds)},
        )
        self.node.add_dependency(guard_function, route_table)


class RouteDeployment(Construct):
    """The change of the routes: from here on clients use the new document.

    `RouteDeployment(self, "Deployment", route_table=routes, after=[*gates, guard])`

    It is the last resource of a fleet, because it cannot be undone. If a later resource failed, the rollback would
    delete endpoints that clients already use.

    Defines AWS::AppConfig::Deployment, after everything in `after`, nested stacks included.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, route_table: RouteTable, after: Sequence[IDependable]
    ) -> None:
        super().__init__(scope, construct_id)
        target = route_table.deployment_properties()
        deployment = appconfig.CfnDeployment(
            self,
            "Deployment",
            application_id=target["ApplicationId"],
            environment_id=target["EnvironmentId"],
            configuration_profile_id=target["ConfigurationProfileId"],
            configuration_version=target["ConfigurationVersion"],
            deployment_strategy_id=route_table.strategy_id,
        )
        deployment.node.add_dependency(*after)
