"""Holds samples against the schemas of an AsyncAPI document: python scripts/asyncapi/validate.py docs/asyncapi.json

Standard input is a JSON array of {"about", "message", "part": "payload" | "headers", "value", "valid"}. Each sample that
the schema of that message takes for something else than "valid" says is printed, and makes the exit code 1.
"""

import json, sys

from jsonschema import Draft7Validator  # AsyncAPI 3.0 is a superset of draft 07

with open(sys.argv[1], encoding="utf-8") as file:
    document = json.load(file)

validators = {}


def validator(message, part):
    if (message, part) not in validators:
        document["components"]["messages"][message][part]  # a name that is not there must not pass for an empty schema
        schema = {"$ref": f"#/components/messages/{message}/{part}", "components": document["components"]}
        validators[message, part] = Draft7Validator(schema)
    return validators[message, part]


for name, schema in document["components"]["schemas"].items():
    Draft7Validator.check_schema(schema)

samples = json.load(sys.stdin)
wrong = 0
for sample in samples:
    errors = list(validator(sample["message"], sample["part"]).iter_errors(sample["value"]))
    if bool(errors) == sample["valid"]:
        wrong += 1
        why = "; ".join(f"{error.json_path}: {error.message[:300]}" for error in errors[:3]) or "it is valid"
        print(f"{sample['message']} {sample['part']} ({sample['about']}): {why}")
if not samples or wrong:
    sys.exit(f"{wrong} of {len(samples)} samples are not what the document says")
print(f"{len(samples)} samples are what the document says")
