// A list of smtpd's restrictions (`smtpd_recipient_restrictions`): its items in order, each with its argument, and the
// same list written anew. What a table answers at run time is not known. Source: postconf(5), SMTPD_ACCESS_README.

internal import PosternMail

struct RestrictionList {
    struct Item: Hashable, Sendable {
        /// As it is spelled.
        var word: String
        /// What stands behind a `check_…`, a `reject_rbl_…` and the like; nil where nothing does.
        var argument: String? = nil
        /// Through a class of `smtpd_restriction_classes`.
        var isOfClass = false

        /// `permit_mynetworks`, `check_policy_service`: Postfix compares without case.
        var name: String { word.lowercased() }

        /// The policy service that it asks.
        var policyService: PostfixServer? {
            name == "check_policy_service" ? argument.flatMap(PostfixServer.init(word:)) : nil
        }
        var text: String { argument.map { "\(word) \($0)" } ?? word }

        /// Nothing behind it is ever looked at. Source: postconf(5), "generic restrictions".
        var endsList: Bool { ["permit", "reject", "defer"].contains(name) }
    }

    var items: [Item]

    /// Restrictions with one argument.
    private static let withArgument: Set<String> = [
        "check_policy_service", "reject_rbl_client", "reject_rhsbl_client", "reject_rhsbl_reverse_client",
        "reject_rhsbl_helo", "reject_rhsbl_sender", "reject_rhsbl_recipient", "permit_dnswl_client",
        "permit_rhswl_client", "sleep",
    ]

    /// Classes within classes that are followed.
    private static let maxDepth = 4

    /// - Returns: nil for a value that Postfix cannot read.
    init?(_ value: String, in postfix: PostfixView) {
        guard let items = Self.items(value, postfix, depth: 0) else { return nil }
        self.items = items
    }

    init(_ items: [Item]) { self.items = items }

    private static func items(_ value: String, _ postfix: PostfixView, depth: Int) -> [Item]? {
        guard let words = PostfixWords.split(value) else { return nil }
        let classes = Set(PostfixWords.split(postfix.value("smtpd_restriction_classes")) ?? [])
        var items: [Item] = []
        var rest = words[...]
        while let word = rest.popFirst() {
            let name = word.lowercased()
            if classes.contains(word) {
                items.append(Item(word: word, argument: nil))
                guard depth < maxDepth else { continue }
                let inner = Self.items(postfix.value(word), postfix, depth: depth + 1) ?? []
                items += inner.map { Item(word: $0.word, argument: $0.argument, isOfClass: true) }
                continue
            }
            let takes = withArgument.contains(name) || (name.hasPrefix("check_") && name.hasSuffix("_access"))
            items.append(Item(word: word, argument: takes ? rest.popFirst() : nil))
        }
        return items
    }

    /// The value for main.cf; items of classes stay in theirs.
    var text: String { items.filter { !$0.isOfClass }.map(\.text).joined(separator: ", ") }

    /// Where one of these stands first.
    func firstIndex(of names: Set<String>) -> Int? { items.firstIndex { names.contains($0.name) } }
}
