from limits.conftest import cache, redis, redis_server

__all__ = ["cache", "redis", "redis_server"]
