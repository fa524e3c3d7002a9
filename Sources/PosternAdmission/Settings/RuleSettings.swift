// A rule: what postern-policy does before all other checks where its conditions hold, in the order in which the rules
// are written.

public struct RuleSettings: Sendable {
    public let name: String
    /// All must hold; at least one.
    public let conditions: [RuleCondition]
    /// Checks that are left out where the rule matches.
    public let skip: Set<PolicyCheck>
    /// Nil where the rule only skips.
    public let action: RuleAction?
    /// Only observe; such a rule never ends the list.
    public let shadow: Bool

    public init(
        name: String, conditions: [RuleCondition], skip: Set<PolicyCheck>, action: RuleAction? = nil, shadow: Bool
    ) {
        self.name = name
        self.conditions = conditions
        self.skip = skip
        self.action = action
        self.shadow = shadow
    }
}
