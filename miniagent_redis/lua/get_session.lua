#!lua flags=no-writes
-- include: _open _checked _session _sound
-- Read a session's document and its counters.
-- ARGV  5… fields of the metadata that are wanted
-- Returns  nonce 'ok' document values  |  those of _open, _session and _sound
return {nonce, 'ok', redis.call('GET', KEYS[1]), redis.call('HMGET', KEYS[4], unpack(ARGV, 5))}
