// A request as the conditions of rules see it: which attributes are known where Postfix asks, and what their values are
// (SMTPD_POLICY_README). A condition on an attribute that is not known holds in neither form, KEY nor not_KEY. Known are
//
// - at every stage: the client and its names, our address and port, policy_context, time and weekday, dnsbl_score;
// - from EHLO or HELO on: helo, protocol_name, TLS and certificates; from MAIL on: the login, sender and its domain,
//   size, spf; at RCPT: recipient and its domain, after that only where there is a single one.
//
// Of a known attribute the empty text is a value like others: no login, no TLS, the null sender, whose domain is empty
// too. It equals no pattern but the empty text and expressions that match it; so not_sasl_username = ["ann"] holds for
// whoever has not logged in. An address that Postfix does not know, a size that was not announced (Postfix says 0) and a
// number that is none are not known.

internal import PosternMail

struct RuleSubject {
    let request: PolicyRequest
    let time: PolicyTime
    let client: IPAddress?

    init(_ request: PolicyRequest, at time: PolicyTime) {
        self.request = request
        self.time = time
        client = request.client
    }

    enum Value {
        case pattern(PatternSubject)
        case number(Int)
        /// Minutes after midnight.
        case minute(Int)
        case weekday(Weekday)
        /// To be asked for.
        case dnsblScore, spf
    }

    /// The attribute's value; nil where it is not known.
    func value(of attribute: RuleAttribute) -> Value? {
        switch attribute {
        case .client: return client.map { .pattern(.address($0)) }
        case .serverAddress: return serverAddress.map { .pattern(.address($0)) }
        case .clientName: return .pattern(.name(request[.clientName]))
        case .reverseClientName: return .pattern(.name(request[.reverseClientName]))
        case .policyContext: return .pattern(.text(request[.policyContext]))
        case .serverPort: return request.number(.serverPort).map { .number($0) }
        case .time: return .minute(time.minute)
        case .weekday: return .weekday(time.weekday)
        case .dnsblScore: return .dnsblScore
        case .helo, .protocolName, .tlsSNI, .encryptionProtocol, .encryptionCipher, .encryptionKeysize, .ccertSubject,
            .ccertIssuer, .ccertFingerprint, .ccertPubkeyFingerprint:
            return hasGreeted ? session(attribute) : nil
        case .sender, .senderDomain, .size, .saslUsername, .saslMethod, .saslSender, .spf:
            return hasSender ? transaction(attribute) : nil
        case .recipient, .recipientDomain:
            let recipient = request[.recipient]
            guard hasRecipient, !recipient.isEmpty else { return nil }
            return .pattern(attribute == .recipient ? .mailbox(recipient) : .name(Self.domain(of: recipient)))
        }
    }

    private func session(_ attribute: RuleAttribute) -> Value? {
        switch attribute {
        case .helo: .pattern(.name(request[.heloName]))
        case .protocolName: .pattern(.text(request[.protocolName]))
        case .tlsSNI: .pattern(.name(request[.tlsSNI]))
        case .encryptionProtocol: .pattern(.text(request[.encryptionProtocol]))
        case .encryptionCipher: .pattern(.text(request[.encryptionCipher]))
        case .encryptionKeysize: request.number(.encryptionKeysize).map { .number($0) }
        case .ccertSubject: .pattern(.text(Self.decoded(request[.ccertSubject])))
        case .ccertIssuer: .pattern(.text(Self.decoded(request[.ccertIssuer])))
        case .ccertFingerprint: .pattern(.text(request[.ccertFingerprint]))
        case .ccertPubkeyFingerprint: .pattern(.text(request[.ccertPubkeyFingerprint]))
        default: nil
        }
    }

    private func transaction(_ attribute: RuleAttribute) -> Value? {
        switch attribute {
        case .sender: .pattern(.mailbox(request[.sender]))
        case .senderDomain: .pattern(.name(Self.domain(of: request[.sender])))
        case .size: request.size.flatMap { $0 > 0 ? .number($0) : nil }
        case .saslUsername: .pattern(.text(request[.saslUsername]))
        case .saslMethod: .pattern(.text(request[.saslMethod]))
        case .saslSender: .pattern(.text(request[.saslSender]))
        case .spf: client == nil ? nil : .spf
        default: nil
        }
    }

    // MARK: Stages

    private var hasGreeted: Bool { request.stage != .connect }
    private var hasSender: Bool {
        switch request.stage {
        case .mail, .rcpt, .data, .endOfMessage: true
        case .connect, .ehlo, .helo, .vrfy, .etrn: false
        }
    }
    private var hasRecipient: Bool { hasSender && request.stage != .mail }

    // MARK: Texts

    private var serverAddress: IPAddress? {
        let text = request[.serverAddress]
        return text.count < 46 ? IPAddress(String(decoding: text, as: UTF8.self)) : nil  // RFC 4291 §2.2: 45 at most
    }

    private static func domain(of address: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard let at = address.lastIndex(of: UInt8(ascii: "@")) else { return [] }
        return address[(at + 1)...]
    }

    /// Postfix sends names of certificates as xtext. Source: RFC 3461 §4, SMTPD_POLICY_README.
    static func decoded(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard text.contains(UInt8(ascii: "+")) else { return text }
        var octets: [UInt8] = []
        octets.reserveCapacity(text.count)
        var rest = text
        while let octet = rest.popFirst() {
            if octet == UInt8(ascii: "+"), let high = rest.first?.hexDigit, let low = rest.dropFirst().first?.hexDigit {
                octets.append(high << 4 | low)
                rest = rest.dropFirst(2)
            } else {
                octets.append(octet)
            }
        }
        return octets[...]
    }
}

extension UInt8 {
    fileprivate var hexDigit: UInt8? {
        switch self {
        case 0x30...0x39: self - 0x30
        case 0x41...0x46: self - 0x41 + 10
        default: nil  // RFC 3461 §4: upper case only
        }
    }
}
