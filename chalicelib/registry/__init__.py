"""The OCI distribution protocol: names, digests, manifests, blobs, uploads, lists and their errors."""
