"""What may be wrong with a deployment: a row for each warning and error that our processes log.

The transport has rows of its own (``faust_batches.faults``). docs/operations.md prints them all, and a test compares
them with the code: ``python tools/faults_page.py``.
"""

from __future__ import annotations

from typing import Final

from faust_batches.faults import NOTHING, Fault

LINES: Final = (
    Fault(
        "burst_breaker_paused",
        "far more openings of one trigger than usual: a backfill without the header `historical`, or a broken producer",
        "check the source; then send `control.resumed`, or let the pause end by itself (`breaker.pause_hours`: 6); "
        "to stop the trigger for longer, send `control.paused`",
    ),
    Fault(
        "client_left_open",
        "a broker was away while the rewards role stopped",
        NOTHING,
    ),
    Fault("clock_is_not_real_time", "`CLOCK_…` is set", "unset it on a real deployment"),
    Fault(
        "clock_skewed",
        "the clocks of this host and of Redis differ by more than 2 s: windows and quiet hours are as wrong",
        "synchronise both (NTP)",
    ),
    Fault(
        "connections_lowered",
        "the receiver may open fewer files than its settings allow connections",
        "a higher limit of open files (`ulimit -n`), or a lower `HTTP_MAX_CONNECTIONS`",
    ),
    Fault(
        "connections_refused",
        "the receiver has as many connections as it may, in all or from one address",
        "look at who connects; raise the limits if they are all wanted",
    ),
    Fault(
        "console_ended",
        "the console's server ended by itself; `cause` is the error",
        "start it again; report it with the lines around it",
    ),
    Fault(
        "console_not_started",
        "the console could not start; `cause` says why",
        "what `cause` names",
    ),
    Fault(
        "control_not_noted",
        "the console wrote an event, and Redis could not keep who did it and why",
        NOTHING,
    ),
    Fault(
        "customer_overfull",
        "a customer has more open objects of a kind, or more occasions to ask, than are kept: an id that "
        "stands for many, or a source that never says that something ended. They are not asked",
        "fix the source, then `customer.overfull_cleared`; the event is at the position in the line",
    ),
    Fault(
        "data_dir_unused",
        "`DATA_DIR` is set and `STORE` is not: the state is in memory, and is read from its changelog at every start",
        "`STORE=rocksdb`, or `STORE=memory` if that is meant",
    ),
    Fault(
        "email_key_changed",
        "ingest hashes addresses with another key from now on, as `EMAIL_KEY_CHANGED_TO` says",
        "send all profiles, and all opt-outs that name an address, again ([Addresses](#addresses))",
    ),
    Fault(
        "harm_not_judged",
        "a broker did not answer while the projector judged whether asks do harm; judged again in 5 minutes",
        "nothing, if a broker was away; if it goes on, look at `topics acls projector`: with `[harm] pause_at` it "
        "writes to `responses`",
    ),
    Fault(
        "hold_stays",
        "an event that was replayed from its dead letter failed again; the customer stays on hold",
        "as `step_failed`",
    ),
    Fault(
        "ledger_log_cut",
        "Redis has lost the ledger, and `ledger-requests` its head, so asks that count are known nowhere: the ledger "
        "is not built, and nobody is asked; `cause` names the partition and the dates",
        "set `retention.ms` right, then as [`ledger-requests` is lost](#when-something-is-lost)",
    ),
    Fault(
        "ledger_may_be_evicted",
        "Redis has a `maxmemory`, and a `maxmemory-policy` under which it throws away asks and pauses: nobody is asked",
        "`CONFIG SET maxmemory-policy noeviction`, and in its configuration; a managed server's parameter group. "
        "If it has evicted anything, the ledger is built again then",
    ),
    Fault(
        "ledger_outdated",
        "the Redis that we reach holds an older ledger than the log knows of: after a failover, the old "
        "master is still there",
        "let `REDIS_URL` lead every worker to one server. Nobody is asked twice; after 10 s (then 20, 40, …) "
        "the ledger is built where the worker is",
    ),
    Fault(
        "ledger_rebuild_failed",
        "Redis is down, or fails while the ledger is rebuilt; logged every 30 s",
        "as `ledger_unavailable`",
    ),
    Fault("ledger_sweep_unfinished", "Redis failed while the remains of an old ledger were removed", NOTHING),
    Fault(
        "ledger_unavailable",
        "Redis is down: nothing is asked (gate `overasking`, saw `ledger_unavailable`)",
        "bring Redis back; whatever is still inside its window is asked then",
    ),
    Fault(
        "login_provider_away",
        "the console cannot use the OpenID provider of its settings; who has a token can log in, and sessions go on",
        "what `cause` names: the provider, `CONSOLE_OIDC_ISSUER`, or what the provider knows of this console",
    ),
    Fault(
        "mark_not_believed",
        "`ledger-requests` says that the ledger was renewed under a number that no rebuild can have: written by "
        "somebody else, or copied from another cluster. It counts for nothing, and is a dead letter",
        "find out who else writes to that topic",
    ),
    Fault(
        "no_broker_answers",
        "no broker answers the rewards role, the projector, or a receiver or console that starts: everything waits",
        "bring the brokers back; exit code 75 follows where a new process would be answered, or at a start in vain",
    ),
    Fault(
        "no_connection_accepted",
        "the system gives the receiver no more connections: mostly, it has no files left to open",
        "a higher limit of open files (`ulimit -n`), or fewer connections",
    ),
    Fault("not_written", "the broker did not take a webhook's records in time: 503", "look at the broker"),
    Fault(
        "output_refused",
        "a record is larger than its topic takes; a dead letter went out instead",
        "raise the topic's `max.message.bytes`",
    ),
    Fault(
        "partitions_not_opened",
        "a broker failed while the rewards role, or the projector, asked how far it is; asked again",
        "nothing; if it goes on, look at the broker, or at `topics acls rewards` (or `projector`)",
    ),
    Fault(
        "paused_for_harm",
        "the harm budget has paused a trigger: trouble follows its asks more often than it comes to held-out accounts",
        "look at why (`referral-stream metrics --by trigger`); only a person resumes it, and then only new asks count",
    ),
    Fault(
        "payer_failing",
        "the payer answered 5xx, 408, 409, 423, 425 or 429: the reward waits, and is sent again",
        "ask who pays; `rewards_oldest_seconds` says how long the oldest waits",
    ),
    Fault(
        "payer_gone",
        "the payer answered 410: the rewards role ends, and has marked nothing",
        "ask who pays for the new address, set `REWARDS_URL`, start it again",
    ),
    Fault(
        "payer_refusing",
        "the payer answered 3xx, 401, 403, 404 or another 4xx: the address or the secret is wrong. Nothing "
        "is lost, all of it is sent again",
        "`cause` names the status; see [rewards.md](rewards.md)",
    ),
    Fault(
        "payer_unreachable",
        "no answer from the payer: the network, its certificate, or its host; `cause` says which",
        "bring it back; everything is sent then",
    ),
    Fault("plain_http", "the receiver takes webhooks without TLS", "end TLS in front of it, or set `HTTP_CERT_FILE`"),
    Fault(
        "producer_not_replaced",
        "brokers do not answer the receiver, and its certificate or password file cannot be read for a new producer",
        "look at the files that the settings name; it tries again every 30 s",
    ),
    Fault(
        "producer_replaced",
        "the broker refused what the receiver wrote, or did not answer for 30 s: it goes on with a new producer",
        NOTHING,
    ),
    Fault(
        "projected_not_committed",
        "the broker did not take the projector's offsets, which are for onlookers alone; committed again",
        "nothing; if it goes on, look at the broker",
    ),
    Fault(
        "projector_failed",
        "the projector ends, or beside the deciding roles begins again; `reason` names the kind",
        "with a `cause`, as that says; else report it with the traceback. Asks go on without it",
    ),
    Fault(
        "projector_needs_restart",
        "no broker answers the projector; `cause` says whether a new process would be answered",
        "a restart, which exit code 75 asks for",
    ),
    Fault("projector_not_started", "the projector cannot start", "`cause` says what to do"),
    Fault("quarantine_failed", "the step failed twice on one event", "as `step_failed`"),
    Fault(
        "read_models_elsewhere",
        "the read models are not where the projector believes: Redis was emptied, has lost its newest data in a "
        "failover, or another projector had the partition",
        "nothing: they are applied again from where they are, or from the beginning",
    ),
    Fault(
        "read_models_full",
        "the Redis of the read models uses 80 % of its `maxmemory`: nothing more is applied, so that the ledger, if it "
        "is there too, does not lack it",
        "give them a Redis of their own (`READ_REDIS_URL`), or raise `maxmemory`; everything is applied then",
    ),
    Fault(
        "read_models_lack_records",
        "records lapsed before the projector came to them: it was away for longer than the topic keeps them",
        "nothing helps: what they said is missing until it is said anew",
    ),
    Fault(
        "read_models_unavailable",
        "the Redis of the read models is away, or refuses: the console shows what was last applied, and asks go on",
        "`cause` says what helps; everything is applied then",
    ),
    Fault(
        "read_models_unusable",
        "the read models are of another version of this program, or of topics that were made anew",
        "`referral-stream run projector --reset`: they are made anew from the topics",
    ),
    Fault("receiver_not_started", "the receiver cannot start", "`cause` says what to do"),
    Fault(
        "record_failed",
        "our own code failed on a record of a source, which is a dead letter (`fault`); it may protect somebody",
        "report it with the position in the line; with a fixed version, `deadletters replay --cause fault`",
    ),
    Fault("refused", "a request that the receiver does not take; `status` and `cause` say why", "look at the sender"),
    Fault(
        "request_failed", "our own code failed on a request to the ledger: nobody is asked for it", "as `record_failed`"
    ),
    Fault(
        "requests_too_late",
        "requests reach the ledger after their 30 s: its clock is ahead, or there is more work than it can do",
        "`cause` says which clock; else see `lag_records`",
    ),
    Fault(
        "reversal_refused",
        "the payer refused for good (422) to take a reward back",
        "ask who pays: what was granted is not taken back there",
    ),
    Fault(
        "reward_refused",
        "the payer refused a reward for good (422): `reward.settled` says so, and its owner gets a `reward_failed`",
        "ask who pays why",
    ),
    Fault(
        "reward_unreadable",
        "a record of `referral-rewards` names no grant or no customer: nobody is paid for it",
        "find out who else writes to that topic; the record is at the position in the line",
    ),
    Fault(
        "rewards_failed",
        "the rewards role ends; `reason` names the kind",
        "with a `cause`, as that says; else report it with the traceback. Nothing that was not told is marked",
    ),
    Fault(
        "rewards_lapsed",
        "the group's offset lies outside of what `referral-rewards` holds: the topic was made anew, or what "
        "would be read next has lapsed",
        "find out who did that; it goes on at the beginning, and the payer knows every key that it ever got",
    ),
    Fault(
        "rewards_need_restart",
        "no broker that the rewards role knows answers, but a new process is answered",
        "a restart, which exit code 75 asks for",
    ),
    Fault(
        "rewards_not_started",
        "the rewards role cannot start",
        "`cause` says what to do",
    ),
    Fault(
        "settlement_not_written",
        "the broker did not take `reward.settled` in time; written again",
        "look at the broker, or at `topics acls rewards`",
    ),
    Fault(
        "sources_not_described",
        "ingest may not see the settings of the source topics: whether one is compacted, so that opt-outs are lost",
        "grant DescribeConfigs on them (`topics acls ingest`)",
    ),
    Fault(
        "state_too_large",
        "a customer's state does not fit a record of its changelog: they are on hold",
        "raise `max.message.bytes` of the changelog, then `deadletters replay --cause state_too_large`",
    ),
    Fault(
        "state_unreadable",
        "the stored state of a customer is damaged: they are held back, their events are dead letters "
        "(`unreadable_state`)",
        "see [guarantees.md](guarantees.md): new topics refilled by replay bring them back",
    ),
    Fault(
        "step_failed",
        "our own code failed on a valid event; that customer is on hold",
        "report it with the type and position in the log line; the event is in `dead-letters`: with a fixed version, "
        "`deadletters replay --stage decide --cause fault`",
    ),
    Fault(
        "told_not_committed",
        "the broker did not take an offset; committed again",
        "nothing; if it goes on, look at the broker",
    ),
    Fault(
        "tracing_without_sdk",
        "`TRACING=on`, and nothing in the process records spans: trace contexts are carried on, no span is exported",
        "start the worker with `opentelemetry-instrument` ([Tracing](#tracing)), or unset `TRACING`",
    ),
    Fault(
        "unreadable_request",
        "a record of `ledger-requests`, or of `ledger-generations`, is none that we write; the ledger is rebuilt "
        "without it",
        "find out who else writes to that topic",
    ),
    Fault(
        "wakeups_held",
        "ingest is down or behind, or decide may not ask how far it is: nobody is woken, so nobody is asked",
        "start ingest, or wait; see `topics acls decide`. In the first minute of a start it is INFO",
    ),
)
"""Every event of this package at WARNING or above."""
