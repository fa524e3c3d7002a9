// Why octets are no request of Postfix's policy delegation protocol (SMTPD_POLICY_README).

public import PosternMail

/// None of them holds a stranger's text, so that a log can tell them as they are.
public enum PolicyRequestError: Error, Hashable, Sendable, CustomStringConvertible {
    case lineTooLong, requestTooLong, tooManyAttributes
    /// A line without `=`, or with nothing before it.
    case noAttribute
    case nul
    case repeated(PolicyAttribute)
    /// No `request`, or another than `smtpd_access_policy`.
    case unknownRequest
    /// No `protocol_state`, or one that Postfix 3.12 does not have.
    case unknownStage

    public var description: String {
        switch self {
        case .lineTooLong: "expected lines of at most \(PolicyRequestParser.maxLineOctets) octets, found a longer one"
        case .requestTooLong: "expected at most \(PolicyRequestParser.maxRequestOctets) octets, found more"
        case .tooManyAttributes: "expected at most \(PolicyRequestParser.maxAttributes) attributes, found more"
        case .noAttribute: "expected name=value, found a line that is none"
        case .nul: "expected any octets but NUL, found one"
        case .repeated(let attribute): "expected each attribute once, found \(attribute.name) again"
        case .unknownRequest: "expected request=smtpd_access_policy, found none"
        case .unknownStage: "expected a protocol_state of Postfix's, found none"
        }
    }
}
