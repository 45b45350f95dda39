#!lua
-- include: _open _checked _session _sound
-- Replace a session's document by the same with another title. That is no use of the session, and
-- no version of its own: who reads the data and writes it back by its version is not disturbed.
-- ARGV  5 operation: no other has it  6 document  7 created_at of the session that is meant
--       8 version and  9 titled, the operation that gave the title, as when the document was read
--       10 channel for the note, or '' for none  11 note
-- Returns  nonce 'ok', now or by an earlier try  |  nonce 'changed', look again
--          those of _open, _session and _sound
local titled, made = unpack(redis.call('HMGET', KEYS[4], 'titled', 'created_at'))
if titled == ARGV[5] then
  return {nonce, 'ok'}
end
if made ~= ARGV[7] then
  return {nonce, 'notfound'} -- it was made anew since its document was read
end
if version ~= tonumber(ARGV[8]) or (titled or '') ~= ARGV[9] then
  return {nonce, 'changed'}
end
redis.call('SET', KEYS[1], ARGV[6], 'KEEPTTL')
redis.call('HSET', KEYS[4], 'titled', ARGV[5])
if ARGV[10] ~= '' then
  redis.pcall('PUBLISH', ARGV[10], ARGV[11]) -- where that is forbidden titles are given all the same
end
return {nonce, 'ok'}
