"""A TLS certificate for a stack's own host name, validated in its Route 53 zone."""

from __future__ import annotations

from typing import Any


def certificate() -> dict[str, Any]:
    """The resource; its stack has the parameters DomainName and HostedZoneId."""
    domain, zone = {"Ref": "DomainName"}, {"Ref": "HostedZoneId"}
    return {
        "Type": "AWS::CertificateManager::Certificate",
        "Properties": {
            "DomainName": domain,
            "ValidationMethod": "DNS",
            "DomainValidationOptions": [{"DomainName": domain, "HostedZoneId": zone}],
        },
    }
