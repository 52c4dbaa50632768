"""`make bench`: Berth beside Debian's docker-registry with its S3 driver, on the same local cloud, in one run.

Needs Debian's packages docker-registry and skopeo, and 10 GB under the temporary folder.
Each module measures one theme.
"""
