// What greylisting keeps and under which keys. The keys are plain text, since an admin asks who is in there; they are
// bounded, since strangers write them (RFC 6647 §2.4, RFC 5321 §4.5.3.1).

public import PosternMail

/// Whose tries count as one sender's.
public enum GreylistOrigin: Hashable, Sendable {
    case client(Network)
    /// By SPF.
    case domain(DomainName)

    /// - Parameter text: a network (an address is a network of its own) or a hostname.
    public init?(_ text: String) {
        if let network = try? Network(text) {  // else it is a name, or nothing
            self = .client(network)
        } else if let name = try? DomainName(text), name.isHostname() {  // else it is nothing
            self = .domain(name)
        } else {
            return nil
        }
    }
}

extension GreylistOrigin: CustomStringConvertible {
    public var description: String {
        switch self {
        case .client(let network): network.description
        case .domain(let name): name.description
        }
    }
}

/// What an entry is about.
public enum GreylistKey: Hashable, Sendable {
    /// A client or a domain as such.
    case origin(GreylistOrigin)
    /// One sender's mail to one recipient. Make it with `triplet(_:_:_:)`, which brings the addresses into their form.
    case normalTriplet(GreylistOrigin, sender: [UInt8], recipient: [UInt8])

    /// Octets of an address that count. Source: RFC 5321 §4.5.3.1.1, §4.5.3.1.2: 64 + 1 + 255.
    public static let maxAddressOctets = 320
    /// Between the parts of `octets`. Postfix lets no address with it through.
    private static let separator: UInt8 = 0

    public static func triplet(
        _ origin: GreylistOrigin, _ sender: some Collection<UInt8>, _ recipient: some Collection<UInt8>
    ) -> GreylistKey {
        .normalTriplet(origin, sender: normal(sender), recipient: normal(recipient))
    }

    static func normal(_ address: some Collection<UInt8>) -> [UInt8] {
        var octets = Array(address.prefix(maxAddressOctets)).asciiLowercased
        while let place = octets.firstIndex(of: separator) { octets[place] = 0x3F }
        return octets
    }

    public var origin: GreylistOrigin {
        switch self {
        case .origin(let origin), .normalTriplet(let origin, _, _): origin
        }
    }

    /// One text for one key, and the other way round: what it is stored as.
    public var octets: [UInt8] {
        var octets = Array(origin.description.utf8)
        if case .normalTriplet(_, let sender, let recipient) = self {
            octets.reserveCapacity(octets.count + sender.count + recipient.count + 2)
            octets.append(Self.separator)
            octets += sender
            octets.append(Self.separator)
            octets += recipient
        }
        return octets
    }

    /// - Returns: nil for octets that no key has.
    public init?(octets: [UInt8]) {
        guard octets.count <= 2 * Self.maxAddressOctets + 2 + DomainName.maxWireOctets else { return nil }
        let parts = octets.split(separator: Self.separator, maxSplits: 3, omittingEmptySubsequences: false)
        guard let first = parts.first, let origin = GreylistOrigin(String(decoding: first, as: UTF8.self)) else {
            return nil
        }
        switch parts.count {
        case 1: self = .origin(origin)
        case 3:
            let addresses = parts.dropFirst().map { Self.normal($0) }
            guard let sender = addresses.first, let recipient = addresses.last else { return nil }
            self = .normalTriplet(origin, sender: sender, recipient: recipient)
        default: return nil
        }
    }
}

/// What is remembered under one key. Times are whole milliseconds.
public struct GreylistEntry: Hashable, Sendable {
    /// A triplet's first try; when a client or domain first was heard of.
    public var firstSeen: UnixTime
    /// The last mail that this entry let pass; moves in steps (`GreylistDecision.renewal`).
    public var lastSeen: UnixTime
    /// Since when it lets mail pass; nil for what still waits, and for a domain that has not shown enough.
    public var passedSince: UnixTime?
    /// By the admin: it never expires.
    public var isAllowed: Bool
    /// Of a domain only: triplets of it that have passed, counted up to `GreylistDecision.domainTriplets`.
    public var passedTriplets: Int
    /// Of a domain only: the networks they came from, at most `GreylistDecision.domainNetworks`.
    public var networks: [Network]

    public init(
        firstSeen: UnixTime, lastSeen: UnixTime? = nil, passedSince: UnixTime? = nil, isAllowed: Bool = false,
        passedTriplets: Int = 0, networks: [Network] = []
    ) {
        self.firstSeen = firstSeen
        self.lastSeen = lastSeen ?? firstSeen
        self.passedSince = passedSince
        self.isAllowed = isAllowed
        self.passedTriplets = passedTriplets
        self.networks = networks
    }

    /// Lets mail pass.
    public var isKnown: Bool { passedSince != nil }

    /// A triplet that has not come back yet: what is thrown away first.
    public func isWaiting(under key: GreylistKey) -> Bool {
        if case .normalTriplet = key { return !isKnown }
        return false
    }

    /// What an entry becomes when the admin allows it.
    public static func allowed(_ entry: GreylistEntry?, now: UnixTime) -> GreylistEntry {
        let now = now.wholeMilliseconds
        var entry = entry ?? GreylistEntry(firstSeen: now)
        entry.lastSeen = now
        entry.passedSince = entry.passedSince ?? now
        entry.isAllowed = true
        return entry
    }

    /// When it counts no more; nil for what never expires.
    public func expires(under key: GreylistKey, _ times: GreylistTimes) -> UnixTime? {
        if isAllowed { return nil }
        return isWaiting(under: key) ? firstSeen + times.retryWithin : lastSeen + times.remember
    }
}

extension UnixTime {
    /// Rounded towards zero, as entries have it.
    var wholeMilliseconds: UnixTime { UnixTime(nanoseconds: nanoseconds - nanoseconds % 1_000_000) }
}
