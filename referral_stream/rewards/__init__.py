"""The role ``rewards``: what was granted or taken back, from ``referral-rewards`` to whoever pays, over one webhook."""
