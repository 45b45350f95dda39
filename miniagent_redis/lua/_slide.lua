-- Follows in scripts that use the session: it lives on.

-- Moves the deadline to now + the session's ttl, never past its absolute end, and not back while a
-- turn waits; what is not the
-- session itself stays readable for the grace. Keys of one that never ends have no end, and are not
-- asked. Sets the metadata that most changes touch, and the fields given.
local function slide(...)
  deadline = math.max(now + ttl, open_turn and waits ~= '' and deadline or 0)
  if max_end > 0 and deadline > max_end then
    deadline = max_end
  end
  local at, later = format('%d', deadline), format('%d', deadline + grace)
  redis.call('HSET', KEYS[4], 'deadline', at, 'last_activity', format('%d', now),
    'turn', open_turn or '', 'events', last_event or '0', ...)
  if deadline >= never then
    return
  end
  redis.call('PEXPIREAT', KEYS[1], at)
  for i = 2, 6 do
    if i ~= 3 or open_turn then -- else there is no such key
      redis.call('PEXPIREAT', KEYS[i], later)
    end
  end
end
