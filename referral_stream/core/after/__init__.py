"""What follows an ask: answers, follow-ups, referrals and their rewards (docs/specification/after.md)."""
