"""Seeds the server of scripts/api-check and prints the ids that exist, by kind."""
import json
import os
import urllib.request

API, KEY = os.environ["API"], os.environ["KEY"]


def post(path, body):
    request = urllib.request.Request(f"{API}/{path}", json.dumps(body).encode(), {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["id"]


# Enough of each that a run which deletes some leaves others.
users = [post("users", {"name": f"User {n}", "email": f"user{n}@example.com"}) for n in range(20)]
customers = [post("customers", {"name": f"Customer {n}"}) for n in range(20)]
contacts = [
    post(f"customers/{customers[n]}/contacts", {"name": f"Contact {n}", "email": f"contact{n}@example.com"})
    for n in range(20)
]
templates = [post("templates", {"name": f"Template {n}", "target_days": 30 + n}) for n in range(10)]
onboardings = [
    post("onboardings", {"customer_id": customers[n % 10], "csm_id": users[n % 10]}) for n in range(260)
]
keys = [post("api_keys", {"name": f"key {n}", "scopes": ["read:*"]}) for n in range(10)]
print(
    json.dumps(
        {
            "users": users,
            "customers": customers,
            "contacts": contacts,
            "templates": templates,
            "onboardings": onboardings,
            "api_keys": keys,
        }
    )
)
