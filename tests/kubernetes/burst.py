#!/usr/bin/env python3
"""Creates many pods at once and prints how long each creation took, as the API server's clients see it.

Usage: burst.py SERVER CA TOKEN-FILE NAMESPACE POD COUNT. Exit code 1 where one was not created.
"""

import concurrent.futures
import http.client
import json
import ssl
import sys
import threading
import time
import urllib.parse

server, ca, token_file, namespace, pod_file, count = sys.argv[1:]
address = urllib.parse.urlsplit(server)
trust = ssl.create_default_context(cafile=ca)
with open(token_file, encoding="ascii") as file:
    token = file.read().strip()
with open(pod_file, encoding="utf-8") as file:
    pod = json.load(file)
pod["metadata"] = {"generateName": "burst-"}
body = json.dumps(pod)
gate = threading.Barrier(int(count))


def create(_: int) -> tuple[int, float, bool]:
    connection = http.client.HTTPSConnection(address.hostname, address.port, context=trust, timeout=60)
    connection.connect()
    gate.wait()
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("POST", f"/api/v1/namespaces/{namespace}/pods", body, headers)
    answer = connection.getresponse()
    text = answer.read()
    took = time.monotonic() - began
    connection.close()
    if answer.status != 201:
        print(f"burst: {answer.status}: {text[:300]!r}", file=sys.stderr)
        return answer.status, took, False
    containers = json.loads(text)["spec"].get("initContainers", [])
    return answer.status, took, bool(containers) and containers[0]["name"] == "tollhouse"


with concurrent.futures.ThreadPoolExecutor(int(count)) as pool:
    results = list(pool.map(create, range(int(count))))
times = sorted(took for _, took, _ in results)
made = sum(status == 201 and injected for status, _, injected in results)
percentile = lambda share: times[min(len(times) - 1, int(len(times) * share))] * 1000
print(f"{made} of {count} pods created with the sidecar; creation took p50 {percentile(.5):.0f} ms, p99 {percentile(.99):.0f} ms")
sys.exit(0 if made == int(count) else 1)
