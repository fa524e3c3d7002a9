// A request as limits see it: the values of their keys, and what each of them counts of it (SMTPD_POLICY_README). Known
// where: the client at every stage, HELO from there on, login and sender from MAIL on, a recipient at RCPT and later only
// where it is the single one.

internal import PosternMail

struct LimitSubject {
    let request: PolicyRequest
    let client: IPAddress?
    /// The client's address and port; empty where one is not known.
    let connection: [UInt8]

    static let maxPortOctets = 5

    init(_ request: PolicyRequest) {
        self.request = request
        client = request.client
        let port = request[.clientPort]
        // Postfix says 0 for a port that it does not know.
        if let client, (1...Self.maxPortOctets).contains(port.count), port.contains(where: { $0 != 0x30 }) {
            connection = client.octets + port
        } else {
            connection = []
        }
    }

    enum Concern {
        case charge(LimitKey, amount: Int, isTotal: Bool)
        /// An attribute is not known.
        case missing(String)
        /// It is about others, or about another stage.
        case none(String)
    }

    func concern(
        _ limit: LimitSettings, _ clients: NetworkTable?, _ users: PatternTable?, _ except: PatternTable?
    ) -> Concern {
        let amount: Int
        var isTotal = true
        switch self.amount(of: limit) {
        case .amount(let count, let total): (amount, isTotal) = (count, total)
        case .missing(let name): return .missing(name)
        case .none(let why): return .none(why)
        }
        if let clients {
            guard let client else { return .missing("client_address") }
            guard clients.network(of: client) != nil else { return .none("the client is none of clients") }
        }
        if let users, !users.contains(.text(request[.saslUsername])) { return .none("the login is none of users") }
        if let except, isExcepted(limit, except) { return .none("it is one of except") }
        var key: [UInt8] = []
        key.reserveCapacity(48)
        for attribute in limit.per {
            guard append(attribute, of: limit, to: &key) else {
                // A message with several recipients is counted where they were.
                if isLate, attribute == .recipient || attribute == .recipientDomain {
                    return .none("counted at its recipients")
                }
                return .missing(attribute.rawValue)
            }
        }
        return .charge(LimitKey(octets: key), amount: amount, isTotal: isTotal)
    }

    // MARK: How much

    private enum Amount {
        case amount(Int, isTotal: Bool)
        case missing(String)
        case none(String)
    }

    private func amount(of limit: LimitSettings) -> Amount {
        if limit.count == .connections {
            return connection.isEmpty ? .missing("client_port") : .amount(1, isTotal: true)
        }
        guard request.stage == .rcpt || isLate else {
            return .none("\(request.stage.rawValue) counts connections only")
        }
        switch limit.count {
        case .connections: return .none("")  // above
        case .messages:
            return request[.instance].isEmpty ? .missing("instance") : .amount(1, isTotal: true)
        case .recipients:
            guard isLate else { return .amount(1, isTotal: false) }
            if limit.isPerRecipient {
                return .amount(1, isTotal: true)  // only if there is a single one, or its value is not known
            }
            guard let count = request.recipientCount else { return .missing("recipient_count") }
            return .amount(count, isTotal: true)
        case .octets:
            guard !request[.instance].isEmpty else { return .missing("instance") }
            guard let size = request.size, size > 0 else {
                // Announced by those who want to; the end tells, but then recipients are no longer known.
                guard request.stage != .endOfMessage else { return .missing("size") }
                return limit.isPerRecipient ? .amount(0, isTotal: true) : .none("size is not announced")
            }
            return .amount(size, isTotal: true)
        }
    }

    /// All recipients are known.
    private var isLate: Bool { request.stage == .data || request.stage == .endOfMessage }
    private var hasGreeted: Bool { request.stage != .connect }
    private var hasSender: Bool { request.stage == .mail || request.stage == .rcpt || isLate }

    // MARK: Values

    private func isExcepted(_ limit: LimitSettings, _ except: PatternTable) -> Bool {
        if let client, except.contains(.address(client)) { return true }
        if !request[.saslUsername].isEmpty, except.contains(.text(request[.saslUsername])) { return true }
        return limit.per.contains { attribute in
            switch attribute {
            case .client, .saslUsername: false  // above
            case .clientName: except.contains(.name(request[.clientName]))
            case .helo: hasGreeted && except.contains(.name(request[.heloName]))
            case .policyContext: except.contains(.text(request[.policyContext]))
            case .sender: hasSender && except.contains(.mailbox(request[.sender]))
            case .senderDomain: hasSender && except.contains(.name(Self.domain(of: request[.sender])))
            case .recipient: except.contains(.mailbox(request[.recipient]))
            case .recipientDomain: except.contains(.name(Self.domain(of: request[.recipient])))
            }
        }
    }

    /// - Returns: false where the value is not known.
    private func append(_ attribute: LimitAttribute, of limit: LimitSettings, to key: inout [UInt8]) -> Bool {
        var value: ArraySlice<UInt8>
        switch attribute {
        case .client:
            guard let client else { return false }
            if !key.isEmpty { key.append(UInt8(ascii: ",")) }
            Self.append(client, limit, to: &key)
            return true
        case .clientName:
            value = request[.clientName]
            if value.elementsEqual("unknown".utf8) { return false }
        case .saslUsername: value = hasSender ? request[.saslUsername] : []
        case .sender:
            guard hasSender else { return false }
            value = request[.sender]
            if value.isEmpty { value = [UInt8(ascii: "<"), UInt8(ascii: ">")] }  // the null reverse-path
        case .senderDomain: value = hasSender ? Self.domain(of: request[.sender]) : []
        case .recipient: value = request[.recipient]
        case .recipientDomain: value = Self.domain(of: request[.recipient])
        case .helo: value = hasGreeted ? request[.heloName] : []
        case .policyContext: value = request[.policyContext]
        }
        guard !value.isEmpty else { return false }
        LimitKey.append(value, to: &key)
        return true
    }

    /// The client's network; a single address without its length.
    private static func append(_ client: IPAddress, _ limit: LimitSettings, to key: inout [UInt8]) {
        let address = client.unmapped
        let isShort = if case .v4 = address { true } else { false }
        let length = isShort ? limit.ipv4Prefix : limit.ipv6Prefix
        let network = Network(containing: address, prefixLength: length)
        if case .v4(let bits) = network.base {
            for shift in [24, 16, 8, 0] as [UInt32] {
                if shift < 24 { key.append(UInt8(ascii: ".")) }
                append(Int(bits >> shift & 0xFF), to: &key)
            }
        } else {
            key += network.base.description.utf8
        }
        guard network.prefixLength < (isShort ? 32 : 128) else { return }
        key.append(UInt8(ascii: "/"))
        append(network.prefixLength, to: &key)
    }

    /// 0 to 255.
    private static func append(_ number: Int, to key: inout [UInt8]) {
        if number >= 100 { key.append(0x30 + UInt8(number / 100)) }
        if number >= 10 { key.append(0x30 + UInt8(number / 10 % 10)) }
        key.append(0x30 + UInt8(number % 10))
    }

    private static func domain(of address: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard let at = address.lastIndex(of: UInt8(ascii: "@")) else { return [] }
        return address[(at + 1)...]
    }
}
