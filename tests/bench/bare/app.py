"""The bare Chalice app that Berth's start is held against: one route, which reads one item with boto3."""

import os

import boto3
from chalice import Chalice

app = Chalice(app_name="bare")
_clients = {}


@app.route("/{proxy+}")
def first():
    client = _clients.setdefault("dynamodb", boto3.client("dynamodb"))
    key = {"pk": {"S": "none"}, "sk": {"S": "none"}}
    return {"found": "Item" in client.get_item(TableName=os.environ["BENCH_TABLE"], Key=key, ConsistentRead=True)}
