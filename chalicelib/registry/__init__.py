"""The registry's rules: pushing, pulling and deleting manifests and blobs, uploads, and the lists of them."""
