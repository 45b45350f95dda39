-- Follows _events.lua in scripts that remove messages.

-- Removes all events, which tell of what is gone, some with its text. What is told from now on has
-- later ids than they had, also if the clock went back.
local function forget_events()
  local last = redis.call('XREVRANGE', KEYS[6], '+', '-', 'COUNT', 1)[1]
  if last then
    told_at = math.max(now, tonumber(string.match(last[1], '^%d+')))
    redis.call('DEL', KEYS[6])
  end
end
