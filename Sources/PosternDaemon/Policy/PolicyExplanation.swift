// `postern explain` over a control socket: the request as the attributes of Postfix's protocol, by their own names, and
// the verdict with every check that led to it. The daemon and the command line both make it of the same values.

public import PosternAdmission
public import PosternMail

extension PolicyRequest {
    /// What `explain` is asked on the control socket.
    public static let explainCommand = "explain"
    /// Longest value, in octets: what Postfix's own limits leave of an address or a name.
    private static let maxValueOctets = 1024

    /// - Parameter command: has attributes by their names in the protocol; `protocol_state` is RCPT where it is absent.
    /// - Throws: what no request of Postfix's can be.
    public init(_ command: ControlCommand) throws(ControlRefusal) {
        let word = try command.textIfAny(PolicyAttribute.protocolState.name) ?? PolicyStage.rcpt.rawValue
        guard let stage = PolicyStage(rawValue: word) else {
            throw ControlRefusal(
                "expected a stage, one of \(PolicyStage.allCases.map(\.rawValue).joined(separator: ", ")); found another"
            )
        }
        var values: [PolicyAttribute: [UInt8]] = [:]
        for attribute in PolicyAttribute.allCases {
            guard let text = try command.textIfAny(attribute.name) else { continue }
            guard text.utf8.count <= Self.maxValueOctets, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
                throw ControlRefusal(
                    "\(attribute.name): expected at most \(Self.maxValueOctets) octets without control characters")
            }
            values[attribute] = Array(text.utf8)
        }
        self.init(stage: stage, values)
    }
}

extension ControlCommand {
    /// - Parameter attributes: what is known of the request.
    public static func explain(stage: PolicyStage, _ attributes: [(PolicyAttribute, String)]) -> ControlCommand {
        let stage = ControlDocument.Member(PolicyAttribute.protocolState.name, .text(stage.rawValue))
        return ControlCommand(
            PolicyRequest.explainCommand,
            .object([stage] + attributes.map { ControlDocument.Member($0.0.name, .text($0.1)) }))
    }
}

extension PolicyVerdict {
    /// `{"action","text","score","checks":[{"check","outcome","reason","score","answer","shadow","exchanges"}]}`.
    public var document: ControlDocument {
        [
            "action": .text(word), "text": .text(text), "score": .number(score),
            "checks": .list(findings.map(\.document)),
        ]
    }
}

extension PolicyFinding {
    /// `{"check","outcome","reason","score","answer","shadow","exchanges"}`.
    public var document: ControlDocument {
        [
            "check": .text("\(check)"), "outcome": .text("\(outcome)"), "reason": .text(reason),
            "score": .number(score),
            "answer": answer.map { .text("\($0.word): \($0.summary)") } ?? .null, "shadow": .boolean(isShadow),
            "exchanges": .list(exchanges.map { .text($0) }),
        ]
    }
}
