-- Claims of contacts and grants of rewards: the same as referral_stream/core/ledger/grants.py. A part of script.lua.

-- Nothing that lies this far behind something newer can count for a request any more, however late it comes.
local FORGOTTEN = math.max(claim_period, grant_period) + 30 * 24 * HOUR

-- Adds to a set by instant, and forgets what nobody can ask for any more.
local function note(kind, name, member, at)
  local noted = key(kind, name)
  redis.call('ZADD', noted, digits(at), member)
  redis.call('ZREMRANGEBYSCORE', noted, '-inf', digits(at - FORGOTTEN))
  redis.call('EXPIRE', noted, grants_lapse)
end

-- Where claims are looked for: by the contact's key, and by the referral. Members begin with customer and referral, so
-- that at a tie the set itself has the smaller one first.
local function by_contact(customer, referral)
  return customer .. '\0' .. referral
end

local function by_referral(customer, referral, contact)
  return customer .. '\0' .. referral .. '\0' .. contact
end

local function note_claim(customer, referral, contact, first)
  note('claimed contact', contact, by_contact(customer, referral), first)
  note('claimed referral', referral, by_referral(customer, referral, contact), first)
end

-- A referral's claims are {key, first, last}: the first counts, the last stands if only what came before is released.
local function claims_of(customer, referral)
  local held = redis.call('HMGET', key('claims', by_contact(customer, referral)), 'released', 'claimed')
  return tonumber(held[1] or '-1'), cjson.decode(held[2] or '[]')
end

local function keep_claims(customer, referral, released, claimed)
  local claims = key('claims', by_contact(customer, referral))
  redis.call('HSET', claims, 'released', digits(released), 'claimed', #claimed > 0 and cjson.encode(claimed) or '[]')
  redis.call('EXPIRE', claims, grants_lapse)
end

function operation.claim(customer, referral, contacts, now)
  local released, before = claims_of(customer, referral)
  if now < released or #contacts == 0 then return {'done'} end
  local claimed, known = {}, {}
  for _, each in ipairs(before) do
    if tonumber(each[3]) > now - FORGOTTEN then
      claimed[#claimed + 1] = each
      known[each[1]] = each
    end
  end
  for _, contact in ipairs(contacts) do
    local claim = known[contact]
    if not claim then
      claim = {contact, digits(now), digits(now)}
      claimed[#claimed + 1], known[contact] = claim, claim
    end
    local first = tonumber(claim[2])
    local earlier, later = math.min(first, now), math.max(first, now)
    claim[2] = digits(later < earlier + claim_period and earlier or later)
    claim[3] = digits(math.max(tonumber(claim[3]), now))
  end
  keep_claims(customer, referral, released, claimed)
  for _, contact in ipairs(contacts) do note_claim(customer, referral, contact, tonumber(known[contact][2])) end
  return {'done'}
end

function operation.release_claims(customer, referral, now)
  local released, before = claims_of(customer, referral)
  local claimed, ended, moved = {}, {}, {}
  for _, each in ipairs(before) do
    if tonumber(each[3]) <= now then
      ended[#ended + 1] = each
    else
      claimed[#claimed + 1] = each
      if tonumber(each[2]) <= now then
        each[2] = each[3]
        moved[#moved + 1] = each
      end
    end
  end
  keep_claims(customer, referral, math.max(now, released), claimed)
  for _, each in ipairs(moved) do note_claim(customer, referral, each[1], tonumber(each[2])) end
  for _, each in ipairs(ended) do
    redis.call('ZREM', key('claimed contact', each[1]), by_contact(customer, referral))
    redis.call('ZREM', key('claimed referral', referral), by_referral(customer, referral, each[1]))
  end
  return {'done'}
end

-- Whether one text comes before another, byte by byte as in a set. Lua itself would ask the server's locale.
local function before(one, other)
  for at = 1, math.min(#one, #other) do
    local mine, theirs = string.byte(one, at), string.byte(other, at)
    if mine ~= theirs then return mine < theirs end
  end
  return #one < #other
end

-- Whether somebody else has claimed it before, of the claims that count now. A request is a claim of its own.
local function claimed_before(kind, name, claimant, now)
  local range = {'(' .. digits(now - claim_period), digits(now), 'WITHSCORES', 'LIMIT', 0, 1}
  local found = redis.call('ZRANGEBYSCORE', key('claimed ' .. kind, name), unpack(range))
  if not found[1] then return false end
  local member = found[1] .. '\0'
  if string.sub(member, 1, #claimant + 1) == claimant .. '\0' then return false end
  return tonumber(found[2]) < now or before(member, claimant .. '\0')
end

-- Where a grant stands: the instant of its newest request that was given, and that of its newest release.
local function standing(grant)
  local held = redis.call('HMGET', key('grant', grant), 'now', 'released')
  return tonumber(held[1] or '-1'), tonumber(held[2] or '-1')
end

-- Those for whom a grant counts, and what it holds, as {kind, id} pairs.
local function counted_for(grant)
  return cjson.decode(redis.call('HGET', key('grant', grant), 'counted') or '[]')
end

local function count_grant(grant, referral, customer, account, contacts, now)
  if now <= standing(grant) then return end
  local earlier, counted = counted_for(grant), {{'customer', customer}, {'referral', referral}}
  if account ~= '' then counted[#counted + 1] = {'account', account} end
  for _, contact in ipairs(contacts) do counted[#counted + 1] = {'contact', contact} end
  redis.call('HSET', key('grant', grant), 'now', digits(now), 'counted', cjson.encode(counted))
  redis.call('EXPIRE', key('grant', grant), grants_lapse)
  for _, each in ipairs(earlier) do redis.call('ZREM', key('granted ' .. each[1], each[2]), grant) end
  for _, each in ipairs(counted) do note('granted ' .. each[1], each[2], grant, now) end
end

-- Whether so many grants, or more, count for it that were asked for after this instant.
local function granted(kind, name, after, many)
  local range = {'(' .. digits(after), '+inf', 'LIMIT', 0, many}
  return #redis.call('ZRANGEBYSCORE', key('granted ' .. kind, name), unpack(range)) >= many
end

local function refusal(referral, customer, account, contacts, now)
  local claimant = by_contact(customer, referral)
  local function taken(kind, name)
    return claimed_before(kind, name, claimant, now) or granted(kind, name, now - claim_period, 1)
  end
  if taken('referral', referral) then return 'duplicate' end
  for _, contact in ipairs(contacts) do
    if taken('contact', contact) then return 'duplicate' end
  end
  if granted('customer', customer, now - grant_period, customer_grants) then return 'customer_cap' end
  if account ~= '' and granted('account', account, now - grant_period, account_grants) then return 'account_cap' end
end

function operation.request_grant(grant, referral, customer, account, contacts, now)
  local given_at, released_at = standing(grant)
  if given_at <= released_at then
    if now <= released_at then return {'unavailable'} end
    local refused = refusal(referral, customer, account, contacts, now)
    if refused then return {'refused', refused} end
  end
  count_grant(grant, referral, customer, account, contacts, now)
  return {'given'}
end

function operation.hold_grant(grant, referral, customer, account, contacts, requested)
  local given_at, released_at = standing(grant)
  if given_at <= released_at and requested <= released_at then return {'unavailable'} end
  count_grant(grant, referral, customer, account, contacts, requested)
  return {'given'}
end

function operation.confirm_grant(grant, referral, customer, account, contacts, now)
  local _, released_at = standing(grant)
  if now > released_at then count_grant(grant, referral, customer, account, contacts, now) end
  return {'done'}
end

function operation.release_grant(grant, now)
  local given_at, released_at = standing(grant)
  local released = math.max(now, released_at)
  redis.call('HSET', key('grant', grant), 'released', digits(released))
  redis.call('EXPIRE', key('grant', grant), grants_lapse)
  if given_at <= released then
    for _, each in ipairs(counted_for(grant)) do redis.call('ZREM', key('granted ' .. each[1], each[2]), grant) end
  end
  return {'done'}
end
