"""Walks a list page by page, and tries again when it makes sense. Python 3.9 or later, nothing else.

    API=http://127.0.0.1:8080/api/v1 KEY=pivotal_... python3 paging.py onboardings state=active
"""
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

API, KEY = os.environ["API"], os.environ["KEY"]


def get(path, **query):
    """One GET; waits and tries again on 429 and 503, as long as the server says."""
    url = f"{API}/{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
    for attempt in range(5):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            error = json.load(refused)["error"]
            if refused.code not in (429, 503):
                where = f" ({error['field']})" if "field" in error else ""
                raise SystemExit(f"{error['code']}{where}: {error['message']}") from None
            time.sleep(int(refused.headers.get("Retry-After", 2**attempt)))
    raise SystemExit("the server is too busy")


def walk(path, **query):
    """Every record of a list, newest first."""
    while True:
        page = get(path, limit=100, **query)
        yield from page["data"]
        if not page["has_more"]:
            return
        query["cursor"] = page["next_cursor"]


if __name__ == "__main__":
    filters = dict(pair.split("=", 1) for pair in sys.argv[2:])
    for record in walk(sys.argv[1], **filters):
        print(record["id"])
