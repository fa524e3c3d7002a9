// Patterns that attributes of a request are matched with, as rules, limits and exceptions name them: an exact text, a
// domain, the names below one, a domain's addresses, a network, an expression. The configuration reads them.

/// One pattern. Texts and names are compared without regard to case.
public enum MatchPattern: Hashable, Sendable {
    /// The whole text; empty for an attribute that is empty, such as the null sender.
    case exact(String)
    /// A host's or domain's name, that one alone; a text is compared with its description.
    case domain(DomainName)
    /// `*.example.com`: every name below it, not itself.
    case below(DomainName)
    /// `@example.com`: every address of that domain.
    case addresses(at: DomainName)
    case network(Network)
    /// What stands between the slashes of `/…/`.
    case expression(String)
}

extension MatchPattern: CustomStringConvertible {
    public var description: String {
        switch self {
        case .exact(let text): text
        case .domain(let name): name.description
        case .below(let name): "*.\(name)"
        case .addresses(let name): "@\(name)"
        case .network(let network): network.description
        case .expression(let text): "/\(text)/"
        }
    }
}
