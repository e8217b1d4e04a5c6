"""Real Alibaba Cloud clients against a running vault: see scripts/sdk-smoke."""
