// Brings together what two ledgers remember under one key: a store that hosts share and the ledger of a host that had to
// decide alone, or two stores when one is copied into the other. Whoever has waited or passed on either side has; nobody
// is made to wait longer by it. The same once more changes nothing, in whichever order they come.

public import PosternMail

extension GreylistEntry {
    /// What is remembered once `other` has been taken in where there was `here`; `here` itself where that adds nothing.
    ///
    /// - Parameter here: what there is, expired or not.
    /// - Parameter other: what comes in; once it has expired, nothing of it does.
    /// - Parameter now: what lies behind it is of this moment, as it is for decisions.
    public static func merged(
        _ here: GreylistEntry?, _ other: GreylistEntry, under key: GreylistKey, times: GreylistTimes, now: UnixTime
    ) -> GreylistEntry? {
        let now = now.wholeMilliseconds
        let other = other.notAfter(now)
        guard other.isLiving(under: key, times, now) else { return here }
        var entry = other
        if let here = here?.notAfter(now), here.isLiving(under: key, times, now) {
            entry = here
            entry.firstSeen = min(entry.firstSeen, other.firstSeen)
            entry.lastSeen = max(entry.lastSeen, other.lastSeen)
            entry.passedSince = [entry.passedSince, other.passedSince].compactMap(\.self).min()
            entry.isAllowed = entry.isAllowed || other.isAllowed
            // Not the sum: both may have counted the same triplets.
            entry.passedTriplets = max(entry.passedTriplets, other.passedTriplets)
            for network in other.networks
            where entry.networks.count < GreylistDecision.domainNetworks && !entry.networks.contains(network) {
                entry.networks.append(network)
            }
            // Of what waits only the first try counts.
            if entry.isWaiting(under: key) { entry.lastSeen = entry.firstSeen }
        }
        if case .origin(.domain) = key, entry.passedSince == nil,
            entry.passedTriplets >= GreylistDecision.domainTriplets,
            entry.networks.count >= GreylistDecision.domainNetworks
        {
            entry.passedSince = entry.lastSeen
        }
        return entry
    }

    private func notAfter(_ now: UnixTime) -> GreylistEntry {
        var entry = self
        entry.firstSeen = min(entry.firstSeen, now).wholeMilliseconds
        entry.lastSeen = min(entry.lastSeen, now).wholeMilliseconds
        entry.passedSince = entry.passedSince.map { min($0, now).wholeMilliseconds }
        return entry
    }

    private func isLiving(under key: GreylistKey, _ times: GreylistTimes, _ now: UnixTime) -> Bool {
        expires(under: key, times).map { $0 >= now } ?? true
    }
}
