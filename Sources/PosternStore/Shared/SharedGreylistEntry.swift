// How an entry of greylisting's lies in the shared store: a string of decimal numbers, which an admin can read with GET.
// What waits is most of a greylist, and is one whole number, so that the server keeps it within its object and makes no
// string of it. The first octet is the version: what begins with another is not read, and counts as absent.
//
//     11763720000000                            version 1, a triplet's first try in ms since 1970; it waits
//     11763720000000,86400000,300000            the last mail, and since when it passes, in ms after the first try
//     11763720000000,86400000,300000,+          an admin has allowed it: it has no expiry
//     11763720000000,86400000,,3,192.0.2.0/24   of a domain: 3 triplets have passed, from this network
//
// The key is `postern:greylist:` and GreylistKey.octets: origin, or origin NUL sender NUL recipient.

import PosternAdmission
import PosternMail

enum SharedGreylistEntry {
    static let version = "1"
    static let prefix = Array("postern:greylist:".utf8)
    /// What admins have made the store forget, with when: a sorted set. No origin begins like it.
    static let forgottenKey = prefix + Array("!forgotten".utf8)
    /// Names in that, each some 100 octets; the oldest go first.
    static let maxForgotten = 1000
    /// What a process of a host's leaves there: when it has last seen the store.
    static func pulseKey(_ process: UInt64) -> [UInt8] {
        prefix + Array("!pulse:\(String(process, radix: 16))".utf8)
    }
    /// Further from 1970, in either direction, is no time (UnixTime).
    static let maxMilliseconds: Int64 = 9_000_000_000_000

    /// Counted further than a decision needs; two digits.
    static let maxTriplets = 99

    static func key(_ key: GreylistKey) -> [UInt8] { prefix + GreylistRowKey.octets(of: key) }

    /// - Parameter stored: a key of the database's.
    static func key(stored: [UInt8]) -> GreylistKey? {
        guard stored.starts(with: prefix) else { return nil }
        return GreylistKey(octets: Array(stored.dropFirst(prefix.count)))
    }

    static func encode(_ entry: GreylistEntry) -> [UInt8] {
        let first = entry.firstSeen.milliseconds
        var fields = [version + String(first)]
        let last = entry.lastSeen.milliseconds
        fields.append(last == first ? "" : String(last - first))
        fields.append(entry.passedSince.map { String($0.milliseconds - first) } ?? "")
        let triplets = min(max(entry.passedTriplets, 0), maxTriplets)
        fields.append((entry.isAllowed ? "+" : "") + (triplets == 0 ? "" : String(triplets)))
        fields.append(
            entry.networks.prefix(GreylistDecision.domainNetworks).map(\.description).joined(separator: " "))
        while fields.last == "" { fields.removeLast() }
        return Array(fields.joined(separator: ",").utf8)
    }

    /// - Returns: nil for what is damaged or of another version.
    static func decode(_ octets: [UInt8]) -> GreylistEntry? {
        guard octets.starts(with: version.utf8) else { return nil }
        let fields = octets.dropFirst(version.utf8.count).split(
            separator: UInt8(ascii: ","), maxSplits: 5, omittingEmptySubsequences: false)
        func field(_ number: Int) -> ArraySlice<UInt8> { fields.dropFirst(number).first ?? [] }
        guard let first = milliseconds(field(0), after: 0) else { return nil }
        guard let last = field(1).isEmpty ? first : milliseconds(field(1), after: first) else { return nil }
        var passed: Int64?
        if !field(2).isEmpty {
            guard let time = milliseconds(field(2), after: first) else { return nil }
            passed = time
        }
        var digits = field(3)
        guard digits.count <= 3 else { return nil }
        let isAllowed = digits.first == UInt8(ascii: "+")
        if isAllowed { digits = digits.dropFirst() }
        guard let triplets = digits.isEmpty ? 0 : number(digits) else { return nil }
        return GreylistEntry(
            firstSeen: UnixTime(milliseconds: first), lastSeen: UnixTime(milliseconds: last),
            passedSince: passed.map { UnixTime(milliseconds: $0) }, isAllowed: isAllowed,
            passedTriplets: min(Int(clamping: triplets), maxTriplets),
            networks: field(4).split(separator: UInt8(ascii: " ")).prefix(GreylistDecision.domainNetworks)
                .compactMap { try? Network(String(decoding: $0, as: UTF8.self)) })  // damaged: it must be seen again
    }

    private static func milliseconds(_ text: ArraySlice<UInt8>, after start: Int64) -> Int64? {
        let isNegative = text.first == UInt8(ascii: "-")
        // 13 digits are beyond the bound; the script counts the sign among 14.
        guard text.count <= 14, let value = number(isNegative ? text.dropFirst() : text) else { return nil }
        let sum = start + (isNegative ? -value : value)
        return abs(sum) <= maxMilliseconds ? sum : nil
    }

    /// At most 14 digits.
    private static func number(_ digits: ArraySlice<UInt8>) -> Int64? {
        guard !digits.isEmpty, digits.count <= 14, digits.allSatisfy(\.isASCIIDigit) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
    }
}
