#!lua flags=no-writes
-- Read what is stored of a session but its thread, in whatever state it is: for fsck.
-- KEYS  1 session  2 thread  3 turn  4 metadata  5 ops  6 events  7 queue, which is not looked at
-- ARGV  1 nonce  2 now in ms, or '' for the server's clock
-- Returns  nonce 'ok' now types expiries document metadata length staged
--            expiry: ms since the epoch, -1 without one, -2 without the key; length: of the thread;
--            what is of a wrong type is left out
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local types, expiries = {}, {}
for i = 1, 6 do
  types[i] = redis.call('TYPE', KEYS[i]).ok
  expiries[i] = redis.call('PEXPIRETIME', KEYS[i])
end
return {
  ARGV[1], 'ok', now, types, expiries,
  types[1] == 'string' and redis.call('GET', KEYS[1]) or '',
  types[4] == 'hash' and redis.call('HGETALL', KEYS[4]) or {},
  types[2] == 'list' and redis.call('LLEN', KEYS[2]) or 0,
  types[3] == 'list' and redis.call('LRANGE', KEYS[3], 0, -1) or {},
}
