"""What a worker may say is wrong: every warning and error that it logs, every reason to stop, every exit code.

One row each, with the cause and the remedy, for pages that operators read. A test compares the rows with the code.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Fault(NamedTuple):
    """``name``: of an event in the log, of an exception class, or an exit code. Both sentences are for an operator."""

    name: str
    cause: str
    remedy: str


NOTHING: Final = "nothing"
"""The remedy of what passes by itself."""

LINES: Final = (
    Fault("app_failed", "a role stops, and the worker with it", "`reason` names the kind, `cause` says what to do"),
    Fault(
        "authentication_failed",
        "the brokers refuse our credentials: the password was changed, or the user is gone",
        "put the new password where the worker reads it; a file (`…_FILE`) is read again by itself, else restart",
    ),
    Fault(
        "batch_put_back",
        "the partition belongs, or may belong, to another worker",
        "nothing: its owner gets the batch again. Often: workers take partitions from each other, see `fenced_total`",
    ),
    Fault(
        "batch_repeated",
        "the broker, or what the batch waits for, failed for a moment",
        "nothing; if it goes on, `cause` names what the batch waits for",
    ),
    Fault("brokers_answer_again", "the brokers were away", NOTHING),
    Fault(
        "brokers_awaited",
        "the worker starts, and the brokers are away, or do not tell what it has to know first (`cause`)",
        "bring them back; after `at_most_seconds`, the worker ends with exit code 75",
    ),
    Fault(
        "brokers_silent",
        "no broker has confirmed our membership for a session timeout",
        "bring the brokers back; everything waits meanwhile",
    ),
    Fault(
        "changelog_head_lost",
        "the head of a changelog was removed, but the folder of this worker still holds all of it",
        "do not lose that folder; move to new topics and a new group, refilled by replay",
    ),
    Fault("client_not_closed", "a broker was away while the worker stopped", NOTHING),
    Fault("clock_accepted", "the broker takes our time again", NOTHING),
    Fault(
        "clock_refused",
        "the clock of this host is an hour or more ahead of the broker's, which takes nothing of this worker",
        "synchronise it (NTP); the worker goes on by itself",
    ),
    Fault(
        "connections_dropped",
        "a heartbeat had no answer for half the session timeout (at least 5 s): what was silent is connected anew",
        "nothing; if it goes on, look at the brokers, or at what lies between (a firewall, NAT)",
    ),
    Fault("damaged_store_removed", "all that a damaged table held has been read from its changelog again", NOTHING),
    Fault("fetch_failed", "a broker failed while records were fetched", "nothing; if it goes on, look at the broker"),
    Fault(
        "file_limit_low",
        "the worker may open fewer files than it needs when it owns all partitions",
        "`LimitNOFILE=` of its service, `ulimit -n`, `--ulimit nofile=` of its container",
    ),
    Fault(
        "not_published",
        "the broker has not taken what a batch publishes",
        "nothing: the batch is made again; if it goes on, `cause` and `topic` say what the broker lacks",
    ),
    Fault(
        "offsets_not_committed",
        "the broker failed or did not answer in time, a rebalance came first, or a topic is gone",
        "nothing: they are committed later",
    ),
    Fault(
        "offsets_went_back",
        "the group's offsets lapsed, were deleted or were set back; of the same topic, it goes on where it was",
        NOTHING,
    ),
    Fault("one_record_per_batch", "the topic takes smaller batches than ours", "raise its `max.message.bytes`"),
    Fault(
        "open_transaction",
        "somebody who writes to this source has left a transaction open: nothing behind `offset` may be read",
        "restart that producer, or wait for its `transaction.timeout.ms`; `doctor` says who it is and how to end it",
    ),
    Fault(
        "output_lost",
        "a record is larger than its topic takes, and nothing could stand in for it",
        "raise the topic's `max.message.bytes`",
    ),
    Fault(
        "output_replaced",
        "a record is larger than its topic takes: something smaller, such as a dead letter, went out instead",
        "raise the topic's `max.message.bytes`, and replay the dead letter",
    ),
    Fault(
        "partitions_not_taken",
        "a broker failed in the middle of a rebalance: the partitions are given back, and asked for again",
        "nothing; if it goes on, look at the broker that `cause` names",
    ),
    Fault(
        "periodic_failed",
        "something that is done at intervals failed; it is tried again at its next turn",
        "nothing, if a broker was away; else report it with the traceback",
    ),
    Fault(
        "position_not_ours",
        "a record on the topic of positions is none: something else writes to it. It is left out",
        "take that right away; a record of the same `key` without a value ends the line",
    ),
    Fault(
        "positions_not_kept",
        "how far the sources are read could not be written; the next commit tries again",
        "nothing; if it goes on, rights are missing, or the topic is gone",
    ),
    Fault(
        "record_from_the_future",
        "the clock of a record's writer is ahead, or that of this host is behind",
        "synchronise the clocks of workers and producers (NTP)",
    ),
    Fault("record_limit_lowered", "a topic takes smaller records than ours", "raise its `max.message.bytes`"),
    Fault("recovery_cancelled", "something ended the reading of the changelogs; it begins again", NOTHING),
    Fault(
        "source_begins_again",
        "a source without a state was recreated or cut short: it is read from its beginning",
        "find out who did that",
    ),
    Fault(
        "source_gap",
        "a source without a state no longer holds what would be read next: `offset` is where reading goes on",
        "a longer `retention.ms`, or fewer pauses; send again what was removed unread",
    ),
    Fault("stop_failed", "a part of the worker could not be stopped in an orderly way", "report it with the traceback"),
    Fault(
        "store_damaged",
        "files of a table on disk are damaged or gone: it is read from its changelog again",
        "look at the disk",
    ),
    Fault(
        "store_locked",
        "another process has the folder of the state: a predecessor that is stopping, or a second worker",
        "nothing for a predecessor; else a `DATA_DIR` for each worker",
    ),
    Fault("store_not_closed", "the disk of the state failed while the worker stopped", "look at the disk"),
    Fault("store_read_again", "a damaged table was set aside, and is read from its changelog", "look at the disk"),
    Fault(
        "stores_of_other_topics",
        "the state on disk is not of the changelogs of now (`cause`): it is read from them anew",
        "nothing, if you made the topics again, or started a new version; else find out who did that",
    ),
    Fault(
        "topics_not_described",
        "no broker answered when the settings or ids of topics were asked for; asked again",
        "nothing; if it goes on, look at the brokers",
    ),
    Fault("watch_failed", "the watch over what stands still failed; it looks again", "report it with the traceback"),
    Fault("worker_not_started", "the worker cannot start", "`cause` says what to do"),
    Fault(
        "worker_stuck",
        "the worker did not stop in time: a batch, a broker or a store held it up",
        "nothing: no batch is lost. If the brokers were up, report it with what the log says before it",
    ),
)
"""Every event of this package at WARNING or above."""

REASONS: Final = (
    Fault(
        "BrokersAway",
        "the worker started, and the brokers did not answer for `START_WAIT_SECONDS`",
        "bring the brokers back; a restart, which exit code 75 asks for, waits again",
    ),
    Fault(
        "BrokersMoved",
        "no broker that the worker knows answers, but a new process is answered: other addresses, or another password",
        "a restart, which exit code 75 asks for",
    ),
    Fault("ChangelogMismatch", "a changelog is not the one that the state belongs to", "as the line says"),
    Fault(
        "GroupTaken",
        "another app, which reads other topics, uses a group of this name: nothing of it was touched",
        "give each its own `GROUP_PREFIX`",
    ),
    Fault("NameTaken", "two workers run with one static name", "give each its own"),
    Fault("NotAllowed", "the broker refuses us a right", "grant it"),
    Fault(
        "RefusedByBroker",
        "the brokers allow less than the worker needs: transactions, or a session timeout, of its length",
        "as the line says",
    ),
    Fault("SourceMismatch", "a source is not the log that the state was made from", "as the line says"),
    Fault("StateFolderUnusable", "the folder of the state cannot be opened, read or written", "as the line says"),
    Fault("TopicsMismatch", "topics are missing, or have another number of partitions", "as the line says"),
    Fault("WorkEnded", "a task without which the role does nothing has ended", "a restart; report it with the log"),
)
"""Every kind of failure whose line says what to do; each is the ``reason`` of ``app_failed``."""

EXITS: Final = (
    Fault("0", "it was asked to stop", NOTHING),
    Fault("1", "it failed, or could not start", "the line before says why; a restart alone does not help"),
    Fault("70", "it did not stop in time", "restart it; see `worker_stuck`"),
    Fault("75", "a new process works where this one does not", "restart it; nothing else is needed"),
)
"""Every exit code of a worker."""
