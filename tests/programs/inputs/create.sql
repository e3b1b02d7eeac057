CREATE TABLE places(id INTEGER PRIMARY KEY, name TEXT UNIQUE, height REAL);
INSERT INTO places(name, height) VALUES ('Hügel', 12.5), ('Tal', -3.25), ('Küste', 0);
CREATE INDEX by_height ON places(height);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO places(name, height) SELECT printf('place %05d', i), (i * 7919) % 1000 / 8.0 FROM n;
SELECT count(*), sum(height), group_concat(substr(name, 1, 3)) FROM places WHERE height > 124;
BEGIN; DELETE FROM places WHERE id % 2; ROLLBACK;
SELECT name, round(height, 1) AS h FROM places ORDER BY height, name LIMIT 3;
CREATE VIEW high AS SELECT * FROM places WHERE height > 100;
PRAGMA integrity_check;
