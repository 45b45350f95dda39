#!lua flags=allow-oom
-- include: _open _checked _session _sound _events _forget _ops _doubt _epoch _slide _head
-- Empty the thread, and the events, which tell of it. A turn that is open is dropped with it.
-- ARGV  5 operation
-- Returns  nonce 'ok' messages removed  deadline  now  user  |  those of _open, _session, _sound and _doubt
local done, removed = recall(ARGV[5])
if done then
  return {nonce, 'ok', tonumber(removed), deadline, now, owner}
end
local doubtful = doubt(version)
if doubtful then
  return doubtful
end
local _, kept = first_of()
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HDEL', KEYS[4], 'head', 'trimmed')
forget_events()
open_turn = nil
version = version + 1
remember(ARGV[5], version, kept)
emit('history_cleared', '', '', version, true)
slide('version', version, 'epoch', new_epoch, 'message_count', 0, 'bytes', 0)
return {nonce, 'ok', kept, deadline, now, owner}
