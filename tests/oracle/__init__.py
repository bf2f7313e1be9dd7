"""A naive oracle of the fact replay, written from the specification alone and for clarity alone."""
