-- Follows _queue.lua where a turn is begun.

-- Returns for how many ms the caller has to wait, which it does in the queue, or nothing; of a turn
-- that is parked a refusal tells. Who wants to take over an abandoned turn and nothing else comes
-- before all who wait.
local function must_wait(tickets, resumes)
  if waits ~= '' then
    refused = refusal() or {nonce, 'waiting', open_turn, waits, redis.call('LRANGE', KEYS[3], 0, -1)}
  end
  if waits ~= '' or not tickets then
    return waits ~= '' and 0
  end
  local left, queue, others = open_turn and lease_left() or 0, nil, nil
  if not resumes and (left > 0 or next_ticket ~= '') then
    queue, others = line_up(tickets)
    left = math.max(left, others or 0)
  end
  if left > 0 and queue and tickets ~= '' then
    keep(queue)
  end
  return left > 0 and left
end

-- Returns of the turn: if it is cancelled, when it began, in µs; of one that is gone on with, how often
-- it was taken over by now, and the calls that were approved while it was parked: behind the first
-- holder that could start them, who is the caller if there was none yet.
local function so_far(turn, again, holder, goes_on)
  if not turn then
    return '', format('%d', now * 1000 + micros), 0
  end
  local cancel, began, takeovers, approved =
    unpack(redis.call('HMGET', KEYS[4], 'cancel', 'began', 'takeovers', 'approved'))
  if not goes_on then
    redis.call('HSET', KEYS[4], 'ender', holder)
  end
  local of, by, calls = string.match(approved or '', '^(%S+) (%S+)(.*)$')
  approved = of == turn and (by == '-' and holder or by) .. calls or nil
  if approved and by == '-' then
    redis.call('HSET', KEYS[4], 'approved', turn .. ' ' .. approved)
  end
  return goes_on and (cancel or '') or turn, began or 0,
    (tonumber(takeovers or 0) or 0) + (again and 0 or 1), approved
end

-- Drops the open turn, if there is one, as another message takes its place.
local function drop()
  if open_turn then
    redis.call('DEL', KEYS[3])
    emit('turn_failed', open_turn, '', version)
  end
end

-- Takes the caller out of the queue, with those in front of it, whose tickets have ended. With a '+'
-- in front of its ticket it keeps its place when it works on an abandoned turn first.
local function step_out(tickets, is_abandoned, lease_end)
  lease = lease_end
  local mark, own = string.match(tickets, '^(%+?)(%x+)')
  local stays = is_abandoned and mark == '+'
  if not own or next_ticket == '' and not stays then
    return
  end
  local queue = redis.call('GET', KEYS[7]) or ''
  local behind = string.match(' ' .. queue, ' ' .. own .. ':%d+ ?(.*)')
  if stays then
    keep(own .. ':0 ' .. (behind or queue))
  elseif behind then
    keep(behind)
  end
end
