"""The transport's settings, from those of the deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faust
from faust_batches import WorkerConfig
from pydantic import SecretStr

from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.settings import Settings, kafka_password_now


def worker_config(deployment: Deployment, role: str, **more: Any) -> WorkerConfig:
    """The transport's settings for a role."""
    s = deployment.settings
    return WorkerConfig(
        id=deployment.group(role),
        brokers=s.kafka_brokers,
        partitions=s.partitions,
        fixed_topics=frozenset(deployment.own_topics),
        positions=deployment.positions,
        outcome=deployment.topics.customer_events if role == "ingest" else None,
        store=s.store if role == "decide" else "memory",
        datadir=_state_folder(s, role),
        fencing=s.fencing,
        credentials=_credentials(s, s.kafka_password),
        fresh_credentials=lambda: _credentials(s, kafka_password_now(s)),  # and certificates
        ssl_context=s.ssl_context(),
        static_member=f"{s.static_member}-{role}" if s.static_member else None,
        session_timeout_seconds=s.session_timeout_seconds,
        transaction_timeout_seconds=s.transaction_timeout_seconds,
        fetch_wait_seconds=deployment.fetch_wait_seconds,
        start_wait_seconds=s.start_wait_seconds,
        request_timeout_seconds=max(20.0, s.session_timeout_seconds),
        **more,
    )


def _state_folder(s: Settings, role: str) -> Path | None:
    return s.data_dir / role if s.data_dir else None


def _credentials(s: Settings, password: SecretStr | None) -> Any:
    context = s.ssl_context()
    if s.kafka_security.startswith("SASL"):
        return faust.SASLCredentials(
            username=s.kafka_username,
            password=password.get_secret_value() if password else None,
            mechanism=s.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None
