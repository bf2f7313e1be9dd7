"""The read models: what the console shows, in Redis, written by the projector alone and rebuilt from the topics.

``keys`` has the scheme, ``views`` what a :class:`Reader` gives, ``writing`` how a batch is applied.
"""

from referral_stream.read_models.reader import Reader
from referral_stream.read_models.views import (
    Control,
    Controls,
    CustomerView,
    DecisionFilter,
    DecisionPage,
    DecisionRow,
    FollowupDue,
    HeldReward,
    HourCounts,
    Metric,
    NotReadable,
    PendingAsk,
    ReadModelProgress,
    RoleState,
    ThingPage,
    Works,
)

__all__ = [
    "Control",
    "Controls",
    "CustomerView",
    "DecisionFilter",
    "DecisionPage",
    "DecisionRow",
    "FollowupDue",
    "HeldReward",
    "HourCounts",
    "Metric",
    "NotReadable",
    "PendingAsk",
    "ReadModelProgress",
    "Reader",
    "RoleState",
    "ThingPage",
    "Works",
]
