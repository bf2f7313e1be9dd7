"""A table of customers, as a CRM or a warehouse exports it, into historical events: ``referral-stream import``."""
