"""An upstream and a downstream system, with nats-py and the cloudevents package: every form in which usher takes a
command, and every event read back as a CloudEvent.

    pip install nats-py cloudevents
    python docs/examples/upstream.py nats://localhost:4222 main
"""

import asyncio, json, secrets, sys

import nats
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from nats.js.api import ConsumerConfig, DeliverPolicy

SERVER = sys.argv[1] if len(sys.argv) > 1 else "nats://localhost:4222"
WORKSPACE = sys.argv[2] if len(sys.argv) > 2 else "main"
RUN = secrets.token_hex(4)  # makes the keys of this run its own
PATIENCE = 60


def cloud_event(id, data, **attributes):
    return CloudEvent({"id": f"{RUN}/{id}", "source": "/crm", "type": "com.example.deal.changed", **attributes}, data)


def deal(name, **fields):
    return {"external_id": f"{RUN}-{name}", "customer_id": f"external:{RUN}-acme", **fields}


def forms():
    """Name, headers and body of an onboarding.create in every form there is."""
    yield "plain", {}, json.dumps(deal("plain")).encode()
    yield "plain with Nats-Msg-Id", {"Nats-Msg-Id": f"{RUN}-2"}, json.dumps(deal("plain with Nats-Msg-Id")).encode()
    structured = to_structured(cloud_event(3, deal("structured")), JSONFormat())
    yield "structured", structured.headers, structured.body
    bare = to_structured(cloud_event(4, deal("structured without content type")), JSONFormat())
    yield "structured without content type", {}, bare.body
    for number, (prefix, case) in enumerate([("ce-", str.lower), ("Ce-", str.title), ("CE-", str.upper)], 5):
        name = f"binary with {prefix}"
        binary = to_binary(cloud_event(number, deal(name)), JSONFormat())
        yield name, {case(header): value for header, value in binary.headers.items()}, binary.body


async def main():
    nc = await nats.connect(SERVER)
    js = nc.jetstream()
    new = ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
    events = await js.pull_subscribe(f"usher.events.{WORKSPACE}.>", stream="USHER_EVENTS", config=new)
    rejections = await js.pull_subscribe(f"usher.rejected.{WORKSPACE}.>", stream="USHER_REJECTED", config=new)

    async def ask(command, data):
        answer = await nc.request(f"usher.requests.{WORKSPACE}.{command}", json.dumps(data).encode(), timeout=PATIENCE)
        return json.loads(answer.data)

    async def publish(command, body, headers):
        ack = await js.publish(f"usher.commands.{WORKSPACE}.{command}", body, headers=headers, timeout=PATIENCE)
        assert not ack.duplicate, "the stream dropped it: Nats-Msg-Id was used before"

    # Requests have an answer: the object, or the error envelope of the API.
    customer = await ask("customer.upsert", {"external_id": f"{RUN}-acme", "name": "Acme"})
    print(f"asked      customer.upsert: {customer['object']} {customer['name']}, version {customer['version']}")
    made = await ask("onboarding.create", deal("asked"))
    print(f"asked      onboarding.create: {made['object']} in {made['phase']}, {made['state']}")
    refused = await ask("onboarding.create", deal("asked", reminder_frequency_days=0))
    print(f"asked      onboarding.create: {refused['error']['code']} in {refused['error']['field']}")

    # Commands go through a stream and have none; what they did is told by events.
    for name, headers, body in forms():
        await publish("onboarding.create", body, headers)
        print(f"published  onboarding.create, {name}")

    # The newer change first. The older one that comes after it has no effect, because both have a sequence.
    for sequence, notes in [("10", "signed"), ("9", "negotiating")]:
        change = cloud_event(f"change-{sequence}", {"external_id": f"{RUN}-plain", "notes": notes}, sequence=sequence)
        message = to_structured(change, JSONFormat())
        await publish("onboarding.update", message.body, message.headers)
        print(f"published  onboarding.update, sequence {sequence}: {notes}")

    # What can never succeed comes back with the reason.
    await publish("onboarding.create", b'{"customer_id": 7}', {"Nats-Msg-Id": f"{RUN}-bad"})
    print("published  onboarding.create, wrong")
    [message] = await rejections.fetch(1, timeout=PATIENCE)
    await message.ack()
    reason = {name.lower(): value for name, value in message.headers.items()}
    print(f"rejected   {message.subject.split('.', 3)[3]}: {reason['usher-error-code']} in {reason['usher-error-field']}")

    # Every event is a CloudEvent: the package reads it, and would raise an error otherwise.
    seen = {}
    while len(seen) < 10:
        for message in await events.fetch(10, timeout=PATIENCE):
            event = JSONFormat().read(None, message.data)
            attributes = event.get_attributes()
            assert message.headers["Content-Type"] == "application/cloudevents+json"
            assert message.subject == f"usher.events.{WORKSPACE}.{attributes['type']}"
            assert attributes["source"] == f"/usher/{WORKSPACE}" and attributes["livemode"] is True
            assert attributes["subject"] == event.get_data()["object"]["id"]
            seen[attributes["id"]] = event  # a repeat has the same id
            await message.ack()  # after your own effect is durable
    for event in sorted(seen.values(), key=lambda event: (event.get_type(), event.get_data()["object"]["external_id"])):
        data, attributes = event.get_data(), event.get_attributes()
        key = data["object"]["external_id"].removeprefix(f"{RUN}-")
        notes = f", notes {data['object']['notes']}" if data["object"].get("notes") else ""
        print(f"event      {attributes['type']}, sequence {attributes['sequence']}: {key}{notes}")
    await nc.close()


asyncio.run(main())
