#!lua
-- include: _open _session _sound
-- Append messages to the thread outside a turn.
-- ARGV  5 operation id  6 largest thread in bytes  7… messages
-- Returns  nonce 'ok' version count deadline user  |  nonce 'toolarge' bytes
--          those of _open, _session and _sound
local done = recall(ARGV[5])
if done then
  return {nonce, 'ok', done, count, deadline, head[1]}
end
for i = 7, #ARGV do
  bytes = bytes + #ARGV[i]
end
if bytes > tonumber(ARGV[6]) then
  return {nonce, 'toolarge', bytes}
end
version = version + 1
count = count + #ARGV - 6
push(KEYS[2], ARGV, 7, #ARGV)
remember(ARGV[5], version, '')
emit('message_added', '', ARGV[#ARGV], version)
slide('version', version, 'message_count', count, 'bytes', bytes)
return {nonce, 'ok', version, count, deadline, head[1]}
