#!lua flags=allow-oom
-- include: _open _checked _session _sound _events _forget _ops _doubt _slide _lease _head
-- Remove the end of the thread. A turn that was left behind is dropped: it began on what is gone.
-- ARGV  5 operation, '=' in front if a caller gave it  6 epoch and
--       7 version in which the place to cut was looked at, or '' if it must not be cut
--       8 keep: how many messages stay  9 note for watchers, a record  10 new_epoch, a random number
--       11 idle: '1' if there must be no open turn, be it left behind or waiting; else ''
-- Returns  nonce 'ok' messages removed  deadline  now  user   now, or earlier by the same operation
--          nonce 'changed', look again  |  nonce 'busy' ms left of the lease: a turn is running, or open
--          those of _open, _session, _sound and _doubt
local done, removed = recall(ARGV[5])
if done then
  return {nonce, 'ok', tonumber(removed), deadline, now, owner}
end
local doubtful = doubt(version)
if doubtful then
  return doubtful
end
local length, keep = redis.call('LLEN', KEYS[2]), tonumber(ARGV[8])
local first = first_of(length)
if epoch ~= tonumber(ARGV[6]) or version ~= tonumber(ARGV[7]) or not first then
  return {nonce, 'changed'}
end
local left = open_turn and lease_left()
if left and (left > 0 or ARGV[11] == '1') then
  return {nonce, 'busy', math.max(left, 0)}
end
removed = math.min(count - keep, length)
if removed > 0 then
  for _, message in ipairs(redis.call('RPOP', KEYS[2], removed)) do
    bytes = bytes - #message
  end
end
if first > keep then -- what was to be kept is gone
  redis.call('HSET', KEYS[4], 'head', keep)
end
forget_events()
if open_turn then
  redis.call('DEL', KEYS[3])
  emit('turn_failed', open_turn, '', version)
  open_turn = nil
end
version = version + 1
remember(ARGV[5], version, removed)
emit('history_cleared', '', ARGV[9], version, true)
slide('version', version, 'epoch', ARGV[10], 'message_count', ARGV[8], 'bytes', bytes)
return {nonce, 'ok', removed, deadline, now, owner}
