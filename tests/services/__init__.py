"""Real services for the integration tests, started natively: no Docker, no shared state, nothing left behind.

`kafka.KafkaServer` is a real Apache Kafka broker on a JVM, `redis.RedisServer` a real redis-server. Each owns its
loopback ports and its directory, comes back from `kill9()` by `restart()`, and dies with the process that started it.
"""
