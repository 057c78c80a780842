-- A rotated key goes on for a while beside its successor: until when. Null: until it is revoked.
ALTER TABLE api_keys ADD COLUMN expires_at text;
