// What the shared store does with greylisting's entries, in one step each: Lua 5.1 for Redis 6 and later, and Valkey.
// `decide` is GreylistDecision line by line, `adopt` GreylistEntry.merged; tests hold them to that with random
// sequences. All keys come in KEYS. The clock is the store's, so that hosts whose clocks differ agree; tests hand
// another in. What a host no longer understands (another type, damaged, of a later version) counts as absent, and is
// replaced where something is written under its key.

import PosternAdmission

enum SharedGreylistScripts {
    static let decide = script("decide", reading + forgetting + deciding)
    static let adopt = script("adopt", reading + forgetting + adopting)
    static let allow = script("allow", reading + forgetting + allowing)
    static let forget = script("forget", removing)
    static let pulse = script("pulse", pulsing)

    private static func script(_ name: String, _ text: String) -> StoreScript {
        StoreScript(name: "greylist.\(name)", text: text)
    }

    /// Entries from and to their text (SharedGreylistEntry).
    private static let reading = """
        local function clock(given)
          if given ~= '' then return tonumber(given) end
          local time = redis.call('TIME')
          return time[1] * 1000 + math.floor(time[2] / 1000)
        end
        local far = \(SharedGreylistEntry.maxMilliseconds)
        local function parse(text)
          if not text then return nil end
          local first = string.match(text, '^\(SharedGreylistEntry.version)(%d+)$')
          if first and #first <= 13 then
            first = tonumber(first)
            if first > far then return nil end
            return { f = first, l = first, t = 0, n = {} }
          end
          local f, l, p, t, n = string.match(
            text .. ',,,,,', '^\(SharedGreylistEntry.version)(%-?%d+),(%-?%d*),(%-?%d*),(%+?%d*),([^,]*),')
          if not f or #f > 14 or #l > 14 or #p > 14 or #t > 3 then return nil end
          local entry = { f = tonumber(f) + 0, a = string.sub(t, 1, 1) == '+', n = {} }
          entry.l = l == '' and entry.f or tonumber(l) and entry.f + tonumber(l)
          if p ~= '' then
            if not tonumber(p) then return nil end
            entry.p = entry.f + tonumber(p)
          end
          if entry.a then t = string.sub(t, 2) end
          entry.t = t == '' and 0 or math.min(tonumber(t), \(SharedGreylistEntry.maxTriplets))
          if not entry.l or math.abs(entry.f) > far or math.abs(entry.l) > far or math.abs(entry.p or 0) > far then
            return nil
          end
          for network in string.gmatch(n, '[^ ]+') do
            if #entry.n < \(GreylistDecision.domainNetworks) then entry.n[#entry.n + 1] = network end
          end
          return entry
        end
        local function text(entry)
          local text = '\(SharedGreylistEntry.version)' .. string.format('%.0f', entry.f)
          if entry.l == entry.f and not entry.p and not entry.a and entry.t == 0 and #entry.n == 0 then return text end
          text = text .. ',' .. (entry.l == entry.f and '' or string.format('%.0f', entry.l - entry.f))
            .. ',' .. (entry.p and string.format('%.0f', entry.p - entry.f) or '')
            .. ',' .. (entry.a and '+' or '') .. (entry.t == 0 and '' or entry.t)
            .. ',' .. table.concat(entry.n, ' ')
          return (string.gsub(text, ',+$', ''))
        end

        """

    /// When entries end: as GreylistEntry.expires.
    private static let forgetting = """
        local now, delay = clock(ARGV[1]), tonumber(ARGV[2])
        local retry, remember = tonumber(ARGV[3]), tonumber(ARGV[4])
        local function ends(entry, triplet)
          if entry.a then return nil end
          if triplet and not entry.p then return entry.f + retry end
          return entry.l + remember
        end
        local function isLiving(entry, triplet)
          local last = ends(entry, triplet)
          return not last or last >= now
        end
        local function notAfterNow(entry)
          if entry.f <= now and entry.l <= now then return false end
          entry.f, entry.l = math.min(entry.f, now), math.min(entry.l, now)
          if entry.p then entry.p = math.min(entry.p, now) end
          return true
        end
        local function save(key, entry, triplet)
          local last = ends(entry, triplet)
          if last then
            redis.call('SET', key, text(entry), 'PX', string.format('%.0f', math.max(1, last - now)))
          else
            redis.call('SET', key, text(entry))
          end
        end

        """

    /// KEYS: the client, its triplet; with a domain that, and its triplet. ARGV: now or nothing; delay, retry_within,
    /// remember, renewal, half of remember in ms; `?` where the identity was not asked for; `w` to write; the network.
    /// Answers: 0 wait, 1 to 4 pass, 5 asks for the identity; now; since when; then what is known by now that the
    /// answer rests upon: number of the key, entry, and so on.
    private static let deciding = """
        local renewal, half = tonumber(ARGV[5]), tonumber(ARGV[6])
        local asked, writes, network = ARGV[7] == '?', ARGV[8] == 'w', ARGV[9]
        local raw = redis.call('MGET', unpack(KEYS))
        local changed = {}
        local function living(i)
          local entry = KEYS[i] and parse(raw[i])
          if not entry then return nil end
          if notAfterNow(entry) then changed[i] = entry end
          if isLiving(entry, i % 2 == 0) then return entry end
        end
        local function new() return { f = now, l = now, t = 0, n = {} } end
        local function due(entry) return entry and now - entry.f >= delay end
        local function renew(i, entry)
          if now - entry.l < renewal then return end
          entry.l = now
          changed[i] = entry
        end
        local function confirm(i, entry)
          if entry and entry.p then return renew(i, entry) end
          changed[i] = { f = entry and entry.f or now, l = now, p = now, t = 0, n = {} }
        end
        local function comesFrom(domain)
          for _, name in ipairs(domain.n) do if name == network then return true end end
          return false
        end
        local function adds(domain, triplet)
          if not domain then return true end
          return not (triplet and triplet.p) and domain.t < \(GreylistDecision.domainTriplets)
            or #domain.n < \(GreylistDecision.domainNetworks) and not comesFrom(domain)
        end
        local function wants(domain, triplet)
          if domain.p then return not domain.a and now - domain.l > half end
          return adds(domain, triplet)
        end
        local function learn(domain, triplet)
          if not adds(domain, triplet) then
            if domain then renew(3, domain) end
            return
          end
          domain = domain or new()
          domain.l = now
          if not (triplet and triplet.p) then domain.t = math.min(domain.t + 1, \(GreylistDecision.domainTriplets)) end
          if #domain.n < \(GreylistDecision.domainNetworks) and not comesFrom(domain) then
            domain.n[#domain.n + 1] = network
          end
          if domain.t >= \(GreylistDecision.domainTriplets) and #domain.n >= \(GreylistDecision.domainNetworks) then
            domain.p = now
          end
          changed[3] = domain
        end

        local shown = {}
        local function decide()
          local client, domain = living(1), living(3)
          if client and client.p then
            if domain then
              local triplet = nil
              if not domain.p then triplet = living(4) end
              if asked then
                if wants(domain, triplet) then return 5 end
              elseif domain.p then
                renew(3, domain)
              else
                local before = { p = triplet and triplet.p }
                confirm(4, triplet)
                learn(domain, before)
              end
            end
            renew(1, client)
            shown[1] = client
            return 1
          end
          local address = living(2)
          if asked then
            if not (address and address.p) then return 5 end
            renew(2, address)
            shown[2] = address
            return 3
          end
          if domain and domain.p then
            renew(3, domain)
            shown[3] = domain
            return 2
          end
          local domainTriplet = living(4)
          if address and address.p then
            renew(2, address)
            shown[2] = address
            return 3
          end
          if domainTriplet and domainTriplet.p then
            renew(4, domainTriplet)
            learn(domain, domainTriplet)
            shown[4] = domainTriplet
            return 4
          end
          local isDue = due(address)
          if not isDue and not due(domainTriplet) then
            local since = math.min(address and address.f or now, domainTriplet and domainTriplet.f or now)
            if not address then changed[2] = new() end
            if KEYS[4] and not domainTriplet then changed[4] = new() end
            shown[2], shown[4] = address, domainTriplet
            return 0, since
          end
          local since = isDue and address.f or domainTriplet.f
          if address then confirm(2, address) end
          changed[1] = { f = client and client.f or now, l = now, p = now, t = 0, n = {} }
          if KEYS[3] then
            local before = { p = domainTriplet and domainTriplet.p }
            confirm(4, domainTriplet)
            learn(domain, before)
          end
          return isDue and 3 or 4, since
        end
        local code, since = decide()
        local reply = { code, now, since or false }
        if not writes or code == 5 then return reply end
        for i = 1, #KEYS do
          local entry = changed[i] or shown[i]
          if changed[i] then save(KEYS[i], entry, i % 2 == 0) end
          if entry then
            reply[#reply + 1] = i
            reply[#reply + 1] = text(entry)
          end
        end
        return reply
        """

    /// KEYS: what was forgotten, then the entries' keys. ARGV: now or nothing, delay, retry_within, remember; then for
    /// each entry what it is about (`c`, `d`, `t`), its text, and the text of its key and of its origin, under which
    /// they may have been forgotten. Answers: a 1 for each entry that has added something, else a 0.
    private static let adopting = """
        local reply = {}
        local function joined(here, other, triplet)
          here.f, here.l = math.min(here.f, other.f), math.max(here.l, other.l)
          if other.p then here.p = math.min(here.p or other.p, other.p) end
          here.a = here.a or other.a
          here.t = math.max(here.t, other.t)
          for _, network in ipairs(other.n) do
            local isNew = #here.n < \(GreylistDecision.domainNetworks)
            for _, one in ipairs(here.n) do if one == network then isNew = false end end
            if isNew then here.n[#here.n + 1] = network end
          end
          if triplet and not here.p then here.l = here.f end
          return here
        end
        local function merged(here, other, kind)
          local triplet = kind == 't'
          notAfterNow(other)
          if not isLiving(other, triplet) then return nil end
          local entry = other
          if here then
            notAfterNow(here)
            if isLiving(here, triplet) then entry = joined(here, other, triplet) end
          end
          if kind == 'd' and not entry.p and entry.t >= \(GreylistDecision.domainTriplets)
            and #entry.n >= \(GreylistDecision.domainNetworks)
          then
            entry.p = entry.l
          end
          return entry
        end
        local hasForgotten = redis.call('EXISTS', KEYS[1]) == 1
        local function isForgotten(entry, name)
          if not hasForgotten then return false end
          local time = redis.pcall('ZSCORE', KEYS[1], name)
          -- What has begun after that was not meant; of what is older nothing comes back.
          return type(time) == 'string' and entry.f <= tonumber(time)
        end
        for i = 2, #KEYS do
          local at = 1 + 4 * (i - 1)
          local kind, other, name, origin = ARGV[at], parse(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
          local before = redis.call('MGET', KEYS[i])[1]
          reply[i - 1] = 0
          if other and not isForgotten(other, name) and not (origin ~= name and isForgotten(other, origin)) then
            local after = merged(parse(before), other, kind)
            if after and text(after) ~= before then
              save(KEYS[i], after, kind == 't')
              reply[i - 1] = 1
            end
          end
        end
        return reply
        """

    /// KEYS: the entry's. ARGV: now or nothing, delay, retry_within, remember.
    private static let allowing = """
        local entry = parse(redis.call('MGET', KEYS[1])[1]) or { f = now, t = 0, n = {} }
        entry.l, entry.p, entry.a = now, entry.p or now, true
        save(KEYS[1], entry, false)
        return text(entry)
        """

    /// KEYS: the entry's, what was forgotten. ARGV: now or nothing; how long that is kept, in ms; the text of the key.
    /// Answers how many entries are gone.
    private static let removing = """
        local time = redis.call('TIME')
        local now = tonumber(ARGV[1]) or time[1] * 1000 + math.floor(time[2] / 1000)
        local kept = redis.pcall('ZADD', KEYS[2], string.format('%.0f', now), ARGV[3])
        if type(kept) == 'table' and kept.err then
          redis.call('DEL', KEYS[2])
          redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[3])
        end
        redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - tonumber(ARGV[2])))
        redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -\(SharedGreylistEntry.maxForgotten + 1))
        redis.call('PEXPIRE', KEYS[2], ARGV[2])
        return redis.call('DEL', KEYS[1])
        """

    /// KEYS: a host's pulse, which nothing expires before: a store that evicts by expiry would seem to have lost all.
    /// ARGV: now or nothing. Answers what was left there, and what is there now; in ms.
    private static let pulsing = """
        local time = redis.call('TIME')
        local now = tonumber(ARGV[1]) or time[1] * 1000 + math.floor(time[2] / 1000)
        local left = redis.call('MGET', KEYS[1])[1]
        redis.call('SET', KEYS[1], string.format('%.0f', now), 'PX', 31622400000)
        return { left and tonumber(left) or false, now }
        """
}
