"""The worker's side of the contract: the example worker, its wording, and the kit that judges any worker."""
