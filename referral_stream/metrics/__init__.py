"""What asking achieves: sums over the newest records, and comparisons that hold at every look (after §7).

Pure: records in (:class:`~referral_stream.metrics.records.Records`), figures out
(:func:`~referral_stream.metrics.report.report`). A log, the topic ``referral-records`` and a projector's memory give
the same, since all of it is made of the same records. :func:`~referral_stream.metrics.harm.pauses` says which trigger
is to be paused because it does harm.
"""
