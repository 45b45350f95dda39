-- Follows _lease.lua where somebody wants the session, or does not any more. Who waits for it stands
-- in the queue, in the order of coming: 'ticket:until ticket:until …'. A ticket ends unless it is renewed,
-- so that nobody who died holds up the others; `until` is 0 for one that is kept for who works on an
-- abandoned turn first, and ends with the lease. The metadata has the first ticket as 'next', or ''
-- if nobody waits: then the queue is not looked at.
local ticket_ms, forgotten_ms = 6000, 60000
if open_turn or next_ticket ~= '' then
  refused = refusal()
  local found = redis.call('TYPE', KEYS[7]).ok
  if refused or found ~= 'string' and found ~= 'none' then
    return refused or {nonce, 'wrongtype', KEYS[7], found}
  end
end

-- Returns for how many ms a ticket counts. One that would for longer than any is from before the
-- clock went back, and is renewed soon.
local function time_left(ends)
  local left = (ends == '0' and lease or ends) - now
  return (ends == '0' or left <= ticket_ms) and left or 0
end

-- Stores the queue, and the first ticket in it that counts.
local function keep(queue)
  next_ticket = ''
  for ticket, ends in string.gmatch(queue, '(%x+):(%d+)') do
    if next_ticket == '' and time_left(ends) > 0 then
      next_ticket = ticket
    end
  end
  redis.call('SET', KEYS[7], queue, 'PX', forgotten_ms)
  redis.call('HSET', KEYS[4], 'next', next_ticket)
end

-- Renews the tickets of one process, the caller's first, which gets the last place if it has none;
-- the others may have left the queue meanwhile. Returns the queue, and for how many ms somebody else
-- comes before the caller, or nothing.
local function line_up(tickets)
  local own, waits, queue, left = string.match(tickets, '%x+'), {}, {}, nil
  local renewed, is_passed = format('%d', now + ticket_ms), false
  for ticket in string.gmatch(tickets, '%x+') do
    waits[ticket] = true
  end
  for ticket, ends in string.gmatch(redis.call('GET', KEYS[7]) or '', '(%x+):(%d+)') do
    ends = waits[ticket] and renewed or ends
    is_passed = is_passed or ticket == own
    if not is_passed and not left and time_left(ends) > 0 then
      left = time_left(ends)
    end
    if ends == '0' or now - ends < forgotten_ms then
      queue[#queue + 1] = ticket .. ':' .. ends
    end
  end
  if own and not is_passed then
    queue[#queue + 1] = own .. ':' .. renewed
  end
  return table.concat(queue, ' '), left
end
