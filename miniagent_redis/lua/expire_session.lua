#!lua flags=allow-oom
-- include: _open _checked
-- Remove everything of a session that has expired, and say so; one that is new stays as it is.
-- ARGV  5 expected: the deadline it was found to have, or '' if it had none
--       6 channel for the note  7 note
-- Returns  nonce 'ok'  |  nonce 'gone', it had been removed before  |  nonce 'alive' deadline
--          those of _open
local deadline = tonumber(redis.call('HGET', KEYS[4], 'deadline'))
local expected = tonumber(ARGV[5])
if deadline and (deadline > now or deadline ~= expected) then
  return {nonce, 'alive', deadline}
end
if deadline then
  redis.call('PUBLISH', KEYS[6], 'session_expired')
  redis.call('PUBLISH', ARGV[6], ARGV[7]) -- that channel may be forbidden: nothing is gone yet
end
redis.call('DEL', unpack(KEYS))
if not deadline then
  return {nonce, 'gone'}
end
return {nonce, 'ok'}
