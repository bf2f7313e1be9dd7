"""The policy file: TOML to a policy, every error at once (docs/policy.md)."""
