"""A service that does not answer: examples/yaml/unreachable_service.yaml in Python.

`prices` is asked three times, with growing delays, then replaced by a copy from yesterday; the report goes on without
`rates`. All requests of the run pass one rate limiter. Port 1, where nobody listens, plays the service.

Instead of:   a decorator for the retries, a `try` around each call for the copy and for what is missing, and a
              semaphore with a clock for the rate, which holds no longer once the calls are in processes.

Run it:   python examples/python/unreachable_service.py
"""

from __future__ import annotations

import json
import socket

import teastreams as ts

PORT = 1


def ask(context: ts.Context) -> None:
    with context.limit("service"), socket.create_connection(("127.0.0.1", PORT), timeout=5):
        pass


def prices(context: ts.Context) -> dict:
    ask(context)
    return {"prices": {"tea": 4}, "source": "the service"}


def copy(context: ts.Context) -> dict:
    return {"prices": {"tea": 3.5}, "source": "a copy: " + context.error.error_type}


def rates(context: ts.Context) -> dict:
    ask(context)
    return {"rates": {"EUR": 1}}


def report(parallel_results: ts.ParallelResults) -> dict:
    prices, rates = parallel_results
    missing = [] if "rates" in rates else [rates["__error__"]["node"]]
    return {"prices": prices["prices"], "prices_are": prices["source"], "missing": missing}


def main() -> None:
    patience = ts.RetryPolicy(max_retries=2, base_delay=0.05, retry_on=("OSError",))
    graph = ts.StateGraph(rate_limiters={"service": ts.RateLimit(rps=50)})
    graph.add_node("prices", run=prices, retry=patience, on_error={"fallback": "copy"})
    graph.add_node("copy", run=copy)
    graph.add_node("rates", run=rates, on_error="graceful")
    graph.add_node("report", run=report)
    graph.add_parallel_edge(ts.START, ["prices", "rates"], fan_in="report", strategy="process")
    graph.set_finish_point("report")
    result = graph.compile().run()
    print(json.dumps(dict(result.state), indent=2))


if __name__ == "__main__":
    main()
