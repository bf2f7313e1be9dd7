"""After §8: which wording of an experiment an account gets, or a customer without one."""

import hashlib
from datetime import datetime

from tests.oracle.policy import Policy


def arm(policy: Policy, trigger: str, unit: str, asked_at: datetime) -> str | None:
    """`NAME/TEMPLATE`; none where nothing is compared."""
    for name, experiment in policy["experiments"].items():
        since = experiment.get("active_since")
        if experiment["trigger"] == trigger and (since is None or since <= asked_at):
            digest = hashlib.sha256(f"experiment|{name}|{unit}".encode()).digest()
            u = int.from_bytes(digest[:8], "big") / 2**64
            cumulated = 0
            for template in sorted(experiment["templates"]):
                cumulated += experiment["templates"][template]
                if u * sum(experiment["templates"].values()) < cumulated:
                    return f"{name}/{template}"
    return None
