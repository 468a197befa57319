"""The benchmark covers every GET route."""

from typing import Any

import routes


def test_every_get_route_is_measured_or_has_a_reason_why_not(api_description: dict[str, Any]) -> None:
    documented = {path for path, operations in api_description["paths"].items() if "get" in operations}
    measured = {request.route for request in (*routes.HOT, *routes.OTHERS) if request.method == "GET"}

    assert measured | routes.NOT_MEASURED.keys() == documented
    assert measured.isdisjoint(routes.NOT_MEASURED)


def test_names_of_requests_are_unique() -> None:
    names = [request.name for request in (*routes.HOT, *routes.OTHERS)]

    assert len(names) == len(set(names))
