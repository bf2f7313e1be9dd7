"""What every process shares: settings, clock, logs, topics. Loads neither Faust nor mode."""
