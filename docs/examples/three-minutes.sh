#!/usr/bin/env bash
# From nothing to a reminder: a user, a customer, an onboarding, a reminder now. Needs curl, API and KEY.
set -euo pipefail

call() { curl -sS --fail-with-body -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' "$@"; echo; }

# Who is told: a member of the team.
call "$API/users" -d '{"name": "Ada", "email": "ada@example.com", "time_zone": "Europe/Berlin"}'

# Who is onboarded. external_id is your own key for them.
call "$API/customers" -d '{"name": "Initech", "external_id": "crm-4711"}'
customer=$(call "$API/customers?external_id=crm-4711" | sed -n 's/.*"id": *"\(cust_[a-z0-9]*\)".*/\1/p')

# The onboarding. The Idempotency-Key makes the call safe to repeat: the second answer is the first one.
body='{"customer_id": "'$customer'", "csm_id": "ada@example.com", "reminder_frequency_days": 2}'
call "$API/onboardings" -H 'Idempotency-Key: deal-77' -d "$body"
call "$API/onboardings" -H 'Idempotency-Key: deal-77' -d "$body"
onboarding=$(call "$API/customers/$customer/onboardings" | sed -n 's/.*"id": *"\(onb_[a-z0-9]*\)".*/\1/p')

# It moves on, and everybody who listens is told (docs/events.md).
call -X PATCH "$API/onboardings/$onboarding" -d '{"phase": "review", "reason": "the design is signed"}'

# When the next reminders fall due, and who would get them.
call "$API/onboardings/$onboarding/reminders"

# One now. It stands in the ledger a moment later.
call -X POST "$API/onboardings/$onboarding/reminders"
for _ in $(seq 50); do
    if call "$API/onboardings/$onboarding/reminders" | grep -q '"kind":"manual"'; then break; fi
    sleep 0.2
done
call "$API/onboardings/$onboarding/events"
