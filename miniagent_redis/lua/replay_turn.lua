#!lua
-- include: _open _session _sound _spend
-- Store a whole turn at the end of the thread: one whose commit did not reach the server.
-- ARGV  5 turn id  6 holder  7 largest thread in bytes  8 input tokens  9 output tokens
--       10 tool calls  11 epoch of the thread at its begin
--       12 version up to which the caller knows that the turn is not in the thread
--       13 further counts  14… all messages of the turn
-- Returns  nonce 'ok' version count deadline user   now, or earlier by the same holder
--          nonce 'superseded'   another holder stored it, or the thread was cleared meanwhile
--          nonce 'busy' ms left of the lease: another holder works on it
--          nonce 'unsure' version: operations since then are forgotten, so look into the thread
--          nonce 'toolarge' bytes  |  those of _open, _session and _sound
local done, by = recall(ARGV[5])
if done then
  if by ~= ARGV[6] then
    return {nonce, 'superseded'}
  end
  return {nonce, 'ok', done, count, deadline, head[1]}
end
if epoch ~= tonumber(ARGV[11]) then
  return {nonce, 'superseded'}
end
if version - tonumber(ARGV[12]) >= 64 then
  return {nonce, 'unsure', version}
end
if open_turn == ARGV[5] and holder ~= ARGV[6] and lease > now then
  return {nonce, 'busy', lease - now}
end
for i = 14, #ARGV do
  bytes = bytes + #ARGV[i]
end
if bytes > tonumber(ARGV[7]) then
  return {nonce, 'toolarge', bytes}
end
if open_turn == ARGV[5] then
  close_turn() -- what it staged is among these messages
end
version = version + 1
count = count + #ARGV - 13
push(KEYS[2], ARGV, 14, #ARGV)
remember(ARGV[5], version, ARGV[6])
emit('agent_response', ARGV[5], ARGV[#ARGV], version)
slide('version', version, 'message_count', count, 'bytes', bytes, 'turns', head[12] + 1,
  'input_tokens', head[13] + ARGV[8], 'output_tokens', head[14] + ARGV[9],
  'tool_calls', head[15] + ARGV[10])
spend(ARGV[13])
return {nonce, 'ok', version, count, deadline, head[1]}
