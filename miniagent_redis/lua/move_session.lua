#!lua
-- include: _open _checked
-- Make a session of the messages that move_records has put there. Until it is used it has only a
-- short time to live, as whoever moves it may die before anybody knows its id.
-- ARGV  5 operation: of the move  6 count: how many records there have to be  7 staged: how many of
--       these, the last ones, are of a turn that is open  8 hold_ms: the time to live until it is used
--       9 channel for the note, or '' for none  10 note  11 document
--       12… fields of metadata (4) and ops (5): number, name, value, for each
-- Returns  nonce 'ok', now or by an earlier try  |  nonce 'changed', others have put something there
--          those of _open
if exists and redis.call('HGET', KEYS[4], 'moved') == ARGV[5] then
  return {nonce, 'ok'}
end
if exists or redis.call('HGET', KEYS[4], 'moving') ~= ARGV[5]
  or redis.call('LLEN', KEYS[2]) ~= tonumber(ARGV[6]) then
  return {nonce, 'changed'}
end
local staged = tonumber(ARGV[7]) > 0 and redis.call('RPOP', KEYS[2], ARGV[7]) or {}
for i = #staged, 1, -1 do
  redis.call('RPUSH', KEYS[3], staged[i])
end
redis.call('HDEL', KEYS[4], 'moving')
for i = 12, #ARGV, 3 do
  redis.call('HSET', KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2])
end
local ttl, max_end = unpack(redis.call('HMGET', KEYS[4], 'ttl', 'max_end'))
local deadline = now + math.min(tonumber(ttl), tonumber(ARGV[8]))
if tonumber(max_end) > 0 then
  deadline = math.min(deadline, tonumber(max_end))
end
redis.call('HSET', KEYS[4], 'deadline', format('%d', deadline), 'moved', ARGV[5])
redis.call('SET', KEYS[1], ARGV[11])
for i = 1, 6 do
  expire(i, deadline)
end
redis.call('PUBLISH', KEYS[6], 'session_created')
if ARGV[9] ~= '' then
  redis.pcall('PUBLISH', ARGV[9], ARGV[10]) -- where that is forbidden sessions are moved all the same
end
return {nonce, 'ok'}
