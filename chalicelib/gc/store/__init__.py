"""What the collector keeps: condemned blobs, candidates and scans."""
