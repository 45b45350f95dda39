-- Follows _open.lua in every script on an existing session: it is alive, and the user's.
-- Returns  nonce 'notfound'   one answer for unknown, expired and someone else's
local head = redis.call('HMGET', KEYS[4], 'user', 'deadline', 'version', 'epoch', 'message_count',
  'bytes', 'turn', 'holder', 'lease', 'ttl', 'max_end', 'turns', 'input_tokens',
  'output_tokens', 'tool_calls')
local deadline = tonumber(head[2])
if not exists or not deadline or deadline <= now or (user ~= '' and user ~= head[1]) then
  return {nonce, 'notfound'}
end
local version, epoch = tonumber(head[3]), tonumber(head[4])
local count, bytes = tonumber(head[5]), tonumber(head[6])
local open_turn, holder, lease = head[7], head[8], tonumber(head[9])

-- Moves the deadline to now + the session's ttl, never past its absolute end; sets the metadata
-- fields given on the way.
local function slide(...)
  deadline = now + tonumber(head[10])
  local last = tonumber(head[11])
  if last > 0 and deadline > last then
    deadline = last
  end
  redis.call('HSET', KEYS[4], 'deadline', deadline, 'last_activity', now, ...)
  expire_at(deadline)
end

-- Drops the open turn with its staged steps. Its holder stays, for begin_turn to know it by.
local function close_turn()
  redis.call('DEL', KEYS[3])
  redis.call('HDEL', KEYS[4], 'turn', 'lease', 'cancel')
end

-- Pushes items[from..to] to a list, in pieces that fit Lua's stack; returns their bytes.
local function push(key, items, from, to)
  local size = 0
  for i = from, to, 1000 do
    redis.call('RPUSH', key, unpack(items, i, math.min(i + 999, to)))
  end
  for i = from, to do
    size = size + #items[i]
  end
  return size
end
