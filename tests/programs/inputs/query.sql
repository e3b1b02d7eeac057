SELECT count(*) FROM high;
DELETE FROM places WHERE height < 60;
VACUUM;
SELECT name, lower(name), length(name), hex(substr(name, 1, 2)) FROM places WHERE id < 10;
SELECT json_extract('{"a":[1,2,{"b":"c"}]}', '$.a[2].b'), date(0, 'unixepoch'), 7.0 / 3;
PRAGMA integrity_check;
