// A key of greylisting's as the file has it, with its hash: made once for a look-up, wherever that ends.

import PosternAdmission
import PosternMail

struct GreylistRowKey: Sendable {
    enum Form: UInt8, Sendable { case triplet, client, domain }

    /// SipHash-2-4 of the octets with the file's secret.
    let hash: UInt64
    let octets: [UInt8]
    let form: Form

    init(octets: [UInt8], form: Form, hash: SipHash) {
        self.octets = octets
        self.form = form
        self.hash = hash(octets)
    }

    init(_ key: GreylistKey, hash: SipHash) {
        let form: Form =
            switch key {
            case .normalTriplet: .triplet
            case .origin(.client): .client
            case .origin(.domain): .domain
            }
        self.init(octets: Self.octets(of: key), form: form, hash: hash)
    }

    /// `key.octets`, for the origins that mail has mostly, without a text on the way.
    static func octets(of key: GreylistKey) -> [UInt8] {
        var octets: [UInt8] = []
        var addresses: (sender: [UInt8], recipient: [UInt8])?
        if case .normalTriplet(_, let sender, let recipient) = key { addresses = (sender, recipient) }
        octets.reserveCapacity(48 + (addresses.map { $0.sender.count + $0.recipient.count } ?? 0))
        switch key.origin {
        case .client(let network):
            guard case .v4(let bits) = network.base else { return key.octets }
            for shift: UInt32 in [24, 16, 8, 0] {
                octets.append(decimal: UInt8(truncatingIfNeeded: bits >> shift))
                octets.append(shift == 0 ? UInt8(ascii: "/") : UInt8(ascii: "."))
            }
            octets.append(decimal: UInt8(truncatingIfNeeded: network.prefixLength))
        case .domain(let name):
            guard !name.wire.isEmpty else { return key.octets }
            var rest = name.wire[...]
            while let length = rest.popFirst() {
                let label = rest.prefix(Int(length))
                // A hostname, as all that come by mail are: nothing in it is escaped.
                guard label.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x5F }) else {
                    return key.octets
                }
                if !octets.isEmpty { octets.append(UInt8(ascii: ".")) }
                octets += label
                rest = rest.dropFirst(Int(length))
            }
        }
        if let addresses {
            octets.append(0)
            octets += addresses.sender
            octets.append(0)
            octets += addresses.recipient
        }
        return octets
    }
}

extension GreylistRowKey: Hashable {
    static func == (one: GreylistRowKey, other: GreylistRowKey) -> Bool {
        one.hash == other.hash && one.octets == other.octets
    }

    func hash(into hasher: inout Hasher) { hasher.combine(hash) }
}

extension [UInt8] {
    fileprivate mutating func append(decimal number: UInt8) {
        if number >= 100 { append(0x30 + number / 100) }
        if number >= 10 { append(0x30 + number / 10 % 10) }
        append(0x30 + number % 10)
    }
}
