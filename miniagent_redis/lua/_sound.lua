-- Follows _session.lua in every script that works with the session's numbers: they are numbers. A
-- script that stopped at one that is not would keep what it had written until then.
-- Returns  nonce 'damaged' key   before anything is written
if not sound then
  return refusal() or {nonce, 'damaged', KEYS[4]}
end
