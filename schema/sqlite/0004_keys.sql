-- Customer master keys: the names of their objects in the token and what is
-- known of them; the keys themselves are in the token only.
CREATE TABLE keys (
  key  TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;

CREATE TABLE key_aliases (
  key  TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  mac  BLOB NOT NULL
) STRICT;

-- A copy: the customer master key that a secret is encrypted under.
ALTER TABLE secrets ADD COLUMN encryption_key TEXT;
CREATE INDEX secrets_of_key ON secrets (encryption_key) WHERE encryption_key IS NOT NULL;
