"""Signatures are those that botocore makes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.storage import signing

_MOMENT = datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)
_STAMP = "20261124T010203Z"


@given(body=st.binary(max_size=200), operation=st.sampled_from(["GetItem", "BatchGetItem"]))
@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize("host", ["dynamodb.eu-west-1.amazonaws.com", "127.0.0.1:4566"])
def test_a_post_is_signed_as_by_botocore(host: str, token: str | None, body: bytes, operation: str) -> None:
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: _MOMENT)
        patch.setattr(signing, "timestamp", lambda: _STAMP)
        request = AWSRequest("POST", f"https://{host}/", headers=headers, data=body)
        SigV4Auth(credentials, "dynamodb", "eu-west-1").add_auth(request)
        signed = signing.post_headers(credentials, "eu-west-1", "dynamodb", host, headers, body)
    expected = {name.lower(): value for name, value in request.headers.items()}
    assert {**expected, "host": host} == signed
