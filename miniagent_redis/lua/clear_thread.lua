#!lua flags=allow-oom
-- include: _open _session _sound
-- Empty the thread. A turn that is open is dropped with it.
-- ARGV  5 operation id
-- Returns  nonce 'ok' messages removed  deadline  user  |  those of _open, _session and _sound
local done, removed = recall(ARGV[5])
if done then
  return {nonce, 'ok', tonumber(removed), deadline, head[1]}
end
redis.call('DEL', KEYS[2])
close_turn()
version = version + 1
remember(ARGV[5], version, count)
emit('history_cleared', '', '', version)
slide('version', version, 'epoch', new_epoch(ARGV[5]), 'message_count', 0, 'bytes', 0)
return {nonce, 'ok', count, deadline, head[1]}
