#!lua flags=no-writes
-- include: _open _checked _session _sound _head
-- Tell what there is of the thread, to who reads its first records in the same round trip, just before.
-- Returns  nonce 'ok' version epoch count, position of the first record
--          nonce 'miscounted' count length  |  those of _open, _session and _sound
local length = redis.call('LLEN', KEYS[2])
local first, kept = first_of(length)
return first and {nonce, 'ok', version, epoch, count, first} or {nonce, 'miscounted', kept, length}
