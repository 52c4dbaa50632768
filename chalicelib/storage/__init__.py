"""The only package that imports boto3 or PynamoDB: tables, blob store, secrets."""
