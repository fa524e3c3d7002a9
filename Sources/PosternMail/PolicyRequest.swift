// One request of Postfix's policy delegation protocol as a value: what Postfix knows of a client, a message and a
// recipient at one stage of SMTP. Every text came from a stranger or from his DNS (SMTPD_POLICY_README).

/// An attribute of a request, as of Postfix 3.12. The raw value is its place.
public enum PolicyAttribute: Int, Hashable, Sendable, CaseIterable {
    case request, protocolState, protocolName, heloName, queueID, sender, recipient, recipientCount
    case clientAddress, clientName, reverseClientName, instance, saslMethod, saslUsername, saslSender, size
    case ccertSubject, ccertIssuer, ccertFingerprint, ccertPubkeyFingerprint
    case encryptionProtocol, encryptionCipher, encryptionKeysize, etrnDomain, stress, clientPort, policyContext
    case serverAddress, serverPort, compatibilityLevel, mailVersion, tlsSNI

    /// What it is called in the protocol. Source: SMTPD_POLICY_README.
    public var name: String {
        switch self {
        case .request: "request"
        case .protocolState: "protocol_state"
        case .protocolName: "protocol_name"
        case .heloName: "helo_name"
        case .queueID: "queue_id"
        case .sender: "sender"
        case .recipient: "recipient"
        case .recipientCount: "recipient_count"
        case .clientAddress: "client_address"
        case .clientName: "client_name"
        case .reverseClientName: "reverse_client_name"
        case .instance: "instance"
        case .saslMethod: "sasl_method"
        case .saslUsername: "sasl_username"
        case .saslSender: "sasl_sender"
        case .size: "size"
        case .ccertSubject: "ccert_subject"
        case .ccertIssuer: "ccert_issuer"
        case .ccertFingerprint: "ccert_fingerprint"
        case .ccertPubkeyFingerprint: "ccert_pubkey_fingerprint"
        case .encryptionProtocol: "encryption_protocol"
        case .encryptionCipher: "encryption_cipher"
        case .encryptionKeysize: "encryption_keysize"
        case .etrnDomain: "etrn_domain"
        case .stress: "stress"
        case .clientPort: "client_port"
        case .policyContext: "policy_context"
        case .serverAddress: "server_address"
        case .serverPort: "server_port"
        case .compatibilityLevel: "compatibility_level"
        case .mailVersion: "mail_version"
        case .tlsSNI: "tls_sni"
        }
    }
}

/// Where in SMTP Postfix asks.
public enum PolicyStage: String, Hashable, Sendable, CaseIterable {
    case connect = "CONNECT"
    case ehlo = "EHLO"
    case helo = "HELO"
    case mail = "MAIL"
    case rcpt = "RCPT"
    case data = "DATA"
    case endOfMessage = "END-OF-MESSAGE"
    case vrfy = "VRFY"
    case etrn = "ETRN"
}

/// A request as it came: the door keeps its octets, judges ask for what they need.
public struct PolicyRequest: Hashable, Sendable {
    public let stage: PolicyStage
    private let octets: [UInt8]
    /// Where each attribute's value is in `octets`, in the order of `PolicyAttribute.allCases`; empty when absent.
    private let places: [Range<Int>]

    /// Longest text of an IPv6 address. Source: RFC 4291 §2.2.
    private static let maxAddressOctets = 45

    /// - Parameter values: what Postfix gave; an attribute that is not named is absent.
    public init(stage: PolicyStage, _ values: [PolicyAttribute: [UInt8]]) {
        var octets: [UInt8] = []
        let places = PolicyAttribute.allCases.map { attribute in
            let start = octets.count
            octets += values[attribute] ?? []
            return start..<octets.count
        }
        self.init(stage: stage, octets: octets, places: places)
    }

    /// For the door, which has cut the request already.
    /// - Parameter places: one range within `octets` for each of `PolicyAttribute.allCases`.
    public init(stage: PolicyStage, octets: [UInt8], places: [Range<Int>]) {
        precondition(places.count == PolicyAttribute.allCases.count, "every attribute has a place")
        precondition(places.allSatisfy { $0.upperBound <= octets.count }, "every place is within the octets")
        self.stage = stage
        self.octets = octets
        self.places = places
    }

    /// The attribute's value; empty for one that is absent, which the protocol does not tell apart.
    public subscript(_ attribute: PolicyAttribute) -> ArraySlice<UInt8> { octets[places[attribute.rawValue]] }

    /// The client's address; nil for a client without one.
    public var client: IPAddress? {
        let text = self[.clientAddress]
        return text.count <= Self.maxAddressOctets ? IPAddress(String(decoding: text, as: UTF8.self)) : nil
    }
    /// nil for the null reverse-path, and for what is no name.
    public var senderDomain: DomainName? { Self.domain(of: self[.sender]) }
    public var recipientDomain: DomainName? { Self.domain(of: self[.recipient]) }
    /// In octets: what the client has announced, at END-OF-MESSAGE what it is; nil when not known.
    public var size: Int? { number(.size) }
    /// Known from DATA on; nil before.
    public var recipientCount: Int? { number(.recipientCount) }

    /// A number of at most 18 digits.
    public func number(_ attribute: PolicyAttribute) -> Int? {
        let digits = self[attribute]
        guard (1...18).contains(digits.count), digits.allSatisfy(\.isASCIIDigit) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    private static func domain(of address: ArraySlice<UInt8>) -> DomainName? {
        guard let at = address.lastIndex(of: 0x40) else { return nil }
        return try? DomainName(text: address[(at + 1)...])  // no name: there is no domain to speak of
    }
}
