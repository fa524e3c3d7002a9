// The conditions of a rule: which attributes of a request there are (SMTPD_POLICY_README, and what our own checks add),
// and of what type the values of each are.

public import PosternMail

/// What a condition looks at. The raw value is the key's name.
public enum RuleAttribute: String, Hashable, Sendable, CaseIterable {
    case client
    case clientName = "client_name"
    case reverseClientName = "reverse_client_name"
    case helo
    case sender
    case senderDomain = "sender_domain"
    case recipient
    case recipientDomain = "recipient_domain"
    case size
    case saslUsername = "sasl_username"
    case saslMethod = "sasl_method"
    case saslSender = "sasl_sender"
    case encryptionProtocol = "encryption_protocol"
    case encryptionCipher = "encryption_cipher"
    case encryptionKeysize = "encryption_keysize"
    case ccertSubject = "ccert_subject"
    case ccertIssuer = "ccert_issuer"
    case ccertFingerprint = "ccert_fingerprint"
    case ccertPubkeyFingerprint = "ccert_pubkey_fingerprint"
    case tlsSNI = "tls_sni"
    case protocolName = "protocol_name"
    case serverAddress = "server_address"
    case serverPort = "server_port"
    case policyContext = "policy_context"
    case time
    case weekday
    case dnsblScore = "dnsbl_score"
    case spf
}

/// One condition: the attribute is any of the values, or none of them.
public struct RuleCondition: Hashable, Sendable {
    public enum Values: Hashable, Sendable {
        case patterns([MatchPattern])
        case numbers([NumberRange])
        case times([TimeOfDayRange])
        case weekdays([WeekdayRange])
        case spf([SPFResult])
    }

    public let attribute: RuleAttribute
    public let isNegated: Bool
    public let values: Values

    public init(attribute: RuleAttribute, isNegated: Bool, values: Values) {
        self.attribute = attribute
        self.isNegated = isNegated
        self.values = values
    }
}
