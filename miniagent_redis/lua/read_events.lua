#!lua flags=no-writes
-- include: _open _session
-- Read events from an id on, or the last one only.
-- ARGV  5 first id, or '' for the last event only  6 most events
-- Returns  nonce 'ok' now  created_at  deadline  number of the last event  events, each an id and
--          its fields  |  those of _open and _session
local made, last = unpack(redis.call('HMGET', KEYS[4], 'created_at', 'events'))
local events
if ARGV[5] == '' then
  events = redis.call('XREVRANGE', KEYS[6], '+', '-', 'COUNT', 1)
else
  events = redis.call('XRANGE', KEYS[6], ARGV[5], '+', 'COUNT', ARGV[6])
end
return {nonce, 'ok', now, tonumber(made), deadline, tonumber(last) or 0, events}
