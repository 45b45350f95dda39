#!lua
-- include: _open _checked _session _sound _events _ops _doubt _slide _mark
-- Append messages to the thread outside a turn.
-- ARGV  5 operation, '=' in front if a caller gave it  6 max_bytes of the thread
--       7 count: how many messages there must be before, or '' for any number
--       8 epoch that the thread must have, or '' for any  9… messages
-- Returns  nonce 'ok' version count deadline now user epoch  end of the record in front of these, or
--            nil if others followed: now, or earlier by the same operation
--          nonce 'changed', the thread has another number of messages, or epoch  |  nonce 'toolarge' bytes
--          nonce 'unsure' version: it may have been done and forgotten, so look into the thread
--          those of _open, _session, _sound and _doubt
local added, done = #ARGV - 8, recall(ARGV[5])
if done then
  local before = done == version and end_before(count - added)
  return {nonce, 'ok', done, count, deadline, now, owner, epoch, before}
end
local doubtful = doubt(version)
if doubtful then
  return doubtful
end
local is_other = ARGV[8] ~= '' and tonumber(ARGV[8]) ~= epoch
if is_other or ARGV[7] ~= '' and tonumber(ARGV[7]) ~= count then
  return {nonce, 'changed'}
end
for i = 9, #ARGV do
  bytes = bytes + #ARGV[i]
end
if bytes > tonumber(ARGV[6]) then
  return {nonce, 'toolarge', bytes}
end
local before = end_before(count)
version = version + 1
count = count + added
for i = 9, #ARGV do
  redis.call('RPUSH', KEYS[2], ARGV[i])
  emit('message_added', '', ARGV[i], version, i == #ARGV, i - 9, count - added)
end
remember(ARGV[5], version, '')
slide('version', version, 'message_count', count, 'bytes', bytes)
return {nonce, 'ok', version, count, deadline, now, owner, epoch, before}
