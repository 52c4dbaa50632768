"""What the proxy cache keeps: replies, fills, bandwidth, connections, sums."""
