// How the conditions of `[[rule]]` are written: of what type the values of each attribute are. Every key KEY has a
// twin `not_KEY`.

internal import PosternAdmission
internal import PosternMail

extension RuleAttribute {
    /// The keys of all conditions, each followed by its `not_` form.
    static let keys: [RuleConditionKey] = allCases.flatMap { attribute in
        [false, true].map { RuleConditionKey(attribute: attribute, isNegated: $0) }
    }

    fileprivate var type: ValueType<RuleCondition.Values> {
        switch self {
        case .client, .serverAddress: patterns(.networkCondition)
        case .clientName, .reverseClientName, .helo, .tlsSNI: patterns(.hostCondition)
        case .sender, .recipient: patterns(.addressCondition)
        case .senderDomain, .recipientDomain: patterns(.domainCondition)
        case .saslUsername, .saslSender: patterns(.textCondition("a login"))
        case .saslMethod: patterns(.textCondition("a method such as \"PLAIN\""))
        case .encryptionProtocol: patterns(.textCondition("a protocol such as \"TLSv1.3\""))
        case .encryptionCipher: patterns(.textCondition("a cipher"))
        case .ccertSubject, .ccertIssuer: patterns(.textCondition("a common name"))
        case .ccertFingerprint, .ccertPubkeyFingerprint: patterns(.textCondition("a fingerprint"))
        case .protocolName: patterns(.textCondition("\"SMTP\", \"ESMTP\""))
        case .policyContext: patterns(.textCondition("a policy_context of main.cf"))
        case .encryptionKeysize, .serverPort, .dnsblScore: numbers(.numbers)
        case .size: numbers(.sizes)
        case .time:
            list(of: .timesOfDay).map({ .times($0) }, back: { if case .times(let values) = $0 { values } else { nil } })
        case .weekday:
            list(of: .weekdays)
                .map({ .weekdays($0) }, back: { if case .weekdays(let values) = $0 { values } else { nil } })
        case .spf:
            list(of: .oneOf(SPFResult.self))
                .map({ .spf($0) }, back: { if case .spf(let values) = $0 { values } else { nil } })
        }
    }

    private func list<Element>(of type: TextType<Element>) -> ValueType<[Element]> {
        .list(of: type, atLeast: 1, atMost: RuleTable.maxValues)
    }

    private func patterns(_ type: TextType<MatchPattern>) -> ValueType<RuleCondition.Values> {
        list(of: type).map(
            { .patterns($0) }, back: { if case .patterns(let patterns) = $0 { patterns } else { nil } })
    }

    private func numbers(_ type: TextType<NumberRange>) -> ValueType<RuleCondition.Values> {
        list(of: type).map({ .numbers($0) }, back: { if case .numbers(let ranges) = $0 { ranges } else { nil } })
    }

    fileprivate var sample: RuleCondition.Values {
        switch self {
        case .client: .patterns([.network(Example.network)])
        case .clientName: .patterns([.below(Example.domain)])
        case .reverseClientName: .patterns([.exact("unknown")])
        case .helo: .patterns([.domain(Example.host), .expression("^\\[")])
        case .sender: .patterns([.exact("ann@example.com"), .addresses(at: Example.domain), .exact("<>")])
        case .senderDomain, .recipientDomain: .patterns([.domain(Example.domain), .below(Example.domain)])
        case .recipient: .patterns([.exact("bo@example.com")])
        case .size: .numbers([NumberRange(least: 10 << 20, most: nil)])
        case .saslUsername, .saslSender: .patterns([.exact("ann")])
        case .saslMethod: .patterns([.exact("PLAIN"), .exact("LOGIN")])
        case .encryptionProtocol: .patterns([.exact("TLSv1.3")])
        case .encryptionCipher: .patterns([.expression("SHA$")])
        case .encryptionKeysize: .numbers([NumberRange(least: nil, most: 127)])
        case .ccertSubject: .patterns([.exact("mx1.example.com")])
        case .ccertIssuer: .patterns([.exact("Example CA")])
        case .ccertFingerprint, .ccertPubkeyFingerprint: .patterns([.exact("AA:BB:CC")])
        case .tlsSNI: .patterns([.domain(Example.host)])
        case .protocolName: .patterns([.exact("SMTP")])
        case .serverAddress: .patterns([.network(Network(containing: .v4(0xC000_0201), prefixLength: 32))])
        case .serverPort: .numbers([NumberRange(least: 25, most: 25)])
        case .policyContext: .patterns([.exact("submission")])
        case .time: .times([TimeOfDayRange(start: 22 * 60, end: 6 * 60)])
        case .weekday: .weekdays([WeekdayRange(first: .sat, last: .sun)])
        case .dnsblScore: .numbers([NumberRange(least: 2, most: nil)])
        case .spf: .spf([.fail, .softfail])
        }
    }

    fileprivate var doc: String {
        switch self {
        case .client: "The conditions begin here. The client's address: addresses and networks."
        case .clientName: "The client's verified name: names, \"*.example.com\", \"/EXPRESSION/\"; else \"unknown\"."
        case .reverseClientName: "The client's name, not verified."
        case .helo: "What the client calls itself."
        case .sender: "The envelope sender: addresses, \"@example.com\", \"<>\", \"/EXPRESSION/\"."
        case .senderDomain: "Its domain: domains, \"*.example.com\", \"/EXPRESSION/\"."
        case .recipient: "The recipient."
        case .recipientDomain: "Its domain."
        case .size: "The size that the client announced (SIZE); unknown if it did not."
        case .saslUsername: "The login; \"\" for none."
        case .saslMethod: "How the client logged in."
        case .saslSender: "The sender that the client claims to have logged in (AUTH=)."
        case .encryptionProtocol: "The TLS version; \"\" without TLS."
        case .encryptionCipher: "The TLS cipher."
        case .encryptionKeysize: "The cipher's key length in bits; 0 without TLS."
        case .ccertSubject: "The common name of the client's certificate."
        case .ccertIssuer: "The common name of its issuer."
        case .ccertFingerprint: "The certificate's fingerprint."
        case .ccertPubkeyFingerprint: "The fingerprint of its public key."
        case .tlsSNI: "The server name that the client asked for (Postfix 3.12)."
        case .protocolName: "\"SMTP\" or \"ESMTP\"."
        case .serverAddress: "The address of ours that the client came to."
        case .serverPort: "The port of ours that the client came to."
        case .policyContext: "The policy_context that main.cf or master.cf gives the policy service."
        case .time: "The time of day, local; \"22:00..06:00\" goes past midnight."
        case .weekday: "The day of the week, local."
        case .dnsblScore: "The score so far, of the lists and of rules above."
        case .spf: "SPF's result for the envelope sender, for HELO if that is null; asked only for rules with this key."
        }
    }
}

/// A condition's key.
struct RuleConditionKey: KeyDeclaration {
    let attribute: RuleAttribute
    let isNegated: Bool
    let name: String
    let doc: String
    let sample: String
    private let type: ValueType<RuleCondition.Values>

    fileprivate init(attribute: RuleAttribute, isNegated: Bool) {
        (self.attribute, self.isNegated) = (attribute, isNegated)
        name = isNegated ? "not_\(attribute.rawValue)" : attribute.rawValue
        doc = attribute.doc
        type = attribute.type
        sample = type.write(attribute.sample)
    }

    /// One form is enough; the table's own sentence tells of the other.
    var isInSample: Bool { !isNegated }

    func value(of node: TomlNode, _ reader: inout ValueReader) -> (any Sendable)? { type.read(node, &reader) }

    func difference(_ value: any Sendable) -> String? { (value as? RuleCondition.Values).map(type.write) }
}
