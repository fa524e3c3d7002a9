// Decides about one try to deliver, from what is remembered: a pure function that every ledger shares (RFC 6647 §2.4,
// §2.5, §3). It also says what is to be remembered from now on. Keeping that, and throwing away what has expired, is
// the ledger's.
//
// A triplet waits for the delay since its first try and must come back within the retry window, or it begins anew. One
// that did makes its client known. Where SPF names a domain, the domain, the sender and the recipient are a second
// triplet beside the client's, so that a pool of addresses waits as one; the domain itself is known once five different
// triplets of it have passed, from two networks. The first of these has waited; those of clients that are known by then
// count too, or a domain with two networks could never be known.

public import PosternMail

public struct GreylistDecision: Hashable, Sendable {
    public let answer: GreylistAnswer
    /// What is to be written, in this order; keys that do not change are not in it.
    public let changes: [GreylistPage.Row]

    /// How many triplets of a domain must have passed before it is known.
    public static let domainTriplets = 5
    /// From how many networks.
    public static let domainNetworks = 2

    /// How often an entry's last mail is written down at most: once a minute, or a thousandth of its memory.
    public static func renewal(_ times: GreylistTimes) -> Duration { min(.seconds(60), times.remember / 1000) }

    /// - Parameter recall: what is remembered under a key, expired or not; called at most once for a key.
    public static func make<Failure: Error>(
        for request: GreylistRequest, times: GreylistTimes, now: UnixTime,
        recall: (GreylistKey) throws(Failure) -> GreylistEntry?
    ) throws(Failure) -> GreylistDecision {
        var memory = Memory(times: times, now: now)
        let answer = try memory.answer(to: request, recall: recall)
        return GreylistDecision(answer: answer, changes: answer == .needsIdentity ? [] : memory.changes)
    }
}

/// The entries of one request while it is decided.
private struct Memory {
    let times: GreylistTimes
    let now: UnixTime
    private(set) var changes: [GreylistPage.Row] = []

    init(times: GreylistTimes, now: UnixTime) {
        self.times = times
        self.now = now.wholeMilliseconds
    }

    mutating func answer<Failure: Error>(
        to request: GreylistRequest, recall: (GreylistKey) throws(Failure) -> GreylistEntry?
    ) throws(Failure) -> GreylistAnswer {
        let clientKey = GreylistKey.origin(.client(request.client))
        let name = request.candidate
        let domainKey = name.map { GreylistKey.origin(.domain($0)) }
        let domainTripletKey = name.map {
            GreylistKey.normalTriplet(.domain($0), sender: request.sender, recipient: request.recipient)
        }
        let client = try living(clientKey, recall)
        var domain: GreylistEntry? = nil
        if let domainKey { domain = try living(domainKey, recall) }

        if let client, client.isKnown {
            if let domain, let domainKey, let domainTripletKey {
                let triplet = domain.isKnown ? nil : try living(domainTripletKey, recall)
                switch request.identity {
                case .notAsked: if wants(domain, triplet, request.client) { return .needsIdentity }
                case .none: break
                case .domain:
                    if domain.isKnown {
                        renew(domainKey, domain)
                    } else {
                        confirm(domainTripletKey, triplet)
                        learn(domainKey, domain, triplet, request.client)
                    }
                }
            }
            renew(clientKey, client)
            return .pass(.knownClient, waited: nil)
        }

        let addressKey = GreylistKey.normalTriplet(
            .client(request.client), sender: request.sender, recipient: request.recipient)
        let address = try living(addressKey, recall)
        if request.identity == .notAsked {
            guard let address, address.isKnown else { return .needsIdentity }
            renew(addressKey, address)
            return .pass(.triplet, waited: nil)
        }
        if let domain, let domainKey, domain.isKnown {
            renew(domainKey, domain)
            return .pass(.knownDomain, waited: nil)
        }
        var domainTriplet: GreylistEntry? = nil
        if let domainTripletKey { domainTriplet = try living(domainTripletKey, recall) }

        if let address, address.isKnown {
            renew(addressKey, address)
            return .pass(.triplet, waited: nil)
        }
        if let domainKey, let domainTripletKey, let domainTriplet, domainTriplet.isKnown {
            renew(domainTripletKey, domainTriplet)
            learn(domainKey, domain, domainTriplet, request.client)
            return .pass(.domainTriplet, waited: nil)
        }

        // RFC 6647 §2.4: the triplet's first try is what the wait is counted from.
        let isDue = isDue(address)
        guard isDue || self.isDue(domainTriplet) else {
            let since = [address, domainTriplet].compactMap { $0?.firstSeen }.min() ?? now
            if address == nil { write(addressKey, GreylistEntry(firstSeen: now)) }
            if let domainTripletKey, domainTriplet == nil { write(domainTripletKey, GreylistEntry(firstSeen: now)) }
            return .wait(remaining: times.delay - (now - since), firstSeen: since)
        }
        let since = (isDue ? address : domainTriplet)?.firstSeen ?? now
        if let address { confirm(addressKey, address) }
        write(clientKey, GreylistEntry(firstSeen: client?.firstSeen ?? now, lastSeen: now, passedSince: now))
        if let domainKey, let domainTripletKey {
            confirm(domainTripletKey, domainTriplet)
            learn(domainKey, domain, domainTriplet, request.client)
        }
        return .pass(isDue ? .triplet : .domainTriplet, waited: now - since)
    }

    /// The entry, unless it has expired. What lies in the future, since the clock was set back, is of this moment; that
    /// is written down, or a wait would last as long as the clock was wrong.
    private mutating func living<Failure: Error>(
        _ key: GreylistKey, _ recall: (GreylistKey) throws(Failure) -> GreylistEntry?
    ) throws(Failure) -> GreylistEntry? {
        guard var entry = try recall(key) else { return nil }
        if entry.firstSeen > now || entry.lastSeen > now {
            entry.firstSeen = min(entry.firstSeen, now)
            entry.lastSeen = min(entry.lastSeen, now)
            entry.passedSince = entry.passedSince.map { min($0, now) }
            write(key, entry)
        }
        if let end = entry.expires(under: key, times), end < now { return nil }
        return entry
    }

    private func isDue(_ entry: GreylistEntry?) -> Bool {
        guard let entry else { return false }
        return now - entry.firstSeen >= times.delay
    }

    /// Whether SPF's word would add to what is known of a domain; asked for the mail of known clients.
    private func wants(_ domain: GreylistEntry, _ triplet: GreylistEntry?, _ client: Network) -> Bool {
        // A domain must not be forgotten only because all its clients are known: twice in its memory it is looked at.
        if domain.isKnown { return !domain.isAllowed && now - domain.lastSeen > times.remember / 2 }
        return adds(domain, triplet, client)
    }

    /// Whether mail of this triplet and client brings a domain nearer to being known.
    private func adds(_ domain: GreylistEntry?, _ triplet: GreylistEntry?, _ client: Network) -> Bool {
        guard let domain else { return true }
        let isNewTriplet = triplet?.isKnown != true && domain.passedTriplets < GreylistDecision.domainTriplets
        return isNewTriplet
            || domain.networks.count < GreylistDecision.domainNetworks && !domain.networks.contains(client)
    }

    private mutating func learn(
        _ key: GreylistKey, _ domain: GreylistEntry?, _ triplet: GreylistEntry?, _ client: Network
    ) {
        guard adds(domain, triplet, client) else {
            if let domain { renew(key, domain) }
            return
        }
        var entry = domain ?? GreylistEntry(firstSeen: now)
        entry.lastSeen = now
        if triplet?.isKnown != true {
            entry.passedTriplets = min(entry.passedTriplets + 1, GreylistDecision.domainTriplets)
        }
        if entry.networks.count < GreylistDecision.domainNetworks, !entry.networks.contains(client) {
            entry.networks.append(client)
        }
        if entry.passedTriplets >= GreylistDecision.domainTriplets,
            entry.networks.count >= GreylistDecision.domainNetworks
        {
            entry.passedSince = now
        }
        write(key, entry)
    }

    private mutating func confirm(_ key: GreylistKey, _ entry: GreylistEntry?) {
        if let entry, entry.isKnown { return renew(key, entry) }
        write(key, GreylistEntry(firstSeen: entry?.firstSeen ?? now, lastSeen: now, passedSince: now))
    }

    private mutating func renew(_ key: GreylistKey, _ entry: GreylistEntry) {
        guard now - entry.lastSeen >= GreylistDecision.renewal(times) else { return }
        var entry = entry
        entry.lastSeen = now
        write(key, entry)
    }

    /// One row for a key: what is written last counts.
    private mutating func write(_ key: GreylistKey, _ entry: GreylistEntry) {
        changes.removeAll { $0.key == key }
        changes.append(GreylistPage.Row(key, entry))
    }
}

extension GreylistRequest {
    /// The domain that SPF has passed for, or would be asked for: the null reverse-path has none until it was asked
    /// (RFC 7208 §2.4).
    public var candidate: DomainName? {
        switch identity {
        case .domain(let name): return name
        case .none: return nil
        case .notAsked:
            guard let at = sender.lastIndex(of: 0x40),
                let name = try? DomainName(text: sender[(at + 1)...])  // no name: SPF passes for none
            else { return nil }
            return name.isHostname() ? name : nil
        }
    }
}
