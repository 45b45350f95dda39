#!lua
-- include: _open _session _sound _spend
-- Move the staged messages and the last ones into the thread and end the turn.
-- ARGV  5 turn id  6 holder  7 largest thread in bytes  8 input tokens  9 output tokens
--       10 tool calls  11 how many messages the holder knows to be staged  12 further counts
--       13… messages
-- Returns  nonce 'ok' version count deadline user  |  nonce 'superseded'
--          nonce 'toolarge' bytes  |  those of _open, _session and _sound
if open_turn ~= ARGV[5] or holder ~= ARGV[6] then
  local done, by = recall(ARGV[5])
  if done and by == ARGV[6] then
    return {nonce, 'ok', done, count, deadline, head[1]}
  end
  return {nonce, 'superseded'}
end
local messages = redis.call('LRANGE', KEYS[3], 0, -1)
if #messages ~= tonumber(ARGV[11]) then
  return {nonce, 'superseded'} -- it may lack a tool result, or hold one that nobody asked for
end
for i = 13, #ARGV do
  messages[#messages + 1] = ARGV[i]
end
for i = 1, #messages do
  bytes = bytes + #messages[i]
end
if bytes > tonumber(ARGV[7]) then
  return {nonce, 'toolarge', bytes}
end
version = version + 1
count = count + #messages
push(KEYS[2], messages, 1, #messages)
close_turn()
remember(ARGV[5], version, ARGV[6])
emit('agent_response', ARGV[5], messages[#messages], version)
slide('version', version, 'message_count', count, 'bytes', bytes, 'turns', head[12] + 1,
  'input_tokens', head[13] + ARGV[8], 'output_tokens', head[14] + ARGV[9],
  'tool_calls', head[15] + ARGV[10])
spend(ARGV[12])
return {nonce, 'ok', version, count, deadline, head[1]}
