"""The OCI protocol over HTTP, in the function and in the relay."""
