from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batch_builders import a_config, an_app


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"id": ""}, "an id"),
        ({"brokers": ()}, "broker"),
        ({"partitions": 0}, "partitions"),
        ({"store": "rocksdb"}, "datadir"),
        ({"request_timeout_seconds": 5.0, "session_timeout_seconds": 6.0}, "request_timeout_seconds"),
        ({"max_batch_records": 0}, "max_batch_records"),
        ({"max_batch_records": 100, "max_queued_records": 99}, "max_queued_records"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        a_config(**settings)


def settings_of_an_app() -> dict[str, str]:
    conf = an_app().conf
    random_by_design = {"reply_to"}
    return {name: str(getattr(conf, name)) for name in conf.setting_names() - random_by_design}


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    untouched = settings_of_an_app()
    for name, value in {
        "BROKER_URL": "kafka://elsewhere",
        "APP_ID": "other",
        "WEB_ENABLED": "1",
        "TOPIC_ALLOW_DECLARE": "1",
        "TABLE_STANDBY_REPLICAS": "3",
        "APP_DATADIR": "/elsewhere",
        "PROCESSING_GUARANTEE": "exactly_once",
    }.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(f"FAUST_{name}", value)
    assert settings_of_an_app() == untouched


def test_fausts_dangerous_defaults_are_closed() -> None:
    conf = an_app().conf
    assert not conf.web_enabled
    assert not conf.topic_allow_declare
    assert conf.topic_disable_leader
    assert not conf.table_standby_replicas
    assert conf.stream_wait_empty
    assert conf.stream_recovery_delay == 0
    assert conf.topic_partitions == 4
    assert not conf.worker_redirect_stdouts


def test_credentials_are_not_shown() -> None:
    assert "ssl_context" not in repr(a_config())
    assert "credentials" not in repr(a_config())


def test_declaring_an_app_touches_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = an_app(store="rocksdb", datadir=tmp_path / "state")
    app.stateful("source", lambda _partition, _records, _read: pytest.fail("not called"), ["counts"])
    app.finalize()
    assert not list(tmp_path.iterdir())
