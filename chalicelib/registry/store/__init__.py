"""What the registry keeps: manifests, tags, blobs, uploads and their lists."""
