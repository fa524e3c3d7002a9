// The public suffix list (publicsuffix.org, "Format" and "Algorithm"), as RFC 7489 §3.2 found organizational domains
// with it: for comparison with the tree walk only. The text is a file of the host's; the section marks for private
// domains are comments here, since RFC 7489 makes no difference.

public import PosternMail

public struct PublicSuffixList: Sendable {
    private var rules: Set<DomainName> = []
    /// What stands behind `*.` in a rule.
    private var wildcards: Set<DomainName> = []
    private var exceptions: Set<DomainName> = []
    /// Lines that should be rules and are none.
    public private(set) var unreadableLines = 0

    /// How many rules there are.
    public var count: Int { rules.count + wildcards.count + exceptions.count }

    /// - Parameter text: the list as it is distributed: UTF-8, a rule a line up to its first white space, comments
    ///   behind `//`.
    public init(text: some Collection<UInt8>) {
        for line in text.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) {
            let rule = line.prefix { !$0.isFoldingWhiteSpace }
            guard !rule.isEmpty, !rule.starts(with: "//".utf8) else { continue }
            do throws(DomainNameError) {
                if rule.starts(with: "!".utf8) {
                    exceptions.insert(try DomainName(text: rule.dropFirst()))
                } else if rule.starts(with: "*.".utf8) {
                    wildcards.insert(try DomainName(text: rule.dropFirst(2)))
                } else {
                    rules.insert(try DomainName(text: rule))
                }
            } catch { unreadableLines += 1 }
        }
    }

    /// The public suffix and one label more; `nil` for a public suffix.
    public func registrableDomain(of domain: DomainName) -> DomainName? {
        let labels = domain.labelCount
        var suffixLabels = 1  // without a matching rule the prevailing one is "*"
        if let exception = Self.first(from: domain, where: { exceptions.contains($0) }) {
            suffixLabels = exception.labelCount - 1  // an exception prevails over every other rule
        } else if let suffix = Self.first(from: domain, where: { rules.contains($0) || isWildcard($0) }) {
            suffixLabels = suffix.labelCount  // the first to match is the longest
        }
        return labels > suffixLabels ? domain.suffix(labels: suffixLabels + 1) : nil
    }

    private func isWildcard(_ name: DomainName) -> Bool { name.parent.map { wildcards.contains($0) } ?? false }

    /// The first of `domain` and its parents, below the root, of which `matches` is true.
    private static func first(from domain: DomainName, where matches: (DomainName) -> Bool) -> DomainName? {
        var next: DomainName? = domain
        while let name = next, name != .root {  // a name has at most 127 labels
            if matches(name) { return name }
            next = name.parent
        }
        return nil
    }

    /// - Source: RFC 7489 §3.2.
    func organizationalDomain(of domain: DomainName) -> DomainName { registrableDomain(of: domain) ?? domain }
}
