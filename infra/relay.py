"""The upload relay on Fargate: a second stack, for registries whose clients send layers larger than the API takes.

`python -m infra.relay FILE` writes its template. The stores' names are its parameters: `infra.deploy` hands them over
from the registry's stack, and the relay's address back to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from infra.certificate import certificate
from infra.parameters import ENVIRONMENT, PARAMETERS, store_references
from infra.policies import allow, assumed_by, upload_statements

PORT = 8080
HEALTH_PATH = "/healthz"
"""What the relay answers however many uploads it is receiving (chalicelib/v2/relay)."""
DRAIN_SECONDS = 300
"""How long a task that is replaced may go on with the uploads that it is receiving."""

_OWN_PARAMETERS: dict[str, dict[str, Any]] = {
    "VpcId": {"Type": "AWS::EC2::VPC::Id"},
    "SubnetIds": {
        "Type": "List<AWS::EC2::Subnet::Id>",
        "Description": "Public subnets in two zones or more; tasks reach S3 and DynamoDB through them.",
    },
    "DomainName": {"Type": "String", "Description": "The relay's host name."},
    "HostedZoneId": {"Type": "AWS::Route53::HostedZone::Id", "Description": "The Route 53 zone of DomainName."},
    "RegistryUrl": {"Type": "String", "Description": "The registry's base URL: where finished blobs are."},
    "ImageRepository": {"Type": "String", "Default": "berth-relay", "Description": "ECR repository of the image."},
    "ImageTag": {"Type": "String"},
    "Tasks": {"Type": "Number", "Default": 1, "MinValue": 1, "Description": "Uploads may move between tasks."},
    "LogRetentionDays": PARAMETERS["LogRetentionDays"],
}


def build() -> dict[str, Any]:
    """The template of the relay's stack."""
    references = {value["Ref"] for value in ENVIRONMENT.values() if isinstance(value, dict)}
    settings = {name: PARAMETERS.get(name, {"Type": "String"}) for name in sorted(references)}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Berth: the upload relay",
        "Parameters": {**settings, **_OWN_PARAMETERS},
        "Resources": {**_network(), **_service(), **_roles()},
        "Outputs": {"RelayUrl": {"Value": {"Fn::Sub": "https://${DomainName}"}}},
    }


def handed_over() -> list[str]:
    """The registry stack's outputs that are parameters of this one."""
    return store_references()


def _network() -> dict[str, Any]:
    return {
        "BalancerGroup": _security_group("Clients to the balancer of the relay", 443, {"CidrIp": "0.0.0.0/0"}),
        "TaskGroup": _security_group(
            "The balancer to the tasks of the relay",
            PORT,
            {"SourceSecurityGroupId": {"Fn::GetAtt": ["BalancerGroup", "GroupId"]}},
        ),
        "Balancer": {
            "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "Properties": {
                "Scheme": "internet-facing",
                "Subnets": {"Ref": "SubnetIds"},
                "SecurityGroups": [{"Fn::GetAtt": ["BalancerGroup", "GroupId"]}],
                "LoadBalancerAttributes": [
                    {"Key": "idle_timeout.timeout_seconds", "Value": str(DRAIN_SECONDS)},
                    {"Key": "routing.http.drop_invalid_header_fields.enabled", "Value": "true"},
                ],
            },
        },
        "Targets": {
            "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
            "Properties": {
                "VpcId": {"Ref": "VpcId"},
                "TargetType": "ip",
                "Protocol": "HTTP",
                "Port": PORT,
                "HealthCheckPath": HEALTH_PATH,
                "Matcher": {"HttpCode": "200"},
                "TargetGroupAttributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": str(DRAIN_SECONDS)}],
            },
        },
        "Listener": {
            "Type": "AWS::ElasticLoadBalancingV2::Listener",
            "Properties": {
                "LoadBalancerArn": {"Ref": "Balancer"},
                "Port": 443,
                "Protocol": "HTTPS",
                "SslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
                "Certificates": [{"CertificateArn": {"Ref": "Certificate"}}],
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}],
            },
        },
        "Certificate": certificate(),
        "Record": {
            "Type": "AWS::Route53::RecordSet",
            "Properties": {
                "HostedZoneId": {"Ref": "HostedZoneId"},
                "Name": {"Ref": "DomainName"},
                "Type": "A",
                "AliasTarget": {
                    "DNSName": {"Fn::GetAtt": ["Balancer", "DNSName"]},
                    "HostedZoneId": {"Fn::GetAtt": ["Balancer", "CanonicalHostedZoneID"]},
                },
            },
        },
    }


def _security_group(description: str, port: int, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {
            "GroupDescription": description,
            "VpcId": {"Ref": "VpcId"},
            "SecurityGroupIngress": [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}],
        },
    }


def _service() -> dict[str, Any]:
    return {
        "Cluster": {"Type": "AWS::ECS::Cluster", "Properties": {}},
        "Logs": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"RetentionInDays": {"Ref": "LogRetentionDays"}},
        },
        "Task": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {
                "RequiresCompatibilities": ["FARGATE"],
                "NetworkMode": "awsvpc",
                "Cpu": "1024",
                "Memory": "2048",
                "ExecutionRoleArn": {"Fn::GetAtt": ["ExecutionRole", "Arn"]},
                "TaskRoleArn": {"Fn::GetAtt": ["TaskRole", "Arn"]},
                "ContainerDefinitions": [_container()],
            },
        },
        "Service": {
            "Type": "AWS::ECS::Service",
            "DependsOn": "Listener",
            "Properties": {
                "Cluster": {"Ref": "Cluster"},
                "TaskDefinition": {"Ref": "Task"},
                "LaunchType": "FARGATE",
                "HealthCheckGracePeriodSeconds": 60,
                "DesiredCount": {"Ref": "Tasks"},
                "DeploymentConfiguration": {
                    "MinimumHealthyPercent": 100,
                    "MaximumPercent": 200,
                    "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
                },
                "LoadBalancers": [
                    {"ContainerName": "relay", "ContainerPort": PORT, "TargetGroupArn": {"Ref": "Targets"}}
                ],
                "NetworkConfiguration": {
                    "AwsvpcConfiguration": {
                        "AssignPublicIp": "ENABLED",
                        "Subnets": {"Ref": "SubnetIds"},
                        "SecurityGroups": [{"Fn::GetAtt": ["TaskGroup", "GroupId"]}],
                    }
                },
            },
        },
    }


def _container() -> dict[str, Any]:
    repository = "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/${ImageRepository}"
    return {
        "Name": "relay",
        "Image": {"Fn::Sub": f"{repository}:${{ImageTag}}"},
        "Essential": True,
        "ReadonlyRootFilesystem": True,
        "StopTimeout": 120,
        "PortMappings": [{"ContainerPort": PORT}],
        "Environment": [
            *({"Name": name, "Value": value} for name, value in ENVIRONMENT.items()),
            {"Name": "BERTH_REGISTRY_URL", "Value": {"Ref": "RegistryUrl"}},
            {"Name": "AWS_REGION", "Value": {"Ref": "AWS::Region"}},
        ],
        "LogConfiguration": {
            "LogDriver": "awslogs",
            "Options": {
                "awslogs-group": {"Ref": "Logs"},
                "awslogs-region": {"Ref": "AWS::Region"},
                "awslogs-stream-prefix": "relay",
            },
        },
    }


def _roles() -> dict[str, Any]:
    image = {"Fn::Sub": "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/${ImageRepository}"}
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    start = [
        allow("Image", pull, [image]),
        # The token is the account's: this action takes "*" only (service authorization reference).
        allow("ImageToken", ["ecr:GetAuthorizationToken"], ["*"]),
        allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [{"Fn::GetAtt": ["Logs", "Arn"]}]),
    ]
    return {"TaskRole": _role(upload_statements(_parameter_arn)), "ExecutionRole": _role(start)}


def _parameter_arn(name: str) -> Any:
    """The ARN of a store whose name is the parameter `name`; a secret's name is its ARN."""
    if name.endswith("Secret"):
        return {"Ref": name}
    if name == "Bucket":
        return {"Fn::Sub": "arn:${AWS::Partition}:s3:::${Bucket}"}
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:dynamodb:${{AWS::Region}}:${{AWS::AccountId}}:table/${{{name}}}"}


def _role(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": assumed_by("ecs-tasks.amazonaws.com"),
            "Policies": [{"PolicyName": "own", "PolicyDocument": {"Version": "2012-10-17", "Statement": statements}}],
        },
    }


def main() -> None:
    """Write the template to the file named on the command line."""
    Path(sys.argv[1]).write_text(json.dumps(build(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
