"""What Redis does, in its own language: a script is one step, and nobody comes between its parts.

PREFIX:record:NAME/ADDRESS is the text of a record, and expires unless it is renewed; the owner
stands at its beginning. The set PREFIX:members:NAME has the addresses of a service, the set
PREFIX:services the names, and the stream PREFIX:bell:NAME rings in all who watch the service; it
expires too.
"""

# GET gives a text, false where there is none, or a table where something else lies there. For a
# beat what is in no set is gone, since LIST and NAMES do not find it: so it is restored.
EACH = """
local prefix, owner, ttl, verb, states = ARGV[1], ARGV[2], ARGV[3], ARGV[4], {}
for i = 5, #ARGV do
  local text, info = ARGV[i], cjson.decode(ARGV[i])
  local function key(kind) return prefix .. ':' .. kind .. ':' .. info.service_name end
  local record = key('record') .. '/' .. info.addr
  local listed = redis.call('SISMEMBER', key('members'), info.addr) == 1
    and redis.call('SISMEMBER', prefix .. ':services', info.service_name) == 1
  local found = (listed or verb ~= 'renew') and redis.pcall('GET', record)
  local ours = type(found) == 'string' and found:find('{"owner":"' .. owner, 1, true) == 1
  if verb == 'register' or verb == 'restore' and (ours or not found) then
    redis.call('SET', record, text, 'PX', ttl)
    redis.call('SADD', key('members'), info.addr)
    redis.call('SADD', prefix .. ':services', info.service_name)
    ours = true
  elseif verb == 'renew' and ours then redis.call('PEXPIRE', record, ttl)
  elseif verb == 'remove' and ours then
    redis.call('DEL', record)
    redis.call('SREM', key('members'), info.addr)
  end
  if verb ~= 'renew' then
    redis.call('XADD', key('bell'), 'MAXLEN', 1, '*', 'by', owner)
    redis.call('EXPIRE', key('bell'), 86400)  -- no watch waits for a day without another look
  end
  states[#states + 1] = ours and 'ours' or found and 'superseded' or 'gone'
end
return states"""

LIST = """
local prefix, soonest, name, found = ARGV[1], ARGV[3] / 3, ARGV[4], {}
local members, bell = prefix .. ':members:' .. name, prefix .. ':bell:' .. name
for _, addr in ipairs(redis.call('SMEMBERS', members)) do
  local record = prefix .. ':record:' .. name .. '/' .. addr
  local text, left = redis.pcall('GET', record), redis.call('PTTL', record)
  if left >= 0 then soonest = math.min(soonest, left) end
  if not text then redis.call('SREM', members, addr)
  else found[#found + 1] = {name .. '/' .. addr, type(text) == 'string' and text or ''} end
end
if #found == 0 then redis.call('SREM', prefix .. ':services', name) end
local rung = redis.call('XREVRANGE', bell, '+', '-', 'COUNT', 1)[1] or {'0-0'}
return {bell, rung[1], math.floor(soonest) + 1, found}"""

NAMES = "return redis.call('SMEMBERS', ARGV[1] .. ':services')"
