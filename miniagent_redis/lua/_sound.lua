-- Follows _session.lua in every script that works with the session's numbers: they are numbers. A
-- script that stopped at one that is not would keep what it had written until then.
-- Returns  nonce 'damaged' key   before anything is written
for _, i in ipairs({3, 4, 5, 6, 10, 11, 12, 13, 14, 15}) do
  if not tonumber(head[i]) then
    return {nonce, 'damaged', KEYS[4]}
  end
end
