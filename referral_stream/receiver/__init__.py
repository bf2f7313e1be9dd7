"""The webhook receiver: vendors' webhooks and CloudEvents over HTTP → source topics."""
