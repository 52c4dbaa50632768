"""What projects keep: their records, members, sums and allowlists."""
