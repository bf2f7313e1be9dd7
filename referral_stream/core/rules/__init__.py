"""Whether, when and how likely: functions of policy, state and instant. Nothing is written here."""
