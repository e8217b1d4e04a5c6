-- What lists of secrets are found by: copies of members of the rows, which the
-- reader compares. A row that is no JSON was altered, fails by itself when it is
-- read, and has no copies.
ALTER TABLE secrets ADD COLUMN kind TEXT;
-- Only what a filter can name: up to 256 characters.
ALTER TABLE secrets ADD COLUMN description TEXT;
ALTER TABLE secrets ADD COLUMN dkms_instance TEXT;
UPDATE secrets SET
  kind = body ->> '$.kind',
  dkms_instance = nullif(body ->> '$.dkms_instance', ''),
  description = CASE WHEN length(body ->> '$.description') BETWEEN 1 AND 256 THEN body ->> '$.description' END
WHERE json_valid(body);
CREATE INDEX secrets_kind ON secrets (kind, name);
CREATE INDEX secrets_description ON secrets (description, name) WHERE description IS NOT NULL;
CREATE INDEX secrets_dkms_instance ON secrets (dkms_instance, name) WHERE dkms_instance IS NOT NULL;

CREATE TABLE secret_tags (
  secret_name TEXT NOT NULL REFERENCES secrets (name) ON DELETE CASCADE,
  tag_key     TEXT NOT NULL,
  tag_value   TEXT NOT NULL,
  PRIMARY KEY (secret_name, tag_key)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO secret_tags (secret_name, tag_key, tag_value)
SELECT name, tag.value ->> '$.key', tag.value ->> '$.value'
FROM secrets, json_each(CASE WHEN json_valid(body) THEN body ELSE '{}' END, '$.tags') tag;
CREATE INDEX secret_tags_key ON secret_tags (tag_key, secret_name, tag_value);
CREATE INDEX secret_tags_value ON secret_tags (tag_value, secret_name, tag_key);

-- The order of all names in pieces, and how many names each has: where a page
-- begins is found by their sums. The first piece begins with the empty text.
CREATE TABLE name_blocks (
  first_name TEXT PRIMARY KEY,
  members    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO name_blocks (first_name, members)
SELECT CASE WHEN block = 0 THEN '' ELSE min(name) END, count(*)
FROM (SELECT name, (row_number() OVER (ORDER BY name) - 1) / 512 AS block FROM secrets)
GROUP BY block;
INSERT OR IGNORE INTO name_blocks (first_name, members) VALUES ('', 0);
